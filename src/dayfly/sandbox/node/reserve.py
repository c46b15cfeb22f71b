"""Things made ahead of need, so that a cold start finds them: control groups, network pairs.

The kernel takes its time for them, and takes locks of the whole machine. So what a start takes from the reserve is made again once that
start is over, in a thread, one at a time. What comes back as good as new is taken instead: under a steady stream of starts nothing
has to be made. Kinds that nobody asked for during IDLE seconds go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from ...clock import Clock, Timer

REFILL_DELAY = 0.012  # seconds, so that making the next does not slow the start that took one
IDLE = 600.0  # seconds
KINDS = 8  # different ones kept at a time
SURPLUS = 2  # times `depth` of a kind that are kept when they come back

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Reserve(Generic[K, T]):
    """Up to `depth` of each kind. `make` runs in a thread of `executor` and may raise OSError; `drop` undoes it, in the loop's.

    `as_new`, in the thread of `make`: whether one that comes back can be told from a new one by nobody. May raise OSError.
    """

    def __init__(
        self,
        make: Callable[[K], T],
        drop: Callable[[T], None],
        *,
        depth: int,
        clock: Clock,
        executor: Executor,
        as_new: Callable[[T], bool] | None = None,
    ) -> None:
        self._make = make
        self._drop = drop
        self._as_new = as_new
        self._depth = depth
        self._clock = clock
        self._executor = executor
        self._ready: dict[K, deque[T]] = {}  # the kind asked for last comes last
        self._asked: dict[K, float] = {}
        self._timer: Timer | None = None
        self._due = 0.0  # monotonic; when the timer fires
        self._making: asyncio.Task[None] | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, kind: K) -> T | None:
        """One that is ready, or None; and see to it that the next start finds one."""
        ready = self._ready.pop(kind, None) or deque()
        self._ready[kind] = ready
        self._asked[kind] = self._clock.monotonic()
        self._schedule(REFILL_DELAY)
        return ready.popleft() if ready else None

    def give_back(self, kind: K, thing: T) -> None:
        """Who took it needs it no more: it is kept if there is room and it is as new, and dropped otherwise."""
        if self._as_new is None or not self._room(kind, len(self._returning)):
            self._drop(thing)
            return
        task = asyncio.get_running_loop().create_task(self._keep(kind, thing, self._as_new))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    def _room(self, kind: K, more: int = 0) -> bool:
        return not self._closed and kind in self._ready and len(self._ready[kind]) + more < SURPLUS * self._depth

    async def _keep(self, kind: K, thing: T, as_new: Callable[[T], bool]) -> None:
        try:
            good = await asyncio.get_running_loop().run_in_executor(self._executor, as_new, thing)
        except OSError:
            good = False
        if good and self._room(kind):
            self._ready[kind].append(thing)
        else:
            self._drop(thing)

    def close(self) -> None:
        """Let go of everything, and make no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for kind in list(self._ready):
            self._forget(kind)

    def _schedule(self, delay: float) -> None:
        due = self._clock.monotonic() + delay
        if self._making is not None or self._closed or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = self._clock.call_later(delay, self._fill), due

    def _fill(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, kind in enumerate(reversed(list(self._ready))):
            if number >= KINDS or now - self._asked[kind] >= IDLE:
                self._forget(kind)
        missing = [kind for kind, ready in self._ready.items() if len(ready) < self._depth]
        if missing:
            self._making = asyncio.get_running_loop().create_task(self._add(missing[-1]))
        elif self._ready:
            self._schedule(IDLE)

    async def _add(self, kind: K) -> None:
        delay = 0.0
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._executor, self._make, kind)
        except OSError:
            delay = IDLE  # the start that needs one will say why there is none
        else:
            if self._closed or kind not in self._ready:
                self._drop(made)
            else:
                self._ready[kind].append(made)
        self._making = None
        self._schedule(delay)

    def _forget(self, kind: K) -> None:
        self._asked.pop(kind, None)
        for made in self._ready.pop(kind, ()):
            self._drop(made)
