"""The usage ledger: what was used by whom in which hour, and what that costs.

Sums are integers (milliseconds, MiB-milliseconds, microseconds), so adding them up in any order and any number of batches gives
the same ledger, equal to the sum over the invocations to the last digit. Money appears only when a price sheet is laid over it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ..model.call import Invocation, Status
from ..model.usage import PriceSheet, Usage

HOUR: Final = 3600.0  # seconds
Key = tuple[str, str, int]  # namespace, function, hour since the epoch

FREE: Final = frozenset({Status.REJECTED, Status.DEAD, Status.QUEUED, Status.RUNNING})  # no user code ran, or not yet
ERRORS: Final = frozenset({Status.ERROR, Status.CRASHED, Status.INIT_FAILED, Status.TIMED_OUT})


class Sums(NamedTuple):
    """A line of the ledger. `mb_ms`: configured MiB x billed milliseconds."""

    requests: int = 0
    billed_ms: int = 0
    mb_ms: int = 0
    cpu_us: int = 0
    errors: int = 0
    cold_starts: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class Ledger:
    """Sums by namespace, function and hour."""

    def __init__(self) -> None:
        self._lines: dict[Key, list[int]] = {}

    def add(self, invocations: Iterable[Invocation]) -> None:
        """Account for calls that ended."""
        lines = self._lines
        for call in invocations:
            status = call.status
            if status in FREE or not call.memory_mb:  # without memory nothing ran: a trigger, a sequence
                continue
            key = (call.namespace, call.function, int(call.started // HOUR))
            line = lines.get(key)
            if line is None:
                line = lines[key] = [0, 0, 0, 0, 0, 0]
            billed = call.billed_ms
            line[0] += 1
            line[1] += billed
            line[2] += billed * call.memory_mb
            line[3] += call.cpu_us
            if status in ERRORS:
                line[4] += 1
            if call.cold:
                line[5] += 1

    def merge(self, other: Ledger) -> None:
        for key, values in other._lines.items():
            mine = self._lines.setdefault(key, [0, 0, 0, 0, 0, 0])
            for i, value in enumerate(values):
                mine[i] += value

    def lines(self) -> dict[Key, Sums]:
        return {key: Sums(*values) for key, values in self._lines.items()}

    def rows(self) -> str:
        """The lines as the JSON array that the query `usage_add` takes."""
        return msgspec.json.encode([(*key, *values) for key, values in self._lines.items()]).decode()


def price(
    sums: Sums, sheet: PriceSheet, *, namespace: str, function: str = "", since: float = 0.0, until: float = 0.0
) -> Usage:
    """The sums in the units people pay for, with their cost by the sheet, unrounded."""
    gb_seconds = sums.mb_ms / (1024 * 1000)
    return Usage(
        namespace=namespace,
        function=function,
        since=since,
        until=until,
        requests=sums.requests,
        gb_seconds=gb_seconds,
        cpu_ms=sums.cpu_us / 1000,
        billed_ms=sums.billed_ms,
        errors=sums.errors,
        cold_starts=sums.cold_starts,
        cost_requests=sums.requests * sheet.per_million_requests / 1_000_000,
        cost_compute=gb_seconds * sheet.per_gb_second,
        currency=sheet.currency,
    )
