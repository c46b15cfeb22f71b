"""`audit`: who changed what."""

from __future__ import annotations

from typing import Any

import click

from .options import Session, connected, output_option, since_option
from .output import json_text, moment, print_list


@click.command(epilog="\b\nExamples:\n  dayfly audit\n  dayfly audit --since 1d -n shop\n  dayfly audit -n '*' -o json")
@since_option("Not before this.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="How many at most.")
@output_option
@connected
def audit(session: Session, since: float, limit: int, output: str) -> None:
    """Show who changed what, newest first.

    Every change of functions, secrets, keys and namespaces is written down with who, what, when, from where and what came
    of it; attempts that were refused, too. With `-n '*'`, of all namespaces.
    """
    query = {"since": since} if since else {}
    print_list(
        list(session.client.items(session.path("audit"), query, limit=limit)),
        output,
        (
            ("TIME", lambda r: moment(r["time"])),
            ("WHO", lambda r: r["identity"]),
            ("FROM", lambda r: r["peer"]),
            ("ACTION", lambda r: r["action"]),
            ("NAMESPACE", lambda r: r["namespace"]),
            ("TARGET", lambda r: r["target"]),
            ("OUTCOME", lambda r: r["outcome"]),
            ("DETAIL", _detail),
        ),
        empty=f"No changes in namespace {session.namespace!r}.",
    )


def _detail(record: Any) -> str:
    return json_text(record["detail"], None) if record["detail"] else ""
