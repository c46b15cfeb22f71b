"""Freezes idle instances of functions that are to stand still between calls (`Config.freeze_s`): what they left running goes on with
the next call, and not before.

A busy instance is never frozen, and pays for this with one look at a flag: one timer for all looks at those that fell idle.
A call to a frozen instance does not wait for the node's word: it is in the instance's socket when that goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from ..clock import Clock, Timer
from ..errors import DayflyError
from ..model.instance import State

if TYPE_CHECKING:
    from .instance import Instance

IDLE: Final = State.IDLE


class Frost:
    """Of all instances of a pool."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: deque[Instance] = deque()  # fell idle a short while ago
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, instance: Instance) -> None:
        """It is idle: freeze it, unless it gets a call before its time has come."""
        instance.watched = True
        self._watched.append(instance)
        if self._timer is None:
            self._timer = self._clock.call_later(instance.group.config.freeze_s, self._sweep)

    def thaw(self, instance: Instance) -> None:
        """It gets a call."""
        instance.frozen = False
        self._begin(instance.box.resume())

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        soonest = 0.0
        for _ in range(len(self._watched)):
            instance = self._watched.popleft()
            if instance.state is not IDLE:
                instance.watched = False  # until it falls idle again
                continue
            left = instance.idle_since + instance.group.config.freeze_s - now
            if left > 0:
                self._watched.append(instance)
                soonest = min(soonest or left, left)
                continue
            instance.watched = False
            instance.frozen = True
            self._begin(instance.box.pause())
        if self._watched:
            self._timer = self._clock.call_later(soonest, self._sweep)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """An instance that cannot be frozen goes on; one that has gone needs neither."""
    try:
        await work
    except DayflyError:
        pass
