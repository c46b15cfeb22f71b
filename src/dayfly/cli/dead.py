"""`dlq` and `replay`: another chance, here or on the developer's own machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .options import Session, connected, output_option
from .output import ago, note, print_data, print_list


@click.group()
def dlq() -> None:
    """Look into what could not be delivered, give it another chance, or forget it."""


def _which(command: Any) -> Any:
    for kind in ("queue", "trigger", "function"):
        command = click.option(f"--{kind}", default="", metavar="NAME", help=f"Only of this {kind}.")(command)
    return command


@dlq.command("ls", epilog="\b\nExamples:\n  dayfly dlq ls\n  dayfly dlq ls --trigger on-order")
@_which
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="At most so many.")
@output_option
@connected
def list_dead(session: Session, function: str, trigger: str, queue: str, limit: int, output: str) -> None:
    """List dead letters, latest first, with the reason of death."""
    query = {"function": function, "trigger": trigger, "queue": queue}
    print_list(
        list(session.client.items(session.path("dead"), query, limit=limit)),
        output,
        (
            ("ID", lambda d: d["id"]),
            ("OF", lambda d: d["trigger"] or d["queue"] or d["function"]),
            ("DIED", lambda d: ago(d["ended"])),
            ("ATTEMPTS", lambda d: d["attempts"]),
            ("CONDITION", lambda d: d["condition"]),
            ("REASON", lambda d: d["reason"]),
        ),
        empty="Nothing is dead.",
    )


@dlq.command("show", epilog="\b\nExamples:\n  dayfly dlq show 0192f3a4b5c67d8e9f00112233445566")
@click.argument("id")
@output_option
@connected
def show(session: Session, id: str, output: str) -> None:
    """Show a dead letter with its event or input."""
    print_data(session.client.get(session.path("dead", id)), "json" if output == "table" else output)


@dlq.command("redrive", epilog="\b\nExamples:\n  dayfly dlq redrive --trigger on-order\n  dayfly dlq redrive ID ID")
@click.argument("ids", nargs=-1)
@_which
@connected
def redrive(session: Session, ids: tuple[str, ...], function: str, trigger: str, queue: str) -> None:
    """Give dead letters all their attempts again: those named, or all of a function, trigger or queue, or all."""
    body = {"ids": ids, "function": function, "trigger": trigger, "queue": queue}
    note(f"{session.client.request('POST', session.path('redrive'), send=body)['count']} redriven")


@dlq.command("purge", epilog="\b\nExamples:\n  dayfly dlq purge --function hello --yes")
@click.argument("ids", nargs=-1)
@_which
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def purge(session: Session, ids: tuple[str, ...], function: str, trigger: str, queue: str, yes: bool) -> None:
    """Forget dead letters: those named, or all of a function, trigger or queue, or all."""
    if not ids and not yes:
        click.confirm("Forget all of them?", abort=True, err=True)
    body = {"ids": ids, "function": function, "trigger": trigger, "queue": queue}
    note(f"{session.client.request('POST', session.path('purge'), send=body)['count']} forgotten")


@click.command(
    epilog="\b\nExamples:\n  dayfly replay 0192f3a4b5c67d8e9f00112233445566\n"
    "  dayfly replay 0192f3a4b5c67d8e9f00112233445566 --revision 7\n"
    "  dayfly replay 0192f3a4b5c67d8e9f00112233445566 --show\n"
    "  dayfly replay 0192f3a4b5c67d8e9f00112233445566 --here hello.py --debug"
)
@click.argument("id")
@click.option("--revision", "qualifier", default="", metavar="N", help="Revision, alias or tag that is called.")
@click.option("--function", default="", metavar="NAME", help="Another function than the first time.")
@click.option("--show", is_flag=True, help="Only print the recorded input.")
@click.option(
    "--here",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Call the handler in this file, in this process, instead.",
)
@click.option("--handler", default="", metavar="NAME", help="The function in that file; by default the one deployed.")
@click.option("--debug", is_flag=True, help="With --here: stop at the handler's first line, in Python's debugger.")
@output_option
@connected
def replay(
    session: Session,
    id: str,
    qualifier: str,
    function: str,
    show: bool,
    here: Path | None,
    handler: str,
    debug: bool,
    output: str,
) -> int:
    """Call again with the input of a recorded invocation or event.

    Prints the ids of the new invocations. Inputs are kept for a time, unless server or function were told otherwise
    (--keep-inputs). With --here the handler gets what its contract gives it: Dayfly's, AWS Lambda's, OpenWhisk's.
    """
    if not show and here is None:
        body = {"function": function, "qualifier": qualifier}
        for made in session.client.request("POST", session.path("recordings", id, "replay"), send=body):
            click.echo(made)
        return 0
    recording = session.client.get(session.path("recordings", id))
    if here is None:
        print_data(recording, "json" if output == "table" else output)
        return 0
    from . import here as machine
    from .deploy import live

    name = function or recording["function"]
    config = live(session, name)[0] if name else {}
    answer = machine.run(recording, config, id, here, handler, session.namespace, debug=debug)
    click.echo(json.dumps(answer, indent=2, default=repr, ensure_ascii=False))
    return 0
