"""From zero to 100 instances: 100 calls at once of a function that takes a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from .. import site
from ..model import Finding, Row
from ..run import Run

SLEEPER = """import os, time
ME = os.urandom(8).hex()

def handler(event, context):
    time.sleep(event["seconds"])
    return ME
"""


def measure(run: Run) -> Iterator[Finding]:
    """Seconds until all have answered; how many instances answered."""
    width = run.count(100, 20)
    times: list[float] = []
    instances: list[float] = []
    with site.running() as server:
        server.deploy("sleeper", SLEEPER, max_instances=width)
        for _ in range(run.rounds):
            server.recycle("sleeper")
            took, found = burst(server, width)
            times.append(took)
            instances.append(found)
    yield Row("burst", f"{width} calls of 1 s at once, from zero, until all have answered", "s", tuple(times))
    yield Row("burst", "instances that answered", "instances", tuple(instances))


def burst(server: site.Site, width: int) -> tuple[float, int]:
    seen: set[str] = set()
    ready = threading.Barrier(width + 1)

    def call() -> None:
        server.request("GET", "/healthz")  # the connection stands
        ready.wait()
        seen.add(server.call("sleeper", {"seconds": 1.0})[0])

    threads = [threading.Thread(target=call) for _ in range(width)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, len(seen)
