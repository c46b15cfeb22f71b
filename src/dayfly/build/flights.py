"""One build for all who ask for the same at once, each hearing how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Progress = Callable[[str], None]

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.listeners: list[Progress] = []
        self.task: asyncio.Task[T] | None = None

    def tell(self, line: str) -> None:
        for listener in self.listeners:
            listener(line)


class Flights(Generic[T]):
    """Work under way, by key; at most `at_once` run, the others wait."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._flights: dict[str, _Flight[T]] = {}

    async def join(self, key: str, work: Callable[[Progress], Awaitable[T]], progress: Progress) -> T:
        """The outcome of the work of this key: begun here, or joined. It is cancelled when nobody waits for it any more."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.create_task(self._fly(key, work, flight))
        assert flight.task is not None
        flight.listeners.append(progress)
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.listeners == [progress]:
                if self._flights.get(key) is flight:
                    del self._flights[key]  # who comes now begins anew
                flight.task.cancel()
            raise
        finally:
            flight.listeners.remove(progress)

    async def _fly(self, key: str, work: Callable[[Progress], Awaitable[T]], flight: _Flight[T]) -> T:
        try:
            async with self._slots:
                return await work(flight.tell)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
