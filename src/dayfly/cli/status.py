"""`status`: is the server there, and what does it hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from .options import Session, connected, output_option
from .output import print_one


@click.command(epilog="\b\nExamples:\n  dayfly status\n  dayfly status -o json")
@output_option
@connected
def status(session: Session, output: str) -> int:
    """Show whether the server answers and what it holds.

    Exit code 0 if it is healthy, 1 if it answers that it is not, 3 if nothing answers.
    """
    with session.client.open("GET", "/healthz") as answer:
        if answer.status not in (200, 503):
            raise answer.problem()
        health = answer.json()
    if not isinstance(health, dict) or "status" not in health:
        raise answer.foreign()
    namespaces = [item["name"] for item in session.client.items("/v1/namespaces")]
    found: dict[str, Any] = {
        "url": session.url,
        "status": health["status"],
        "version": session.client.get("/v1").get("version", ""),
        "namespaces": len(namespaces),
        "functions": 0,
        "instances": {},
    }
    states: Counter[str] = Counter()
    for name in namespaces:
        within = Session(session.url, session.token, name)
        within.client = session.client
        found["functions"] += sum(1 for _ in session.client.items(within.path("functions")))
        states.update(item["state"] for item in session.client.items(within.path("instances")))
    found["instances"] = dict(sorted(states.items()))
    print_one(
        found,
        output,
        (
            ("Dayfly", lambda f: f"{f['version']} at {f['url']}"),
            ("Status", lambda f: f["status"]),
            ("Namespaces", lambda f: f["namespaces"]),
            ("Functions", lambda f: f["functions"]),
            (
                "Instances",
                lambda f: ", ".join(f"{n} {state}" for state, n in f["instances"].items()) or "none: all scaled to zero",
            ),
        ),
    )
    return 0 if answer.status == 200 else 1
