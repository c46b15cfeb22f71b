"""Measures what instances use, a few at a time, so that eviction and `dayfly top` speak of real memory.

Asking costs the node about a millisecond an instance, so a round takes at most ROUND of them, those longest unmeasured first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..clock import Clock
from ..errors import DayflyError
from ..model.instance import State

if TYPE_CHECKING:
    from .instance import Instance
    from .pool import Pool

EVERY: Final = 5.0  # seconds between rounds
ROUND: Final = 50  # instances


class Census:
    """Measures the instances of a pool until it is stopped."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(EVERY)
            await self.round()

    async def round(self) -> None:
        """Measure up to ROUND instances."""
        alive = [
            instance
            for group in self._pool.groups.values()
            for instance in group.instances.values()
            if instance.state in (State.IDLE, State.BUSY)
        ]
        alive.sort(key=lambda instance: instance.measured)
        for instance in alive[:ROUND]:
            await self._measure(instance)

    async def _measure(self, instance: Instance) -> None:
        instance.measured = self._clock.monotonic()
        try:
            stats = await instance.box.stats()
        except DayflyError:
            return  # it ended meanwhile
        instance.memory_kb = stats.memory_kb
