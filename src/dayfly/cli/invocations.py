"""`invocations`, `result`, `cancel`: calls, past and present."""

from __future__ import annotations

import time
from base64 import b64decode
from typing import Any

import click

from .errors import ExitCode, Problem
from .invoke import ending, show_error
from .options import Session, complete_functions, connected, output_option, since_option
from .output import ago, milliseconds, note, print_data, print_list
from .terminal import Screen

STATUSES = (
    "queued", "running", "ok", "error", "crashed", "init-failed", "timed-out", "cancelled", "rejected", "dead",
)  # fmt: skip
OPEN = STATUSES[:2]  # it is not known yet how they began, nor what they cost


@click.command(
    epilog="\b\nExamples:\n  dayfly invocations\n  dayfly invocations hello --status error --since 1h\n"
    "  dayfly invocations hello --limit 1000 -o json"
)
@click.argument("name", default="", shell_complete=complete_functions)
@click.option("--status", type=click.Choice(STATUSES), help="Only calls that stand so.")
@since_option("Only calls that began after: 90s, 15m, 1h, 7d, or a date.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="At most so many.")
@output_option
@connected
def invocations(session: Session, name: str, status: str | None, since: float, limit: int, output: str) -> None:
    """List past and present calls, newest first."""
    query = {"function": name, "status": status or "", "since": since}
    print_list(
        list(session.client.items(session.path("invocations"), query, limit=limit)),
        output,
        (
            ("INVOCATION", lambda i: i["id"]),
            ("FUNCTION", lambda i: f"{i['function']}@{i['revision']}" if i["revision"] else i["function"]),
            ("BEGAN", lambda i: ago(i["started"])),
            ("STATUS", lambda i: i["status"]),
            ("START", lambda i: "" if i["status"] in OPEN else "cold" if i["cold"] else "warm"),
            ("QUEUE", lambda i: milliseconds(i["timings"]["queue"])),
            ("COLD START", lambda i: milliseconds(i["timings"]["cold"])),
            ("RUN", lambda i: milliseconds(i["timings"]["run"])),
            ("BILLED", lambda i: "" if i["status"] in OPEN else f"{i['billed_ms']} ms"),
            ("PEAK", lambda i: f"{i['peak_kb'] / 1024:.0f} MiB" if i["peak_kb"] else ""),
            ("ERROR", lambda i: ": ".join(filter(None, (i["error_type"], i["error_message"])))),
        ),
        empty="No calls" + (f" of {name}" if name else "") + " match. Make one: dayfly invoke NAME",
    )


@click.command(
    epilog="\b\nExamples:\n  dayfly result 0192f3a4b5c67d8e9f00112233445566\n"
    "  dayfly result 0192f3a4b5c67d8e9f00112233445566 --wait -o json"
)
@click.argument("invocation")
@click.option("--wait", is_flag=True, help="Wait until the call has ended.")
@output_option
@connected
def result(session: Session, invocation: str, wait: bool, output: str) -> int:
    """Print the answer of an asynchronous call.

    As `dayfly invoke` would have: the body on stdout, an error of the function on stderr with exit code 10. With -o json
    or yaml the whole document: status, headers, timings and body.
    """
    answer = _result(session, invocation, wait)
    if output != "table":
        print_data(answer, output)
        return ExitCode.FUNCTION_ERROR if answer["error"] else ExitCode.OK
    if answer["error"]:
        return show_error(answer["error"], invocation)
    screen = Screen()
    screen.write(b64decode(answer["body"]) if answer["encoding"] == "base64" else answer["body"].encode())
    screen.close()
    return ending(answer["status"])


def _result(session: Session, invocation: str, wait: bool) -> Any:
    while True:
        try:
            return session.client.get(session.path("invocations", invocation, "result"))
        except Problem as problem:
            if not wait or not problem.retry_after:
                raise
            time.sleep(problem.retry_after)  # the server says when it is worth to ask again


@click.command(epilog="\b\nExamples:\n  dayfly cancel 0192f3a4b5c67d8e9f00112233445566")
@click.argument("invocation")
@connected
def cancel(session: Session, invocation: str) -> None:
    """Stop a queued or running call.

    What the call had started is killed with it; its instance is replaced.
    """
    session.client.request("DELETE", session.path("invocations", invocation))
    note(f"{invocation}: cancelled")
