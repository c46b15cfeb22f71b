"""`top`: functions at work, live.

Three requests a tick, whatever the number of functions: instances, functions, and the newest calls within the window. When
more calls ended than one page holds, the page is a sample: the span it covers gives the rate, its calls the percentiles.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from .options import Session, connected, output_option
from .output import milliseconds, note, print_list
from .terminal import escape

if TYPE_CHECKING:
    from rich.table import Table

WINDOW = 10.0  # seconds that rates and percentiles look back
SAMPLE = 1000  # calls of a sample

Json = dict[str, Any]

COLUMNS = (
    ("FUNCTION", lambda row: row["function"]),
    ("INSTANCES", lambda row: row["instances"]),
    ("BUSY", lambda row: row["busy"]),
    ("IN FLIGHT", lambda row: row["in_flight"]),
    ("CALLS/S", lambda row: f"{row['calls_per_s']:.1f}" if row["calls_per_s"] else ""),
    ("P50", lambda row: milliseconds(row["p50_s"])),
    ("P99", lambda row: milliseconds(row["p99_s"])),
    ("COLD", lambda row: f"{row['cold_share']:.1%}" if row["calls_per_s"] else ""),
    ("ERRORS", lambda row: f"{row['error_share']:.1%}" if row["calls_per_s"] else ""),
    ("MEMORY", lambda row: f"{row['memory_kb'] / 1024:.0f} MiB" if row["memory_kb"] else ""),
)


@click.command(epilog="\b\nExamples:\n  dayfly top\n  dayfly top --once\n  dayfly top --once -o json")
@click.option("--once", is_flag=True, help="Print one table and end; also when stdout is no terminal.")
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, metavar="SECONDS", help="Time between two looks.")
@output_option
@connected
def top(session: Session, once: bool, interval: float, output: str) -> None:
    """Watch functions live: instances, calls, errors.

    Rates and percentiles are those of the last 10 seconds. Ctrl-C ends it.
    """
    if once or output != "table" or not sys.stdout.isatty():
        print_list(look(session), output, COLUMNS, empty=f"No functions in namespace {session.namespace!r}.")
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                rows = look(session)
                live.update(_table(rows, session, console.height), refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        note("")


def look(session: Session) -> list[Json]:
    """The rows of the table now."""
    now = time.time()
    client = session.client
    return rows(
        [function["name"] for function in client.items(session.path("functions"))],
        list(client.items(session.path("instances"))),
        list(client.items(session.path("invocations"), {"since": f"{now - WINDOW:.3f}"}, limit=SAMPLE)),
        now,
    )


def rows(functions: Iterable[str], instances: Iterable[Json], calls: list[Json], now: float) -> list[Json]:
    """A row a function, the busiest first. `calls` are the newest ones within the window, newest first."""
    ended = [call for call in calls if call["status"] not in ("queued", "running")]
    oldest = min((call["started"] for call in calls), default=now)
    span = WINDOW if len(calls) < SAMPLE else max(now - oldest, 0.001)
    boxes: defaultdict[str, list[Json]] = defaultdict(list)
    for instance in instances:
        boxes[instance["function"]].append(instance)
    by_function: defaultdict[str, list[Json]] = defaultdict(list)
    for call in ended:
        by_function[call["function"]].append(call)
    table = [_row(name, boxes[name], by_function[name], span) for name in {*functions, *boxes, *by_function}]
    return sorted(table, key=lambda row: (-row["calls_per_s"], -row["in_flight"], -row["instances"], row["function"]))


def _row(name: str, boxes: list[Json], calls: list[Json], span: float) -> Json:
    times = sorted(sum(call["timings"][part] for part in ("queue", "cold", "run")) for call in calls)
    count = len(calls) or 1
    return {
        "function": name,
        "instances": len(boxes),
        "busy": sum(box["state"] == "busy" for box in boxes),
        "in_flight": sum(box["inflight"] for box in boxes),
        "calls_per_s": len(calls) / span,
        "p50_s": percentile(times, 0.5),
        "p99_s": percentile(times, 0.99),
        "cold_share": sum(call["cold"] for call in calls) / count,
        "error_share": sum(call["status"] != "ok" for call in calls) / count,
        "memory_kb": sum(box["memory_kb"] for box in boxes),
    }


def percentile(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed (nearest rank); None of no values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _table(found: list[Json], session: Session, height: int) -> Table:
    from rich import box
    from rich.markup import escape as plain
    from rich.table import Table

    calls = sum(row["calls_per_s"] for row in found)
    instances = sum(row["instances"] for row in found)
    table = Table(
        title=f"{session.url}  {session.namespace}  {time.strftime('%H:%M:%S')}  "
        f"functions: {len(found)}  instances: {instances}  calls/s: {calls:,.1f}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        expand=True,
        pad_edge=False,
    )
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="left" if heading == "FUNCTION" else "right", no_wrap=True)
    for row in found[: max(1, height - 5)]:
        style = "red" if row["error_share"] > 0 else None if row["instances"] or row["calls_per_s"] else "dim"
        table.add_row(*(plain(escape(str(value(row)))) for _, value in COLUMNS), style=style)
    return table
