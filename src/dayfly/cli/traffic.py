"""`traffic`, `rollback`, `alias`: where calls go."""

from __future__ import annotations

from typing import Any

import click

from .functions import split
from .options import Session, complete_functions, connected, name_argument, output_option
from .output import note, print_data, print_list

Json = dict[str, Any]


def parse_targets(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[Json]:
    """`REVISION`, `REVISION=WEIGHT` or `REVISION=WEIGHT:TAG`, as the API takes them. Callback of an argument."""
    targets: list[Json] = []
    for value in values:
        revision, _, rest = value.partition("=")
        weight, _, tag = rest.partition(":")
        try:
            target: Json = {"revision": int(revision), "weight": float(weight.rstrip("%") or 1)}
        except ValueError:
            raise click.BadParameter(f"{value!r} is not REVISION=WEIGHT. Example: 3=90 4=10", ctx, param) from None
        if target["revision"] < 1 or not 0 < target["weight"] < float("inf"):
            raise click.BadParameter(f"{value!r}: revisions count from 1, and a weight is above 0.", ctx, param)
        targets.append(target | ({"tag": tag} if tag else {}))
    return targets


def _show(name: str, targets: list[Json], output: str) -> None:
    total = sum(target["weight"] for target in targets) or 1
    print_list(
        targets,
        output,
        (
            ("REVISION", lambda t: t["revision"]),
            ("WEIGHT", lambda t: f"{t['weight']:g}"),
            ("SHARE", lambda t: f"{100 * t['weight'] / total:.4g}%"),
            ("TAG", lambda t: t.get("tag", "")),
            ("CALL IT", lambda t: f"dayfly invoke {name}@{t.get('tag') or t['revision']}"),
        ),
    )


@click.command(
    epilog="\b\nExamples:\n  dayfly traffic hello\n  dayfly traffic hello 3=90 4=10\n  dayfly traffic hello 3=99 4=1:canary"
)
@name_argument
@click.argument("targets", metavar="REVISION=WEIGHT...", nargs=-1, callback=parse_targets)
@output_option
@connected
def traffic(session: Session, name: str, targets: list[Json], output: str) -> None:
    """Show or split a function's calls over its revisions.

    Weights are relative: 1 and 3 send a quarter of the calls to the first. The change is at once, for every call that
    comes after it. A tag (3=90:TAG) names a revision: `dayfly invoke NAME@TAG`.
    """
    path = session.path("functions", name)
    if targets:
        function = session.client.request("PUT", f"{path}/traffic", send={"targets": targets})
    else:
        function = session.client.get(path)
    _show(name, function["traffic"], output)


@click.command(epilog="\b\nExamples:\n  dayfly rollback hello\n  dayfly rollback hello 3")
@name_argument
@click.argument("revision", type=click.IntRange(1), required=False)
@connected
def rollback(session: Session, name: str, revision: int | None) -> None:
    """Send all calls to an earlier revision.

    To the one before the present one, unless REVISION says which. Nothing is built: it takes effect at once.
    """
    path = session.path("functions", name, "rollback")
    function = session.client.request("POST", path, send={"revision": revision} if revision else {})
    note(f"{name}: calls go to revision {split(function['traffic'])}")


@click.group()
def alias() -> None:
    """Name revisions: set, list and remove aliases.

    An alias is called as NAME@ALIAS and keeps its meaning when a new revision is deployed.
    """


@alias.command("set", epilog="\b\nExamples:\n  dayfly alias set hello stable 3\n  dayfly alias set hello beta 3=50 4=50")
@name_argument
@click.argument("alias_name", metavar="ALIAS")
@click.argument("targets", metavar="REVISION[=WEIGHT]...", nargs=-1, required=True, callback=parse_targets)
@connected
def set_alias(session: Session, name: str, alias_name: str, targets: list[Json]) -> None:
    """Point an alias to a revision, or split it over several."""
    path = session.path("functions", name, "aliases", alias_name)
    session.client.request("PUT", path, send={"targets": targets})
    note(f"{name}@{alias_name}: calls go to revision {split(targets)}")


@alias.command("ls", epilog="\b\nExamples:\n  dayfly alias ls hello")
@name_argument
@output_option
@connected
def list_aliases(session: Session, name: str, output: str) -> None:
    """List the aliases of a function."""
    aliases = session.client.get(session.path("functions", name))["aliases"]
    if output != "table":
        print_data(aliases, output)
        return
    print_list(
        sorted(aliases.items()),
        output,
        (
            ("ALIAS", lambda a: a[0]),
            ("CALLS GO TO", lambda a: split(a[1])),
            ("CALL IT", lambda a: f"dayfly invoke {name}@{a[0]}"),
        ),
        empty=f"{name} has no aliases. Make one: dayfly alias set {name} stable 1",
    )


@alias.command("rm", epilog="\b\nExamples:\n  dayfly alias rm hello beta")
@click.argument("name", shell_complete=complete_functions)
@click.argument("alias_name", metavar="ALIAS")
@connected
def remove_alias(session: Session, name: str, alias_name: str) -> None:
    """Remove an alias. The revisions stay."""
    session.client.request("DELETE", session.path("functions", name, "aliases", alias_name))
    note(f"{name}@{alias_name}: removed")
