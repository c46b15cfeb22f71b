"""Accepting asynchronous calls durably: 64 publishers, beside bare appends with fdatasync on the same disk, in turns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from .. import site, wrk
from ..model import Finding, Promise, Row
from ..run import Run
from .warm import SMALL

PUBLISHERS = 64
RECORD = b"x" * 512


def measure(run: Run) -> Iterator[Finding]:
    """`later`: nothing is delivered meanwhile, the enqueue alone; `at once`: the calls run, too, as they come."""
    floor: list[float] = []
    later: list[wrk.Load] = []
    at_once: list[wrk.Load] = []
    with site.running() as server:
        server.deploy("hello")
        for _ in range(run.rounds):
            floor.append(appends(server.data, min(2.0, run.seconds)))
            headers = {"prefer": "respond-async"}
            for loads, more in ((later, {"dayfly-delay": "86400"}), (at_once, {})):
                load = wrk.run(
                    server.url("hello"), connections=PUBLISHERS, seconds=run.seconds, body=SMALL, headers=headers | more
                )
                if load.bad:
                    run.say(f"{load.bad} calls were not accepted")
                loads.append(load)
    yield Row("durable", "bare appends with fdatasync, one after the other", "writes/s", tuple(floor))
    for what, loads in (("enqueue alone", later), ("enqueue while delivering", at_once)):
        who = f"{what}, {PUBLISHERS} publishers"
        yield Row("durable", who, "calls/s", tuple(load.rate for load in loads), f"{sum(load.bad for load in loads)} refused")
        yield Row("durable", who, "p50 ms", tuple(load.p50_ms for load in loads))
    rate = Row("durable", "enqueue alone / bare appends", "x", tuple(a.rate / f for a, f in zip(later, floor, strict=True)))
    yield rate
    measured = sorted(load.rate for load in later)[len(later) // 2]
    command = "python -m bench durable"
    yield Promise("durable enqueue of asynchronous calls", ">= 2,000/s", f"{measured:,.0f}/s", measured >= 2000, command)


def appends(folder: Path, seconds: float) -> float:
    """Records a second that one writer makes durable, one at a time."""
    place = folder / "appends"
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        os.write(fd, RECORD)
        os.fdatasync(fd)
        count += 1
    took = time.perf_counter() - began
    os.close(fd)
    place.unlink()
    return count / took
