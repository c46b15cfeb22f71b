"""Time is injected: nothing below the composition root asks the system for it.

`SystemClock` is real; `dayfly.testing.clock.FakeClock` stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Wall time, monotonic time and timers."""

    def now(self) -> float:
        """Seconds since the epoch: for records and for deadlines that leave the process."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never jump: for durations."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run the callback on the event loop after `delay` seconds, unless the timer is cancelled before."""
        ...

    async def sleep(self, delay: float) -> None:
        """Wait `delay` seconds."""
        ...


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)
