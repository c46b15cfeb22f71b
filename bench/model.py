"""What a measure finds: rows of numbers, and promises held or not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct


class Row(Struct, frozen=True):
    """One quantity, measured once a round. `what` says of whom, `unit` in what."""

    measure: str
    what: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Promise(Struct, frozen=True):
    """A line of SPECIFICATION.md and what this run says about it."""

    promise: str
    limit: str
    measured: str
    holds: bool
    command: str


Finding = Row | Promise


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed (nearest rank). Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def ratios(mine: Sequence[float], floor: Sequence[float]) -> tuple[float, ...]:
    """Round by round: what was measured in turns is compared in turns."""
    return tuple(m / f for m, f in zip(mine, floor, strict=True))


def shown(value: float) -> str:
    """A number for people: three significant digits, thousands grouped."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
