"""Arrivals for a rehearsal: from a rate, or from the minutes of a trace. The same generator state gives the same calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from .rehearsal import Arrival
from .trace import FunctionTrace


def poisson(
    function: str,
    rate: Callable[[float], float],
    highest: float,
    until: float,
    service_s: Callable[[Random], float],
    random: Random,
) -> Iterator[Arrival]:
    """Independent callers: `rate(t)` calls a second at second t, nowhere above `highest` (thinning, Lewis and Shedler 1979)."""
    at = 0.0
    while (at := at + random.expovariate(highest)) < until:
        if random.random() * highest < rate(at):
            yield Arrival(at, function, service_s(random))


def replayed(trace: FunctionTrace, service_s: float, random: Random, *, minutes: range) -> Iterator[Arrival]:
    """The calls of these minutes, each minute's spread evenly at random over its seconds. Minute `minutes.start` is at 0."""
    for minute, calls in trace.counts:
        if minute in minutes:
            begin = 60.0 * (minute - minutes.start)
            for at in sorted(random.uniform(begin, begin + 60.0) for _ in range(calls)):
                yield Arrival(at, trace.function, service_s)
