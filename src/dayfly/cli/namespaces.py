"""`namespace`: tenancy boundaries."""

from __future__ import annotations

import click

from .options import Session, connected, output_option
from .output import ago, note, print_list


@click.group()
def namespace() -> None:
    """Create, list and remove namespaces.

    A namespace has its own functions, secrets, records and usage. Commands work in the one given by -n.
    """


@namespace.command("create", epilog="\b\nExamples:\n  dayfly namespace create shop")
@click.argument("name")
@connected
def create(session: Session, name: str) -> None:
    """Create a namespace; nothing happens if it exists."""
    session.client.request("PUT", _path(name))
    note(f"{name}: there. Use it with -n {name}, or DAYFLY_NAMESPACE={name}")


@namespace.command("ls", epilog="\b\nExamples:\n  dayfly namespace ls")
@output_option
@connected
def list_namespaces(session: Session, output: str) -> None:
    """List namespaces."""
    found = list(session.client.items("/v1/namespaces"))
    print_list(found, output, (("NAME", lambda n: n["name"]), ("CREATED", lambda n: ago(n["created"]))))


@namespace.command("rm", epilog="\b\nExamples:\n  dayfly namespace rm shop")
@click.argument("name")
@connected
def remove(session: Session, name: str) -> None:
    """Remove a namespace; it must be empty."""
    session.client.request("DELETE", _path(name))
    note(f"{name}: removed")


def _path(name: str) -> str:
    from .client import segment

    return f"/v1/namespaces/{segment(name)}"
