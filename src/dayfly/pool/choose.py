"""Which instance takes a call, and what happens to a call that finds none.

`FreeSlots` gives the most recently used instance first. The work of a quiet hour then stays on few instances, whose caches are
warm, and the others fall idle long enough to be retired; spreading evenly would keep all of them alive for nothing. With
concurrency above one the same rule fills an instance before it wakes the next.

`admit` decides about a call in constant time: it runs, it waits for an instance that is started for it, it waits in the queue,
or it is refused at once. A queue that cannot be served before the caller gives up would only make everybody late.

`useful` and `relief` are about calls so short that waiting for a busy instance is quicker than starting another (see `pressure`).
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator
from math import ceil
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FreeSlots(Generic[K]):
    """Instances with room for a call, in the order of their last use. Every operation takes constant time."""

    __slots__ = ("_free", "concurrency")

    def __init__(self, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self._free: dict[K, int] = {}  # free slots, at least one; the last key was used last

    def __len__(self) -> int:
        """Number of instances with room."""
        return len(self._free)

    def __contains__(self, key: object) -> bool:
        return key in self._free

    def __iter__(self) -> Iterator[K]:
        """Least recently used first: the order in which to retire."""
        return iter(self._free)

    def free(self, key: K) -> int:
        """Free slots of an instance; 0 when it is full or unknown."""
        return self._free.get(key, 0)

    def idle(self, key: K) -> bool:
        """Whether the instance is here and runs no call."""
        return self._free.get(key) == self.concurrency

    def add(self, key: K, free: int | None = None) -> None:
        """An instance is ready; `free` slots, all unless told."""
        slots = self.concurrency if free is None else free
        if key in self._free or not 0 <= slots <= self.concurrency:
            raise AssertionError(f"instance {key} is there already, or {slots} slots are not within 0..{self.concurrency}")
        if slots:
            self._free[key] = slots

    def take(self) -> K | None:
        """A slot for one call, of the most recently used instance; None when there is none."""
        if not self._free:
            return None
        key, slots = self._free.popitem()
        if slots > 1:
            self._free[key] = slots - 1
        return key

    def give(self, key: K) -> None:
        """A call of this instance ended. Not for an instance that was discarded."""
        slots = self._free.pop(key, 0) + 1
        if slots > self.concurrency:
            raise AssertionError(f"instance {key} gave back more calls than it took")
        self._free[key] = slots

    def discard(self, key: K) -> None:
        """The instance takes no further calls (draining, or gone)."""
        self._free.pop(key, None)


class Verdict(enum.Enum):
    """What happens to a call. The value says it to a person."""

    RUN = "an instance is free"
    START = "an instance is started for it, and it waits for that"
    WAIT = "it waits in the queue"
    LIMITED = "the function's maximum of instances is busy and its queue is full"  # 429
    NO_ROOM = "the machine has no room for another instance and the queue is full"  # 503
    TOO_LATE = "the queue is so long that the call would time out before its turn"  # 503

    @property
    def rejected(self) -> bool:
        return self in (Verdict.LIMITED, Verdict.NO_ROOM, Verdict.TOO_LATE)


def admit(
    *,
    free: int,
    alive: int,
    starting: int,
    waiting: int,
    max_instances: int,
    queue_limit: int,
    concurrency: int = 1,
    max_starting: int = 1_000_000,
    room: bool = True,
    wait_s: float = 0.0,
    deadline_s: float = float("inf"),
) -> Verdict:
    """Decide about one more call.

    free           instances with a free slot
    alive          instances that are ready, `free` included; `starting` are not among them
    waiting        calls in the queue, those that instances are being started for included
    room           whether the machine has, or can make, memory for one more instance
    wait_s         expected wait of this call in the queue (`expected_wait`); 0 when nothing is known
    deadline_s     seconds until the caller gives up

    A start is never refused for being slow: it is what makes the next wait short. One start serves as many waiting calls as an
    instance takes at a time (single flight), and these do not count as queue; a call beyond them starts another.
    """
    if free > 0 and waiting == 0:
        return Verdict.RUN
    at_limit = alive + starting >= max_instances
    if not at_limit and room and starting < max_starting and waiting >= starting * concurrency:
        return Verdict.START
    if waiting >= queue_limit + starting * concurrency:
        return Verdict.LIMITED if at_limit or room else Verdict.NO_ROOM
    if wait_s > deadline_s:
        return Verdict.TOO_LATE
    return Verdict.WAIT


def expected_wait(*, waiting: int, slots: int, service_s: float, ready_in_s: float = 0.0) -> float:
    """Seconds until a call that joins the queue now gets its turn: those before it, `slots` at a time, `service_s` each.

    slots          calls that run at the same time once everything that starts is ready
    service_s      mean time of a call; 0: unknown, then only starts count
    ready_in_s     seconds until the first instance that is starting is ready (0: some are alive)
    """
    if slots <= 0:
        return ready_in_s
    return ready_in_s + (waiting + 1) * service_s / slots


def useful(*, rate: float, shortest_s: float, busy_s: float, processors: int, concurrency: int = 1) -> int:
    """How many instances short calls can keep at work; more would only take each other's caches.

    rate           calls that end, a second
    shortest_s     what the quickest of them take: a call without any waiting for the cores or for us
    busy_s         how much of that is computing, of the instance or to reach it; the rest is waiting for others

    By Little's law `rate * shortest_s` calls are at work at a time. Four times as many instances leave room for those that are not
    among the quickest, and to end more calls than now: if more end, this asks for more the next time, and grows with each look until
    something else is the limit. Where they compute, the processors are: beyond one for each, instances only add switches and misses
    (measured: six instead of three on two processors cost an empty call a fifth of its time). One more bridges the moments in between.
    """
    busy_s = min(busy_s, shortest_s)
    computing = min(processors, ceil(4 * rate * busy_s / concurrency))
    waiting = ceil(4 * rate * (shortest_s - busy_s) / concurrency)
    return max(2, computing + waiting + 1)


def relief(
    *,
    waiting: int,
    ready: int,
    starting: int,
    stuck: int,
    rate: float,
    enough: int,
    concurrency: int = 1,
) -> int:
    """How many instances to start for short calls that have waited for as long as a start takes.

    stuck          instances whose call turned out to be long; they serve nobody else meanwhile
    rate           calls that ended meanwhile, a second
    enough         how many instances are of use (`useful`)

    If none ended, or half of the instances are stuck, calls are not as short as they were: each that waits gets its instance.
    """
    missing = ceil(waiting / concurrency) - starting
    if rate and 2 * stuck < ready:
        missing = min(missing, enough + stuck - ready - starting)
    return max(0, missing)
