"""`namespace`: tenancy boundaries."""

from __future__ import annotations

import click

from .options import Session, connected, output_option
from .output import ago, note, print_data, print_list

BOUNDS = ("functions", "instances", "memory_mb", "requests_per_s", "concurrent_calls", "queued_events", "storage_mb")


@click.group()
def namespace() -> None:
    """Create, list, bound and remove namespaces.

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


def _parse_bounds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """NAME=NUMBER."""
    bounds = {}
    for value in values:
        name, _, number = value.partition("=")
        if name not in BOUNDS or not number.isascii() or not number.isdigit():
            raise click.BadParameter(f"{value!r} is not NAME=NUMBER; names: {', '.join(BOUNDS)}.", ctx, param)
        bounds[name] = int(number)
    return bounds


@namespace.command(
    "quota",
    epilog="\b\nExamples:\n  dayfly namespace quota shop\n  dayfly namespace quota shop functions=20 instances=50 memory_mb=4096\n"
    "  dayfly namespace quota shop requests_per_s=100 concurrent_calls=0",
)
@click.argument("name")
@click.argument("bounds", metavar="[NAME=NUMBER]...", nargs=-1, callback=_parse_bounds)
@output_option
@connected
def quota(session: Session, name: str, bounds: dict[str, int], output: str) -> None:
    """Show or set what a namespace may use at most.

    0 is no bound; bounds that are not named stay. Setting takes an owner of the whole server (-n '*').
    """
    path = f"{_path(name)}/quota"
    info = session.client.get(path)
    if bounds:
        info = session.client.request("PUT", path, send={"quota": info["quota"] | bounds})
    rows = [{"quota": one, "limit": info["quota"][one], "used": info["used"][one]} for one in BOUNDS]
    if output != "table":
        print_data(info, output)
        return
    print_list(
        rows,
        output,
        (
            ("QUOTA", lambda r: r["quota"]),
            ("AT MOST", lambda r: r["limit"] or "no bound"),
            ("USED", lambda r: "" if r["quota"] == "requests_per_s" else r["used"]),
        ),
    )


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
