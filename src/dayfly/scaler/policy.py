"""Keep-alive policies with one face, so that a trace can be replayed over all of them.

A policy belongs to one function. It sees each idle time when it has ended, and says before each for how long to stay warm.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from .keepalive import PAPER, IdleHistogram, KeepSpec, Windows, keep_for, predict


class Policy(Protocol):
    """How long one function stays warm."""

    def windows(self) -> Windows:
        """For the idle time that begins now."""
        ...

    def observe(self, idle_s: float) -> None:
        """An idle time ended after so many seconds."""
        ...


class Fixed:
    """Stay `keep_s` seconds, whatever happens; `inf` never unloads."""

    __slots__ = ("_windows",)

    def __init__(self, keep_s: float) -> None:
        self._windows = Windows(0.0, keep_s)

    def windows(self) -> Windows:
        return self._windows

    def observe(self, idle_s: float) -> None:
        """Nothing to learn."""


class Hybrid:
    """The hybrid histogram: the paper's, or weighed by the cost of a cold start where `cold_cost_s` is given."""

    __slots__ = ("cold_cost_s", "seen", "spec")

    def __init__(self, spec: KeepSpec = PAPER, cold_cost_s: float | None = None) -> None:
        self.spec = spec
        self.cold_cost_s = cold_cost_s
        self.seen = IdleHistogram()

    def windows(self) -> Windows:
        if self.cold_cost_s is None:
            return predict(self.seen, self.spec)
        return keep_for(self.seen, self.cold_cost_s, self.spec)

    def observe(self, idle_s: float) -> None:
        self.seen.observe(idle_s, self.spec)


def fixed(minutes: float) -> Callable[[], Policy]:
    """Makes policies that keep for so many minutes."""
    return lambda: Fixed(minutes * 60.0)


def hybrid(spec: KeepSpec = PAPER, cold_cost_s: float | None = None) -> Callable[[], Policy]:
    """Makes hybrid policies."""
    return lambda: Hybrid(spec, cold_cost_s)


BASE = "fixed 10 min"

POLICIES: dict[str, Callable[[], Policy]] = {
    "fixed 1 min": fixed(1),
    "fixed 5 min": fixed(5),
    BASE: fixed(10),
    "fixed 20 min": fixed(20),
    "fixed 60 min": fixed(60),
    "fixed 240 min": fixed(240),
    "never unload": fixed(inf),
    "hybrid 4 h, 5 seen": hybrid(),
    "hybrid 4 h, 10 seen": hybrid(KeepSpec(fallback_s=PAPER.fallback_s, floor_s=0.0, worth_s=inf, min_observations=10)),
    "hybrid, 10 min fallback": hybrid(KeepSpec(floor_s=0.0, worth_s=inf)),
    "dayfly, 10 ms start": hybrid(KeepSpec(), 0.01),
    "dayfly, 1 s start": hybrid(KeepSpec(), 1.0),
    "dayfly, 10 s start": hybrid(KeepSpec(), 10.0),
}
