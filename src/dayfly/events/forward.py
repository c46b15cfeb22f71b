"""Time that can be put forward: what a development server has instead of patience.

Only what waits for a moment uses this clock: retries, delays, timers, retention. Calls and instances live by the machine's, so nothing
that runs times out because time was put forward.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from ..clock import Clock, Timer

SAME: Final = 0.001  # seconds: moments that are no further apart are one; times of day are no more exact than that, as floats


class ForwardTimer:
    def __init__(self, callback: Callable[[], None], slept: bool) -> None:
        self.callback: Callable[[], None] | None = callback
        self.slept = slept  # it wakes who slept; of one moment these come last

    def cancel(self) -> None:
        self.callback = None


class ForwardClock:
    """The time of another clock and whatever it has been put forward."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = 0.0  # seconds
        self._timers: list[tuple[float, int, ForwardTimer]] = []  # heap
        self._order = itertools.count()
        self._alarm: Timer | None = None

    def now(self) -> float:
        return self._base.now() + self._ahead

    def monotonic(self) -> float:
        return self._base.monotonic() + self._ahead

    def call_later(self, delay: float, callback: Callable[[], None]) -> ForwardTimer:
        return self._later(delay, callback, slept=False)

    def _later(self, delay: float, callback: Callable[[], None], *, slept: bool) -> ForwardTimer:
        timer = ForwardTimer(callback, slept)
        heapq.heappush(self._timers, (self.monotonic() + max(0.0, delay), next(self._order), timer))
        self._arm()
        return timer

    async def sleep(self, delay: float) -> None:
        done = asyncio.Event()
        timer = self._later(delay, done.set, slept=True)
        try:
            await done.wait()
        finally:
            timer.cancel()

    async def forward(self, seconds: float, settled: Callable[[], Awaitable[None]], *, patience: float) -> tuple[int, float]:
        """Let so many seconds pass. Timers fire in the order of their time, at their time, and after each we wait until what it started
        has `settled`. Of those of one moment retries and delays come first, then who slept, so that it is always the same order.
        -> how many fired, and the seconds that have not passed, because `patience` (seconds, real ones) was over
        """
        until = self.monotonic() + seconds
        over = self._base.monotonic() + patience
        fired = 0
        await settled()
        while (due := self._next()) is not None and due <= until:
            if self._base.monotonic() >= over:
                self._arm()
                return fired, until - self.monotonic()
            self._choose(due + SAME)
            self._ahead += max(0.0, self._timers[0][0] - self.monotonic())
            fired += self._fire()
            await settled()
        self._ahead += max(0.0, until - self.monotonic())
        self._arm()
        return fired, 0.0

    def _next(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _choose(self, end: float) -> None:
        """Put that one of the timers up to `end` to the top whose turn it is."""
        together: list[tuple[float, int, ForwardTimer]] = []
        while (due := self._next()) is not None and due <= end:
            together.append(heapq.heappop(self._timers))
        at, order, timer = min(together, key=lambda one: (one[2].slept, one[1]))
        for other in together:
            if other[2] is not timer:
                heapq.heappush(self._timers, (max(at, other[0]), other[1] if other[0] > at else next(self._order), other[2]))
        heapq.heappush(self._timers, (at, order, timer))

    def _fire(self) -> int:
        """Fire the first timer that is due."""
        due = self._next()
        if due is None or due > self.monotonic():
            return 0
        _, _, timer = heapq.heappop(self._timers)
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()
        return 1

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self._next()
        if due is not None:
            self._alarm = self._base.call_later(max(0.0, due - self.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        while self._fire():
            pass
        self._arm()
