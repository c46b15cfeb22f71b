"""Which idle instance has to go when memory is short: Greedy-Dual, as FaasCache does it (Fuerst and Sharma, ASPLOS 2021).

    priority = clock when it was last used + frequency x cost of a cold start / size
    evict the lowest; clock = priority of the last one evicted

The fraction is what a megabyte of it saves: often called, slow to start and small stays. The clock lets it age: it only rises,
so that an instance not used since is overtaken by those that are, without anybody touching it.

Nothing is kept between evictions but the clock. An instance notes the clock when it is used (one assignment on the hot path), and
a heap is built only when memory is short: linear in the idle instances, some milliseconds for 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)


class Candidate(NamedTuple, Generic[K]):
    """An idle instance that may be evicted."""

    id: K
    frequency: float  # calls of all instances of its function since the function last had none
    cost: float  # seconds that its next cold start would take
    size: float  # MiB that its end gives back
    used: float = 0.0  # GreedyDual.clock when it was last used


class Eviction(NamedTuple, Generic[K]):
    """Whom to evict, in this order; `freed` MiB is less than was asked for when there is not enough to give."""

    ids: tuple[K, ...]
    freed: float


def priority(candidate: Candidate[K]) -> float:
    """The higher, the longer it stays. Sizes below one MiB count as one."""
    return candidate.used + candidate.frequency * candidate.cost / max(1.0, candidate.size)


class GreedyDual:
    """The clock, and the choice."""

    __slots__ = ("clock",)

    def __init__(self, clock: float = 0.0) -> None:
        self.clock = clock

    def victims(self, candidates: Iterable[Candidate[K]], need: float) -> Eviction[K]:
        """Candidates of lowest priority until their sizes add up to `need` MiB; of equals, the one given first."""
        heap = [(priority(candidate), order, candidate) for order, candidate in enumerate(candidates)]
        heapify(heap)
        ids: list[K] = []
        freed = 0.0
        while freed < need and heap:
            value, _, candidate = heappop(heap)
            self.clock = max(self.clock, value)
            ids.append(candidate.id)
            freed += candidate.size
        return Eviction(tuple(ids), freed)

    def evict(self, candidates: Iterable[Candidate[K]]) -> K | None:
        """The candidate of lowest priority; None when there is none."""
        best = min(candidates, key=priority, default=None)
        if best is None:
            return None
        self.clock = max(self.clock, priority(best))
        return best.id
