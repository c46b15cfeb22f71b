"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Stands still until `advance`. Timers fire in order of their time, in the call of `advance` itself."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._epoch = start
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._epoch + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self._elapsed + max(0.0, delay), next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        done = asyncio.Event()
        self.call_later(delay, done.set)
        await done.wait()

    def advance(self, seconds: float) -> None:
        """Move time forward and fire what falls due on the way, each timer at its own time."""
        until = self._elapsed + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            self._elapsed = due
            if timer.callback is not None:
                timer.callback()
        self._elapsed = until

    async def pass_time(self, seconds: float) -> None:
        """`advance`, letting tasks that wake up run before and after."""
        await settle()
        self.advance(seconds)
        await settle()


async def settle(turns: int = 20) -> None:
    """Let every task that can run now run, without waiting for time to pass."""
    for _ in range(turns):
        await asyncio.sleep(0)
