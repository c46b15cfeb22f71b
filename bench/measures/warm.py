"""Warm calls: the floor, Dayfly (Python, Node) and functions-framework, in turns, at 1, 32 and 256 connections, small and 64 KB bodies."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from .. import floor, machine, site, wrk
from ..model import Finding, Promise, Row, ratios
from ..run import Run

CONNECTIONS = (1, 32, 256)
SMALL = b'{"name": "Ada"}'
LARGE = json.dumps({"data": ""}).encode()
LARGE = LARGE[:-2] + b"x" * ((64 << 10) - len(LARGE)) + LARGE[-2:]
WORKERS = (2, 3, 4)  # of the floor: whichever is fastest

Cell = tuple[str, str, int]  # of whom, which body, connections

Pids = Callable[[], list[int]]


class Seen(Struct, frozen=True):
    """One cell in one round. `cpu_us`: what all processes of that side used for a call; says more than time where others are busy."""

    load: wrk.Load
    cpu_us: float


FRAMEWORK_COMMAND = Path(sys.executable).with_name("functions-framework")
FRAMEWORK = """
import flask, functions_framework
def hello(request: flask.Request):
    return {"hello": request.get_json().get("name", "world")}
"""


def measure(run: Run) -> Iterator[Finding]:
    """Rows of answers a second, p50 and p99 for every cell; ratios to the floor; the warm promises."""
    seen: dict[Cell, list[Seen]] = {}
    with ExitStack() as stack:
        workers = best_workers(run)
        run.say(f"the floor is fastest with {workers} workers")
        server = stack.enter_context(site.running())
        targets: dict[tuple[str, str], tuple[str, Pids]] = {}
        for body, function in (("hello", "hello"), ("64 KB", "echo")):
            url, pid = stack.enter_context(floor.running(workers, function))
            targets["floor", body] = url, partial(machine.tree, pid)
        for language, runtime, sources in (
            ("Python", "python3.11", (site.HELLO, site.ECHO)),
            ("Node", "nodejs", (site.NODE_HELLO, site.NODE_ECHO)),
        ):
            for body, source in zip(("hello", "64 KB"), sources, strict=True):
                name = f"{language}-{body}".lower().replace(" ", "-")
                server.deploy(name, source, runtime=runtime)
                targets[f"Dayfly {language}", body] = server.url(name), server.processes
        if FRAMEWORK_COMMAND.exists():
            url, pid = stack.enter_context(framework())
            targets["functions-framework", "hello"] = url, partial(machine.tree, pid)
        else:
            run.say("functions-framework is left out: pip install 'dayfly[bench]'")
        for number in range(run.rounds):
            for connections in CONNECTIONS:
                for (who, body), (url, pids) in targets.items():
                    payload = SMALL if body == "hello" else LARGE
                    before = machine.cpu_seconds(pids())
                    load = wrk.run(url, connections=connections, seconds=run.seconds, body=payload)
                    used = machine.cpu_seconds(pids()) - before
                    if load.bad and who != "functions-framework":
                        run.say(f"{load.bad} bad answers from {who}, {body}, {connections} connections")
                    seen.setdefault((who, body, connections), []).append(Seen(load, 1e6 * used / load.count))
            run.say(f"warm: round {number + 1} of {run.rounds}")
    yield from rows(seen, workers)
    yield from promises(seen)


def rows(seen: dict[Cell, list[Seen]], workers: int) -> Iterator[Row]:
    for (who, body, connections), measured in seen.items():
        loads = [one.load for one in measured]
        what = f"{who}, {body}, {connections} connection{'s' if connections > 1 else ''}"
        bad = sum(load.bad for load in loads)
        note = f"{bad} answers were errors" if bad else ""
        if who == "floor":
            note = f"{workers} workers"
        yield Row("warm", what, "calls/s", tuple(load.rate for load in loads), note)
        yield Row("warm", what, "p50 ms", tuple(load.p50_ms for load in loads))
        yield Row("warm", what, "p99 ms", tuple(load.p99_ms for load in loads))
        yield Row("warm", what, "CPU us a call", tuple(one.cpu_us for one in measured))


def promises(seen: dict[Cell, list[Seen]]) -> Iterator[Finding]:
    """Ratios are of the same round; the promise is held if their median is."""

    def compare(connections: int, field: Callable[[Seen], float], label: str) -> Row:
        mine, base = seen["Dayfly Python", "hello", connections], seen["floor", "hello", connections]
        values = ratios([field(one) for one in mine], [field(one) for one in base])
        return Row("warm", f"{label}, Dayfly Python / floor", "x", values)

    rate = compare(32, lambda one: one.load.rate, "throughput at 32 connections")
    p50 = compare(1, lambda one: one.load.p50_ms, "p50 at 1 connection")
    p99 = compare(1, lambda one: one.load.p99_ms, "p99 at 1 connection")
    yield from (rate, p50, p99, compare(32, lambda one: one.cpu_us, "CPU a call at 32 connections"))
    for row, text, limit, holds in (
        (rate, "warm throughput at 32 connections, of the raw two-hop floor", ">= 70 %", rate.median >= 0.7),
        (p50, "warm p50 at one connection, of the floor's", "<= 1.8x", p50.median <= 1.8),
        (p99, "warm p99 at one connection, of the floor's", "<= 4x", p99.median <= 4),
    ):
        measured = f"{row.median:.0%}" if "%" in limit else f"{row.median:.2f}x"
        yield Promise(text, limit, measured, holds, "python -m bench warm")


def best_workers(run: Run) -> int:
    """How many workers serve the floor the best at 32 connections; fewer if it is a draw."""
    rates: dict[int, float] = {}
    for workers in WORKERS:
        with floor.running(workers, "hello") as (url, _):
            rates[workers] = wrk.run(url, connections=32, seconds=min(2.0, run.seconds), body=SMALL).rate
    return max(rates, key=lambda workers: rates[workers])


@contextmanager
def framework() -> Iterator[tuple[str, int]]:
    """functions-framework with its own production server (gunicorn): its URL and process id."""
    port = site.free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.py").write_text(FRAMEWORK)
        with open(Path(folder, "log"), "wb") as log:
            place = ["--source", f"{folder}/main.py", "--target", "hello", "--host", "127.0.0.1", "--port", str(port)]
            process = subprocess.Popen([str(FRAMEWORK_COMMAND), *place], stdout=log, stderr=log, cwd=folder)
        try:
            floor.wait_for(port, process)
            yield f"http://127.0.0.1:{port}/", process.pid
        finally:
            process.terminate()
            process.wait()
