"""The price of `isolation: per-invocation`: one call after the other, beside an instance that is shared, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import site
from ..model import Finding, Row, percentile, ratios
from ..run import Run

PAUSE = 0.03  # seconds between two calls that are not back to back: the next instance is ready by then


def measure(run: Run) -> Iterator[Finding]:
    """p50 of a call with a pause before it and back to back, and answers a second."""
    kinds = {"shared": "shared", "per invocation": "per-invocation"}
    spaced: dict[str, list[float]] = {kind: [] for kind in kinds}
    rate: dict[str, list[float]] = {kind: [] for kind in kinds}
    with site.running() as server:
        for isolation in kinds.values():
            server.deploy(isolation, isolation=isolation)
        for number in range(run.rounds):
            for kind, name in kinds.items():
                spaced[kind].append(percentile([timed(server, name, PAUSE) for _ in range(run.count(60, 10))], 50))
                began, count = time.perf_counter(), 0
                while time.perf_counter() - began < run.seconds:
                    timed(server, name, 0)
                    count += 1
                rate[kind].append(count / (time.perf_counter() - began))
            run.say(f"once: round {number + 1} of {run.rounds}")
    for kind in kinds:
        yield Row("once", f"{kind}, {1000 * PAUSE:.0f} ms between calls", "p50 ms", tuple(spaced[kind]))
        yield Row("once", f"{kind}, back to back on one connection", "calls/s", tuple(rate[kind]))
    yield Row("once", "latency, per invocation / shared", "x", ratios(spaced["per invocation"], spaced["shared"]))
    yield Row("once", "throughput, shared / per invocation", "x", ratios(rate["shared"], rate["per invocation"]))


def timed(server: site.Site, name: str, pause: float) -> float:
    time.sleep(pause)
    began = time.perf_counter()
    server.call(name, {"name": "Ada"})
    return 1000 * (time.perf_counter() - began)
