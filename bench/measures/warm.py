"""Warm calls: the floor, Dayfly (Python, Node) and functions-framework, in turns, at 1, 32 and 256 connections, small and 64 KB bodies."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import floor, site, wrk
from ..model import Finding, Promise, Row, ratios
from ..run import Run

CONNECTIONS = (1, 32, 256)
SMALL = b'{"name": "Ada"}'
LARGE = json.dumps({"data": ""}).encode()
LARGE = LARGE[:-2] + b"x" * ((64 << 10) - len(LARGE)) + LARGE[-2:]
WORKERS = (2, 3, 4)  # of the floor: whichever is fastest

Cell = tuple[str, str, int]  # of whom, which body, connections

FRAMEWORK = """
import flask, functions_framework
def hello(request: flask.Request):
    return {"hello": request.get_json().get("name", "world")}
"""


def measure(run: Run) -> Iterator[Finding]:
    """Rows of answers a second, p50 and p99 for every cell; ratios to the floor; the warm promises."""
    seen: dict[Cell, list[wrk.Load]] = {}
    with ExitStack() as stack:
        workers = best_workers(run)
        run.say(f"the floor is fastest with {workers} workers")
        server = stack.enter_context(site.running())
        targets: dict[tuple[str, str], str] = {
            ("floor", "hello"): stack.enter_context(floor.running(workers, "hello")),
            ("floor", "64 KB"): stack.enter_context(floor.running(workers, "echo")),
        }
        for language, runtime, sources in (
            ("Python", "python3.11", (site.HELLO, site.ECHO)),
            ("Node", "nodejs", (site.NODE_HELLO, site.NODE_ECHO)),
        ):
            for body, source in zip(("hello", "64 KB"), sources, strict=True):
                name = f"{language}-{body}".lower().replace(" ", "-")
                server.deploy(name, source, runtime=runtime)
                targets[f"Dayfly {language}", body] = server.url(name)
        targets["functions-framework", "hello"] = stack.enter_context(framework())
        for number in range(run.rounds):
            for connections in CONNECTIONS:
                for (who, body), url in targets.items():
                    payload = SMALL if body == "hello" else LARGE
                    load = wrk.run(url, connections=connections, seconds=run.seconds, body=payload)
                    if load.bad and who != "functions-framework":
                        run.say(f"{load.bad} bad answers from {who}, {body}, {connections} connections")
                    seen.setdefault((who, body, connections), []).append(load)
            run.say(f"warm: round {number + 1} of {run.rounds}")
    yield from rows(seen, workers)
    yield from promises(seen)


def rows(seen: dict[Cell, list[wrk.Load]], workers: int) -> Iterator[Row]:
    for (who, body, connections), loads in seen.items():
        what = f"{who}, {body}, {connections} connection{'s' if connections > 1 else ''}"
        bad = sum(load.bad for load in loads)
        note = f"{bad} answers were errors" if bad else ""
        if who == "floor":
            note = f"{workers} workers"
        yield Row("warm", what, "calls/s", tuple(load.rate for load in loads), note)
        yield Row("warm", what, "p50 ms", tuple(load.p50_ms for load in loads))
        yield Row("warm", what, "p99 ms", tuple(load.p99_ms for load in loads))


def promises(seen: dict[Cell, list[wrk.Load]]) -> Iterator[Finding]:
    """Ratios are of the same round; the promise is held if their median is."""

    def compare(connections: int, field: Callable[[wrk.Load], float], label: str, unit: str) -> Row:
        mine, base = seen["Dayfly Python", "hello", connections], seen["floor", "hello", connections]
        values = ratios([field(load) for load in mine], [field(load) for load in base])
        return Row("warm", f"{label}, Dayfly Python / floor", unit, values)

    rate = compare(32, lambda load: load.rate, "throughput at 32 connections", "x")
    p50 = compare(1, lambda load: load.p50_ms, "p50 at 1 connection", "x")
    p99 = compare(1, lambda load: load.p99_ms, "p99 at 1 connection", "x")
    yield from (rate, p50, p99)
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
        with floor.running(workers, "hello") as url:
            rates[workers] = wrk.run(url, connections=32, seconds=min(2.0, run.seconds), body=SMALL).rate
    return max(rates, key=lambda workers: rates[workers])


@contextmanager
def framework() -> Iterator[str]:
    """functions-framework with its own production server (gunicorn); its URL."""
    port = site.free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.py").write_text(FRAMEWORK)
        command = Path(sys.executable).with_name("functions-framework")
        with open(Path(folder, "log"), "wb") as log:
            place = ["--source", f"{folder}/main.py", "--target", "hello", "--host", "127.0.0.1", "--port", str(port)]
            process = subprocess.Popen([str(command), *place], stdout=log, stderr=log, cwd=folder)
        try:
            floor.wait_for(port, process)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait()
