"""Collects what is to be written behind and hands it to the store in slices.

Five hundred items, or a fifth of a second, make a slice: small enough that preparing one does not hold up the event loop, large
enough that the disk works in batches. Items are numbered in the order they came; the store's rows carry the number, so what waits and
what is written can be told apart and put in one order.

At most `limit` slices wait for the disk. When it does not keep up (or is full), further full slices are spilled: the owner is
told, keeps what must not be lost (sums, a marker), and is asked to write that when the disk is back. Nothing here ever waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..clock import Clock, Timer

FLUSH_EVERY: Final = 0.2  # seconds
SLICE: Final = 500  # items
SLICES: Final = 40  # waiting for the disk at most, unless the owner says otherwise
FLUSH_PATIENCE: Final = 1.0  # seconds a reader waits for the disk before it takes what is there

T = TypeVar("T")
Write = Callable[[int, list[T], Callable[[], None]], None]


class Slices(Generic[T]):
    """`write(first, slice, done)` hands a slice to the store, which calls `done`; after a spill the slice may be empty.
    `spill(slice)` is told of items that are given up.
    """

    def __init__(self, clock: Clock, write: Write[T], spill: Callable[[list[T]], None], limit: int = SLICES) -> None:
        self._clock = clock
        self._write = write
        self._spill = spill
        self._limit = limit
        self._pending: list[T] = []
        self._under_way: dict[int, tuple[int, list[T]]] = {}  # number of the write -> first, slice; oldest first
        self._writes = 0
        self._spilled = False  # since the last write
        self._timer: Timer | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.next = 1  # number of the first pending item

    @property
    def end(self) -> int:
        """The number the next item will get."""
        return self.next + len(self._pending)

    def add(self, item: T) -> None:
        pending = self._pending
        pending.append(item)
        if len(pending) >= SLICE:
            self.cut()
        elif self._timer is None:
            self._timer = self._clock.call_later(FLUSH_EVERY, self._tick)

    def cut(self) -> None:
        """Hand over what is pending now, unless the disk is behind and there is room to wait."""
        self._disarm()
        if len(self._under_way) < self._limit:
            if self._pending or self._spilled:
                self._send()
        elif len(self._pending) >= SLICE:
            batch, self._pending = self._pending, []
            self._spilled = True
            self._spill(batch)

    def close(self) -> None:
        """Hand over everything; closing the store writes it."""
        if self._pending or self._spilled:
            self._send()
        self._disarm()

    def unwritten(self) -> list[tuple[int, T]]:
        """What is not known to be on disk, with its numbers, in order."""
        found = [(first + i, item) for first, batch in self._under_way.values() for i, item in enumerate(batch)]
        found += enumerate(self._pending, self.next)
        return found

    async def flush(self) -> None:
        """Return when what came before is on disk, or after a second: a reader is not hung up by a full disk."""
        self.cut()
        if not self._under_way:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        timer = self._clock.call_later(FLUSH_PATIENCE, lambda: _release(waiter))
        try:
            await waiter
        finally:
            timer.cancel()

    def _send(self) -> None:
        batch, self._pending = self._pending, []
        first, self.next = self.next, self.next + len(batch)
        self._spilled = False
        self._writes = number = self._writes + 1
        self._under_way[number] = (first, batch)
        self._write(first, batch, lambda: self._written(number))

    def _written(self, number: int) -> None:
        del self._under_way[number]
        if self._timer is None and (self._pending or self._spilled):
            self._timer = self._clock.call_later(FLUSH_EVERY, self._tick)
        if not self._under_way:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                _release(waiter)

    def _tick(self) -> None:
        self._timer = None
        self.cut()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
