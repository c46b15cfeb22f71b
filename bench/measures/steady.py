"""Latency under an open-loop load of half of what a closed loop gets through: what users see, not what the server likes to be asked."""

from __future__ import annotations

from collections.abc import Iterator

from .. import floor, openloop, site, wrk
from ..model import Finding, Row
from ..run import Run
from .warm import SMALL


def measure(run: Run) -> Iterator[Finding]:
    """p50, p99, p99.9 of Dayfly and of the floor, each at half of its own throughput at 32 connections, and at the same rate."""
    found: dict[str, list[openloop.Percentiles]] = {}
    with site.running() as server, floor.running(2, "hello") as (url, _):
        server.deploy("hello")
        floor_port = int(url.rsplit(":", 1)[1].strip("/"))
        for _ in range(run.rounds):
            rate = wrk.run(server.url("hello"), connections=32, seconds=min(3.0, run.seconds), body=SMALL).rate / 2
            for who, port, path in (("floor", floor_port, "/"), ("Dayfly Python", server.port, site.path("hello"))):
                seen = openloop.run(port, path, rate=rate, seconds=2 * run.seconds, body=SMALL)
                found.setdefault(who, []).append(seen)
                run.say(f"{who} at {rate:.0f}/s: p50 {seen.p50:.2f}, p99 {seen.p99:.2f}, p99.9 {seen.p999:.2f} ms")
    for who, all_seen in found.items():
        what = f"{who}, open loop at 50 % of Dayfly's throughput"
        failures = sum(seen.failures for seen in all_seen)
        yield Row("steady", what, "calls/s", tuple(seen.rate for seen in all_seen), f"{failures} failures")
        yield Row("steady", what, "p50 ms", tuple(seen.p50 for seen in all_seen))
        yield Row("steady", what, "p99 ms", tuple(seen.p99 for seen in all_seen))
        yield Row("steady", what, "p99.9 ms", tuple(seen.p999 for seen in all_seen))
