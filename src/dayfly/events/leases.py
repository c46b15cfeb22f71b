"""Which cell runs the source of a trigger: one at a time, where several share a store.

A lease is kept by whoever holds it and free when nobody has for a while. It is also a fence: what a source emits is written only if its
cell still holds the lease, so one that was frozen past it, and goes on, changes nothing. A cell that was killed and starts again has
its old name, and its leases with it.
"""

from __future__ import annotations

from typing import Final

from ..clock import Clock
from ..store.port import Statement, Store

LEASE: Final = 30.0  # seconds
KEEP_EVERY: Final = 10.0  # seconds

Key = tuple[str, str]  # namespace, trigger
Fence = Statement


class Leases:
    """`clock` goes as time does, also where that of events is put forward. `holder` is this cell's name."""

    def __init__(self, store: Store, clock: Clock, holder: str) -> None:
        self._store = store
        self.clock = clock
        self._holder = holder
        self._held: set[Key] = set()

    async def take(self, key: Key) -> bool:
        """Whether this cell has it now."""
        [effect] = await self._store.commit(("source_lease_take", self._row(key) | {"now": self.clock.now()}))
        if effect.written:
            self._held.add(key)
        return effect.written > 0

    async def keep(self) -> None:
        """Renew what is held. Called every KEEP_EVERY."""
        if self._held:
            await self._store.commit(("source_lease_keep", [self._row(key) for key in self._held]))

    async def give(self, key: Key) -> None:
        self._held.discard(key)
        await self._store.commit(("source_lease_give", self._row(key)))

    def fence(self, key: Key) -> Fence:
        """Writes a row if this cell has it (still), and none if it has not."""
        return "source_lease_keep", self._row(key)

    def _row(self, key: Key) -> dict[str, object]:
        return {"namespace": key[0], "name": key[1], "holder": self._holder, "until": self.clock.now() + LEASE}
