"""`callers`: who may call a function."""

from __future__ import annotations

from typing import Any

import click

from .options import Session, connected, name_argument, output_option
from .output import print_one


@click.command(
    epilog="\b\nExamples:\n  dayfly callers hello\n  dayfly callers hello --public\n"
    "  dayfly callers hello --only key_3f9c2a7be1d04856 --only function:shop/cart\n  dayfly callers hello --namespace-roles"
)
@name_argument
@click.option("--public", "callers", flag_value="public", help="Everybody, without a key.")
@click.option("--namespace-roles", "callers", flag_value="namespace", help="Who has a role that may call; the default.")
@click.option("--only", "identities", multiple=True, metavar="ID", help="This key or function, and who may change it.")
@output_option
@connected
def callers(session: Session, name: str, callers: str | None, identities: tuple[str, ...], output: str) -> None:
    """Show or say who may call a function.

    It holds from the next call on, and for all revisions. Where nobody has to log in, everybody on this machine may
    call everything.
    """
    path = session.path("functions", name)
    if identities and callers:
        raise click.UsageError("--only stands alone: give either a list, --public or --namespace-roles.")
    if identities:
        callers = "listed"
    if callers:
        sent: Any = {"callers": callers, "identities": list(identities)}
        function = session.client.request("PUT", f"{path}/invoke-policy", send=sent)
    else:
        function = session.client.get(path)
    policy = function["invoke_policy"]
    print_one(
        policy, output, (("Callers", lambda p: p["callers"]), ("Identities", lambda p: ", ".join(p["identities"]) or None))
    )
