"""Cold starts: HTTP in to HTTP out after a recycle, beside a bare fork into the same namespaces and root; and how many a second."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dayfly.runtime

from .. import site
from ..model import Finding, Promise, Row, percentile
from ..run import Run

RUNTIME = Path(dayfly.runtime.__file__).parent / "python"
BATCH = 10  # starts of one kind before it is the other's turn
PAUSE = 0.02  # seconds before each, so that the end of the one before is not measured
LANES = 8  # functions that start at the same time


def measure(run: Run) -> Iterator[Finding]:
    """Percentiles of `rounds` rounds, 100 starts each; sustained rate; the cold-start promises."""
    cold: list[list[float]] = []
    bare: list[list[float]] = []
    parts: list[float] = []
    with site.running() as server, forks() as fork:
        server.deploy("hello")
        for number in range(run.rounds):
            cold.append([])
            bare.append([])
            while len(cold[-1]) < run.count(100, 10):
                for _ in range(BATCH):
                    bare[-1].append(fork())
                for _ in range(BATCH):
                    took, inside = cold_call(server)
                    cold[-1].append(took)
                    parts.append(inside)
            run.say(f"cold: round {number + 1} of {run.rounds}, p50 {percentile(cold[-1], 50):.1f} ms")
        rates = [sustained(server, run.count(5, 1)) for _ in range(run.rounds)]
    yield from report(cold, bare, rates, parts)


def report(cold: list[list[float]], bare: list[list[float]], rates: list[float], parts: list[float]) -> Iterator[Finding]:
    for who, rounds in (("Dayfly Python, cold call", cold), ("bare fork", bare)):
        for p in (50, 99):
            yield Row("cold", who, f"p{p} ms", tuple(percentile(values, p) for values in rounds), f"{len(rounds[0])} a round")
    yield Row("cold", "of which from the start of the instance to user code loaded", "p50 ms", (percentile(parts, 50),))
    ratio = Row(
        "cold",
        "cold call / bare fork",
        "x",
        tuple(percentile(c, 50) / percentile(b, 50) for c, b in zip(cold, bare, strict=True)),
    )
    yield ratio
    rate = Row("cold", f"sustained cold starts, {LANES} functions at once", "starts/s", tuple(rates))
    yield rate
    together = [value for values in cold for value in values]
    p50, p99 = percentile(together, 50), percentile(together, 99)
    command = "python -m bench cold"
    yield Promise("cold start p50, of a bare fork's", "<= 3x", f"{ratio.median:.2f}x", ratio.median <= 3, command)
    yield Promise("cold start p50, HTTP in to HTTP out", "<= 10 ms", f"{p50:.1f} ms", p50 <= 10, command)
    yield Promise("cold start p99", "<= 40 ms", f"{p99:.1f} ms", p99 <= 40, command)
    yield Promise("sustained cold starts", ">= 150/s", f"{rate.median:.0f}/s", rate.median >= 150, command)


def cold_call(server: site.Site, name: str = "hello") -> tuple[float, float]:
    """(milliseconds of a call after a recycle, those of its Server-Timing's cold part).

    The autoscaler may restore its reserve between the two; such a call is no sample. Raises RuntimeError if that does not end.
    """
    for _ in range(10):
        server.recycle(name)
        time.sleep(PAUSE)
        began = time.perf_counter()
        _, headers = server.call(name, {"name": "Ada"})
        took = 1000 * (time.perf_counter() - began)
        if headers["dayfly-cold"] == "true":
            inside = next(part for part in headers["server-timing"].split(", ") if part.startswith("cold"))
            return took, float(inside.partition("dur=")[2])
    raise RuntimeError("ten calls after a recycle were not cold")


def sustained(server: site.Site, seconds: float) -> float:
    """Cold answers a second while several functions are recycled and called without a pause."""
    names = [f"lane-{number}" for number in range(LANES)]
    for name in names:
        server.deploy(name)
    until = time.perf_counter() + seconds
    counts = dict.fromkeys(names, 0)

    def lane(name: str) -> None:
        while time.perf_counter() < until:
            server.recycle(name)
            counts[name] += server.call(name)[1]["dayfly-cold"] == "true"

    began = time.perf_counter()
    threads = [threading.Thread(target=lane, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts.values()) / (time.perf_counter() - began)


@contextmanager
def forks() -> Iterator[Callable[[], float]]:
    """A process that forks into an empty jail; call what it gives for the milliseconds of one fork."""
    script = Path(__file__).resolve().parents[1] / "barefork.py"
    process = subprocess.Popen(
        [os.path.realpath(sys.executable), "-I", "-S", "-B", str(script), str(RUNTIME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asked, told = process.stdin, process.stdout
    assert asked is not None
    assert told is not None

    def fork() -> float:
        time.sleep(PAUSE)
        asked.write("\n")
        asked.flush()
        return 1000 * float(told.readline())

    try:
        yield fork
    finally:
        asked.close()
        process.wait()
