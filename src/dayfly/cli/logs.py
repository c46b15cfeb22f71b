"""`logs`: what functions wrote.

A finite answer is read page by page; `-f` keeps a stream of server-sent events open. A stream that breaks (the server was
restarted) is taken up again from the last line that came.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import click

from .errors import Problem, Unreachable
from .options import Session, complete_functions, connected, output_option, since_option
from .output import json_text, note, print_data
from .sse import Event, read_events
from .terminal import escape, use_colour

RECONNECT = 1.0  # seconds between attempts to take up a broken stream
ATTEMPTS = 30
COLOURS = {"stderr": "yellow", "platform": "cyan"}

Json = dict[str, Any]


@click.command(
    epilog="\b\nExamples:\n  dayfly logs hello\n  dayfly logs hello -f\n  dayfly logs hello --since 1h --limit 1000\n"
    "  dayfly logs --invocation 0192f3a4b5c67d8e9f00112233445566\n  dayfly logs hello -o json | jq -r .text"
)
@click.argument("name", default="", shell_complete=complete_functions)
@click.option("-f", "--follow", is_flag=True, help="Go on printing lines as they come.")
@since_option("Only lines after: 90s, 15m, 1h, 7d, or a date. With -f, by default from now on.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, metavar="N", help="Only the last N lines; not with -f.")
@click.option("--invocation", default="", metavar="ID", help="Only what one call wrote.")
@output_option
@connected
def logs(session: Session, name: str, follow: bool, since: float, limit: int, invocation: str, output: str) -> None:
    """Print the logs of a function.

    Of all functions of the namespace, if no NAME is given. Each line with its time, the call that wrote it, and the
    text; lines of stderr are marked `!`, remarks of Dayfly `*`. With -o json, one JSON object a line.
    """
    show = printer(output, names=not name and not invocation)
    query = {"function": name, "invocation": invocation}
    if follow:
        for line in followed(session, query, since):
            show(line)
        return
    found = session.client.items(session.path("logs"), {**query, "since": since})
    last = deque(found, maxlen=limit)  # the API gives the oldest first
    for line in last:
        show(line)
    if not last and output == "table":
        note("No lines" + (f" of {name}" if name else "") + ". To wait for some: dayfly logs -f")


def followed(
    session: Session, query: dict[str, str], since: float = 0.0, ended: Callable[[], bool] = lambda: False
) -> Iterator[Json]:
    """Lines as they come, from `since` or from now on, across restarts of the server: the id of the last event says
    where to go on. Raises Unreachable when the server stays away; a break once `ended` is the end."""
    began = time.monotonic()
    failures = 0
    last = ""
    while True:
        # An age, not a time: the server's clock may differ from ours.
        start = f"{since:.6f}" if since else f"{time.monotonic() - began:.0f}s"
        try:
            for event in _stream(session, {**query, "since": start, "follow": "true"}, last):
                failures = 0
                last = event.id
                yield json.loads(event.data)
            return
        except Unreachable:
            if ended():
                return
            failures += 1
            if failures == 1:
                note("The stream of logs broke; waiting for the server ...")
            if failures > ATTEMPTS:
                raise
            time.sleep(RECONNECT)


def _stream(session: Session, query: dict[str, str], last: str) -> Iterator[Event]:
    headers = [("accept", "text/event-stream"), *([("last-event-id", last)] if last else [])]
    with session.client.open("GET", session.path("logs"), query=query, headers=headers, timeout=None) as answer:
        if answer.status >= 400:
            raise answer.problem()
        for event in read_events(answer.chunks()):
            if event.name == "error":
                document = json.loads(event.data)
                raise Problem(document.get("status", 500), document)
            if event.name == "end":
                return
            yield event


def printer(output: str, *, names: bool) -> Callable[[Json], None]:
    """Prints a line in the format asked for; `names` adds the function's."""
    if output == "json":
        return lambda line: _out(json_text(line, indent=None))
    if output == "yaml":
        return lambda line: print_data([line], "yaml")
    colour = use_colour(sys.stdout)
    day = ""

    def show(line: Json) -> None:
        nonlocal day
        at = time.localtime(line["time"])
        today = time.strftime("%Y-%m-%d", at)
        if today != day and day:
            _out(f"-- {today}")
        day = today
        clock = f"{time.strftime('%H:%M:%S', at)}.{int(line['time'] % 1 * 1000):03d}"
        call = line["invocation"][-8:] or "loading "  # the end of the id: its beginning is the time
        mark = {"stderr": "!", "platform": "*"}.get(line["stream"], " ")
        head = f"{clock} {call} {line['function'] + ' ' if names else ''}{mark}"
        text = escape(line["text"])
        if colour:
            head = click.style(head, dim=True)
            text = click.style(text, fg=COLOURS.get(line["stream"]))
        _out(f"{escape(head, keep=chr(27)) if colour else escape(head)} {text}")

    return show


def _out(text: str) -> None:
    click.echo(text)  # echo flushes: a follower sees each line at once
