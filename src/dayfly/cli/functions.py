"""`ls`, `show`, `revisions`, `recycle`, `rm`: functions as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .errors import Problem
from .options import Session, complete_functions, connected, name_argument, output_option
from .output import ago, moment, note, print_list, print_one

Json = dict[str, Any]


def split(targets: list[Json]) -> str:
    """Traffic as people read it: `3` or `3: 90%, 4: 10% (tag canary)`."""
    total = sum(target.get("weight", 1) for target in targets) or 1
    parts = []
    for target in targets:
        share = "" if len(targets) == 1 else f": {100 * target.get('weight', 1) / total:g}%"
        tag = f" (tag {target['tag']})" if target.get("tag") else ""
        parts.append(f"{target['revision']}{share}{tag}")
    return ", ".join(parts)


def live_number(function: Mapping[str, Any]) -> int:
    """The revision that gets the most calls."""
    targets = function.get("traffic") or [{"revision": function["latest"]}]
    return int(max(targets, key=lambda target: target.get("weight", 1))["revision"])


def pairs(values: Mapping[str, object]) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted(values.items()))


@click.command(epilog="\b\nExamples:\n  dayfly ls\n  dayfly ls img -o json")
@click.argument("prefix", default="")
@output_option
@connected
def ls(session: Session, prefix: str, output: str) -> None:
    """List functions.

    With PREFIX, only those whose name begins with it.
    """
    found = list(session.client.items(session.path("functions"), {"prefix": prefix}))
    print_list(
        found,
        output,
        (
            ("NAME", lambda f: f["name"]),
            ("LATEST", lambda f: f["latest"]),
            ("CALLS GO TO", lambda f: split(f["traffic"])),
            ("UPDATED", lambda f: ago(f["updated"])),
            ("URL", lambda f: session.function_url(f["name"])),
        ),
        empty=f"No functions in namespace {session.namespace!r}. Deploy one: dayfly deploy PATH --name NAME",
    )


@click.command(epilog="\b\nExamples:\n  dayfly show hello\n  dayfly show hello -o yaml")
@name_argument
@output_option
@connected
def show(session: Session, name: str, output: str) -> None:
    """Show a function and the configuration that is live.

    With several revisions in the traffic, the configuration is that of the one with the largest share. Secrets are
    shown by name, never by value.
    """
    function = session.client.get(session.path("functions", name))
    number = str(live_number(function))
    revision = session.client.get(session.path("functions", name, "revisions", number))
    shown = {**function, "url": session.function_url(name), "live": revision}
    print_one(
        shown,
        output,
        (
            ("Function", lambda f: f["name"]),
            ("URL", lambda f: f["url"]),
            ("Calls go to", lambda f: split(f["traffic"])),
            ("Aliases", lambda f: pairs({alias: split(targets) for alias, targets in f["aliases"].items()})),
            ("Labels", lambda f: pairs(f["labels"])),
            ("Updated", lambda f: moment(f["updated"])),
            ("Revision", lambda f: f["live"]["number"]),
            ("Code", lambda f: f["live"]["artifact"]["digest"][:12]),
            *((heading, _setting(field)) for heading, field in SETTINGS),
            ("Environment", lambda f: pairs(f["live"]["config"]["env"])),
            ("Secrets", lambda f: pairs(f["live"]["config"]["secrets"])),
        ),
    )


SETTINGS = (
    ("Runtime", "runtime"),
    ("Handler", "handler"),
    ("Flavour", "flavour"),
    ("Memory", "memory_mb"),
    ("Processor", "cpu"),
    ("Timeout", "timeout_s"),
    ("/tmp", "tmp_mb"),
    ("Concurrency", "concurrency"),
    ("Isolation", "isolation"),
    ("Network", "network"),
    ("Instances", "max_instances"),
)
_UNITS = {"memory_mb": " MiB", "tmp_mb": " MiB", "timeout_s": " s", "concurrency": " a time"}


def _setting(field: str) -> Any:
    def value(shown: Json) -> str:
        config = shown["live"]["config"]
        if field == "max_instances":
            return f"{config['min_instances']} to {config['max_instances']}"
        if field == "cpu":
            return f"{config['cpu']:g} cores at most" if config["cpu"] else "a fair share"
        if field == "concurrency":
            return f"{config['concurrency']} call{'s' if config['concurrency'] > 1 else ''} at a time per instance"
        if field == "network":
            reach: str = {"allow": ", ".join(config["allow"]) or "the platform alone"}.get(config["network"], config["network"])
            return reach + (f", {config['bandwidth_mbit']:g} Mbit/s at most" if config["bandwidth_mbit"] else "")
        given = config[field]
        return (f"{given:g}" if isinstance(given, float) else str(given)) + _UNITS.get(field, "")

    return value


@click.command(epilog="\b\nExamples:\n  dayfly revisions hello")
@name_argument
@output_option
@connected
def revisions(session: Session, name: str, output: str) -> None:
    """List the revisions of a function.

    Newest first. A revision is one immutable version of code and configuration; calls go where the traffic says.
    """
    function = session.client.get(session.path("functions", name))
    targets = function["traffic"]
    total = sum(target["weight"] for target in targets) or 1
    share = {target["revision"]: f"{100 * target['weight'] / total:g}%" for target in targets}
    print_list(
        list(session.client.items(session.path("functions", name, "revisions"))),
        output,
        (
            ("REVISION", lambda r: r["number"]),
            ("CALLS", lambda r: share.get(r["number"], "-")),
            ("RUNTIME", lambda r: r["config"]["runtime"]),
            ("HANDLER", lambda r: r["config"]["handler"]),
            ("MEMORY", lambda r: f"{r['config']['memory_mb']} MiB"),
            ("CODE", lambda r: r["artifact"]["digest"][:12]),
            ("CREATED", lambda r: ago(r["created"])),
        ),
    )


@click.command(epilog="\b\nExamples:\n  dayfly recycle hello")
@name_argument
@connected
def recycle(session: Session, name: str) -> None:
    """Retire a function's instances, so that the next call is cold.

    Calls under way end first. Useful after a change outside the function, and to measure cold starts.
    """
    answer = session.client.request("POST", session.path("functions", name, "recycle"), timeout=None)
    retired = answer.get("retired", 0) if isinstance(answer, dict) else answer or 0
    note(f"{name}: {retired} instance{'' if retired == 1 else 's'} retired")


@click.command(epilog="\b\nExamples:\n  dayfly rm hello\n  dayfly rm hello world --missing-ok")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_functions)
@click.option("--missing-ok", is_flag=True, help="A function that is not there is no error.")
@connected
def rm(session: Session, names: tuple[str, ...], missing_ok: bool) -> None:
    """Remove functions; calls under way end first.

    Their revisions, aliases and instances go; records, logs and usage stay.
    """
    for name in names:
        try:
            session.client.request("DELETE", session.path("functions", name), timeout=None)
        except Problem as problem:
            if not (missing_ok and problem.status == 404):
                raise
        else:
            note(f"{name}: removed")
