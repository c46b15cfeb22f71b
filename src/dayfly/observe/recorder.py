"""Writes down every call, after its answer has gone out.

`record` costs an append. Two hundred and fifty records, or a fifth of a second, make a slice: it is folded into the usage ledger,
shown to the observers (metrics) and handed to the store as two statements of one transaction, the rows and the sums. So the
ledger on disk equals the sum of the rows on disk, whenever the process dies. Slices are small so that none holds up the event loop
for long; rows travel as one JSON text and SQLite takes them apart without the interpreter's lock.

When the disk does not keep up (or is full), at most `SLICES` slices wait. Beyond that the detail of calls is dropped and counted,
but their sums are carried over into the next slice that is written: usage stays exact.

What is not on disk yet is found all the same: queries look at the waiting slices too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ..clock import Clock, Timer
from ..model.call import Invocation
from ..model.usage import PriceSheet, Usage
from ..store.port import Statement, Store
from . import records
from .records import Filter, Numbered
from .usage import HOUR, Ledger, Sums, price

FLUSH_EVERY: Final = 0.2  # seconds
SLICE: Final = 250  # records
SLICES: Final = 80  # waiting for the disk at most
FLUSH_PATIENCE: Final = 1.0  # seconds a reader waits for the disk before it takes what is there
PRUNE_EVERY: Final = 4  # slices
PRUNE_IDLE: Final = 60.0  # seconds
BITE: Final = 1000  # rows deleted in one go at most

KEEP_ROWS: Final = 1_000_000
KEEP_SECONDS: Final = 7 * 86400.0

Observer = Callable[[Sequence[Invocation]], None]


class Recorder:
    """Retention: at most `keep_rows` records, none older than `keep_s` seconds. Usage is kept."""

    def __init__(self, store: Store, clock: Clock, *, keep_rows: int = KEEP_ROWS, keep_s: float = KEEP_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._keep_rows = keep_rows
        self._keep_s = keep_s
        self._observers: list[Observer] = []
        self._pending: list[Invocation] = []
        self._first = 1  # seq of the first pending record
        self._under_way: dict[int, tuple[int, list[Invocation]]] = {}  # number of the write -> first seq, slice
        self._carried = Ledger()  # sums of dropped records, not written yet
        self._timer: Timer | None = None
        self._prune_timer: Timer | None = None
        self._writes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self.dropped = 0  # records whose detail was given up

    async def open(self) -> None:
        """To be awaited before the first record."""
        [(last,)] = await self._store.fetch("invocations_last")
        self._first = last + 1
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)

    def close(self) -> None:
        """Hand everything to the store; closing that writes it."""
        if self._pending or self._carried:
            self._write(self._pending)
            self._pending = []
        for timer in (self._timer, self._prune_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._prune_timer = None

    def observe(self, observer: Observer) -> None:
        """Show every slice of records to the observer as well; it must be quick and must not raise."""
        self._observers.append(observer)

    def record(self, call: Invocation) -> None:
        """Remember a call that has ended."""
        if len(call.error_message) > records.MESSAGE_LIMIT:
            call = records.clipped(call)
        pending = self._pending
        pending.append(call)
        if len(pending) >= SLICE:
            self._cut()
        elif self._timer is None:
            self._timer = self._clock.call_later(FLUSH_EVERY, self._tick)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        self._cut()

    def _cut(self) -> None:
        """Make a slice of what is pending, if it can be written or is full."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        full = len(self._pending) >= SLICE
        if len(self._under_way) >= SLICES and not full:
            return  # the disk is behind: `_written` comes back here
        batch, self._pending = self._pending, []
        if len(self._under_way) < SLICES:
            self._write(batch)
        else:
            self._carried.add(batch)
            self.dropped += len(batch)
        if batch:
            for observer in self._observers:
                observer(batch)

    def _write(self, batch: list[Invocation]) -> None:
        ledger, self._carried = self._carried, Ledger()
        ledger.add(batch)
        first = self._first
        self._first += len(batch)
        statements: list[Statement] = []
        if batch:
            statements.append(("invocations_put", {"first": first, "rows": records.encode(batch)}))
        if ledger:
            statements.append(("usage_add", {"rows": ledger.rows()}))
        if not statements:
            return
        self._writes = number = self._writes + 1
        self._under_way[number] = (first, batch)
        if number % PRUNE_EVERY == 0:
            statements.append(self._prune())
        self._store.write_behind(*statements, done=lambda: self._written(number))

    def _written(self, number: int) -> None:
        del self._under_way[number]
        if self._timer is None and (self._pending or self._carried):
            self._timer = self._clock.call_later(FLUSH_EVERY, self._tick)
        if not self._under_way:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                _release(waiter)

    def _prune(self) -> Statement:
        oldest = f"{int((self._clock.now() - self._keep_s) * 1000):012x}"
        return "invocations_prune", {"bite": BITE, "seq": self._first - 1 - self._keep_rows, "id": oldest}

    def _prune_idle(self) -> None:
        self._store.write_behind(self._prune())
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)

    async def flush(self) -> None:
        """Return when what was recorded is on disk, or after a second: a reader is not hung up by a full disk."""
        self._cut()
        if not self._under_way:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        timer = self._clock.call_later(FLUSH_PATIENCE, lambda: _release(waiter))
        try:
            await waiter
        finally:
            timer.cancel()

    # --- reading ----------------------------------------------------------------------------------------------------

    def _unwritten(self) -> list[Numbered]:
        found = [(first + i, call) for first, batch in self._under_way.values() for i, call in enumerate(batch)]
        return found + list(enumerate(self._pending, self._first))

    async def get(self, id: str) -> Invocation | None:
        """The record of a call; of an asynchronous one with several attempts, the last."""
        attempts = await self.attempts(id, limit=1)
        return attempts[0] if attempts else None

    async def attempts(self, id: str, limit: int = 100) -> list[Invocation]:
        """All records under this id, the newest first."""
        found = {seq: call for seq, call in self._unwritten() if call.id == id}
        for seq, body in await self._store.fetch("invocations_of_id", id=id, limit=limit):
            found.setdefault(seq, records.decode(body))
        return [found[seq] for seq in sorted(found, reverse=True)[:limit]]

    async def list(self, wanted: Filter, limit: int = 50) -> tuple[list[Invocation], str]:
        """A page of records, newest first, and the cursor of the next page (empty after the last one)."""
        before, after = wanted.before(), wanted.after()
        found = {seq: call for seq, call in self._unwritten() if wanted.takes(seq, call, before, after)}
        rows = await self._store.fetch(
            "invocations_list_function" if wanted.function else "invocations_list",
            namespace=wanted.namespace,
            **({"function": wanted.function} if wanted.function else {}),
            status=wanted.status.value if wanted.status else "",
            before=before[0],
            before_seq=before[1],
            since=after,
            limit=limit + 1,
        )
        for seq, body in rows:
            found.setdefault(seq, records.decode(body))
        ordered = sorted(found.items(), key=lambda item: (item[1].id, item[0]), reverse=True)
        page = ordered[:limit]
        return [call for _, call in page], records.cursor(page[-1]) if len(ordered) > limit else ""

    async def usage(
        self, namespace: str, function: str = "", *, since: float = 0.0, until: float = 0.0, sheet: PriceSheet | None = None
    ) -> Usage:
        """What was used, in whole hours that touch the span, and its price. `until` 0 means now."""
        await self.flush()
        end = until or self._clock.now() + HOUR
        [sums] = await self._store.fetch(
            "usage_sum", namespace=namespace, function=function, first=int(since // HOUR), end=-int(-end // HOUR)
        )
        return price(Sums(*sums), sheet or PriceSheet(), namespace=namespace, function=function, since=since, until=until)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
