"""Who is served next: one lane a function, trigger or host, round robin, bounded twice.

A lane knows when its earliest item is due and how many of its deliveries run. Lanes that are due stand in line; the one in front may
take as many places as its own bound and its share of the free ones allow, and stands at the end again. So a subscriber that is slow,
or has a million items, holds at most its own bound of places and delays nobody else's turn. Memory grows with lanes that have
work, never with items.

Pure bookkeeping: no clock, no I/O.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Final

NEVER: Final = math.inf

Key = tuple[str, str]  # namespace, lane


class Lane:
    """A lane with work."""

    __slots__ = ("arrived", "arrived_bytes", "claiming", "due", "key", "limit", "queued", "running")

    def __init__(self, key: Key, limit: int) -> None:
        self.key = key
        self.limit = limit  # places it may hold; 0: it is not served
        self.arrived = 0  # items since it was served last: for batches
        self.arrived_bytes = 0
        self.due = NEVER  # of its earliest item that is not being claimed, as far as known; seconds since the epoch
        self.running = 0  # places held
        self.claiming = False  # somebody is fetching items for it
        self.queued = False  # stands in line


class Lanes:
    """`limit_of` a lane and `overall` bound the places held at the same time."""

    def __init__(self, limit_of: Callable[[Key], int], overall: int) -> None:
        self._limit_of = limit_of
        self._overall = overall
        self._lanes: dict[Key, Lane] = {}
        self._due: list[tuple[float, int, Lane]] = []  # heap; entries whose time is no longer the lane's are stale
        self._order = itertools.count()
        self._line: deque[Lane] = deque()
        self.running = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def hint(self, key: Key, due: float) -> Lane:
        """There is an item due at that time."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = Lane(key, self._limit_of(key))
            if lane.limit == 0:  # nobody serves it: who changes that tells `relimit`, and hints again
                return lane
            self._lanes[key] = lane
        if due < lane.due:
            lane.due = due
            self._schedule(lane)
        return lane

    def forget_due(self) -> None:
        """What is known of due times holds no more; hints follow."""
        self._due.clear()
        for lane in self._lanes.values():
            if not lane.queued:
                lane.due = NEVER

    def relimit(self, key: Key) -> None:
        """The lane's bound may have changed."""
        lane = self._lanes.get(key)
        if lane is not None:
            lane.limit = self._limit_of(key)
            if lane.due < NEVER:
                self._schedule(lane)

    def reserve(self, key: Key) -> Lane | None:
        """A place for an item that is just being written, where nothing waits that would have to go first. `release` must follow."""
        if self.running >= self._overall or self._line:
            return None
        lane = self._lanes.get(key)
        if lane is None:
            lane = Lane(key, self._limit_of(key))
            if lane.limit == 0:
                return None
            self._lanes[key] = lane
        elif lane.due < NEVER or self._blocked(lane):
            return None
        lane.running += 1
        self.running += 1
        return lane

    def take(self, now: float) -> tuple[Lane, int] | None:
        """The lane whose turn it is and the places it gets, or None. `claimed` must follow."""
        free = self._overall - self.running
        if free <= 0:
            return None
        while self._due and self._due[0][0] <= now:
            due, _, lane = heapq.heappop(self._due)
            if due == lane.due and not lane.claiming and not lane.queued and lane.running < lane.limit:
                lane.queued = True
                self._line.append(lane)
        if not self._line:
            return None
        lane = self._line.popleft()
        lane.queued = False
        places = min(lane.limit - lane.running, max(1, free // (1 + len(self._line))))
        lane.claiming = True
        lane.due = NEVER
        lane.running += places
        self.running += places
        return lane, places

    def claimed(self, lane: Lane, unused: int, due: float) -> None:
        """The items are fetched: so many places were not needed, and the next item is due then (NEVER: there is none)."""
        lane.claiming = False
        lane.due = min(lane.due, due)
        self._free(lane, unused)

    def release(self, lane: Lane) -> None:
        """An item of the lane has ended."""
        self._free(lane, 1)

    def next_due(self) -> float:
        """When `take` should be asked again if nothing else happens; NEVER while all places are held."""
        if self.running >= self._overall:
            return NEVER
        if self._line:
            return 0.0
        while self._due and (self._due[0][0] != self._due[0][2].due or self._blocked(self._due[0][2])):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else NEVER

    def _free(self, lane: Lane, places: int) -> None:
        lane.running -= places
        self.running -= places
        if lane.due < NEVER:
            self._schedule(lane)
        elif lane.running == 0 and not lane.claiming:
            self._lanes.pop(lane.key, None)

    def _schedule(self, lane: Lane) -> None:
        if not self._blocked(lane):
            heapq.heappush(self._due, (lane.due, next(self._order), lane))

    def _blocked(self, lane: Lane) -> bool:
        """Whether its turn comes by something else than time: it stands in line, is being served, or holds all it may."""
        return lane.queued or lane.claiming or lane.running >= lane.limit
