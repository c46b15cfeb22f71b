"""Writes down every call, after its answer has gone out.

`record` costs an append. A handful of records at a time is encoded, folded into the usage ledger and shown to the observers (metrics):
to do that for a whole slice (see `slices`) would hold up the calls under way for milliseconds. A slice goes to the store as two
statements of one transaction, the rows and the sums. So the ledger on disk equals the sum of the rows on disk, whenever the process
dies. Rows travel as one JSON text, which SQLite takes apart without the interpreter's lock.

When the disk is too far behind, the detail of calls is dropped and counted, but their sums are written with the next slice that is:
usage stays exact. What is not on disk yet is found all the same: queries look at the waiting slices too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from ..actions import Invoke
from ..clock import Clock, Timer
from ..errors import NotFound
from ..model.call import Invocation
from ..model.function import Keep
from ..model.usage import PriceSheet, Usage
from ..store.port import Statement, Store
from . import records
from .inputs import Inputs
from .records import Filter
from .slices import Slices
from .usage import HOUR, Ledger, Sums, price

PRUNE_EVERY: Final = 4  # slices
PRUNE_IDLE: Final = 60.0  # seconds
BITE: Final = 1000  # rows deleted in one go at most
HANDFUL: Final = 32  # records worked through in one go: about a tenth of a millisecond

KEEP_ROWS: Final = 1_000_000
HELD: Final = 64 << 20  # characters of answers that wait for the disk; beyond it records are kept without theirs
KEEP_SECONDS: Final = 7 * 86400.0

Observer = Callable[[Sequence[Invocation]], None]


class Recorder:
    """Retention: at most `keep_rows` records, none older than `keep_s` seconds. Usage is kept. What calls were given (`inputs`) is
    written and forgotten along with their records."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        inputs: Inputs | None = None,
        keep_rows: int = KEEP_ROWS,
        keep_s: float = KEEP_SECONDS,
    ) -> None:
        self._store = store
        self._inputs = inputs or Inputs(store, keep=Keep.NONE)
        self._clock = clock
        self._keep_rows = keep_rows
        self._keep_s = keep_s
        self._observers: list[Observer] = []
        self._slices: Slices[Invocation] = Slices(clock, self._write, self._spill)
        self._inputs.enough = self._slices.cut
        self._fresh: list[Invocation] = []  # recorded, not worked through yet
        self._rows: list[str] = []  # of the handfuls that belong to the next slice
        self._ledger = Ledger()  # sums that go with it, those of dropped records too
        self._since_prune = 0  # slices
        self._prune_timer: Timer | None = None
        self.dropped = 0  # records whose detail was given up
        self._held = 0  # characters of answers in records that wait for the disk

    async def open(self) -> None:
        """To be awaited before the first record."""
        [(last,)] = await self._store.fetch("invocations_last")
        self._slices.next = last + 1
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)

    def close(self) -> None:
        """Hand everything to the store; closing that writes it."""
        self._slices.close()
        if self._prune_timer is not None:
            self._prune_timer.cancel()
            self._prune_timer = None

    def observe(self, observer: Observer) -> None:
        """Show all records to the observer as well, a few at a time; it must be quick and must not raise."""
        self._observers.append(observer)

    def record(self, call: Invocation) -> None:
        """Remember a call that has ended."""
        if len(call.error_message) > records.MESSAGE_LIMIT:
            call = records.clipped(call)
        if call.answer:
            self._held += len(call.answer)
            if self._held > HELD:
                self._held -= len(call.answer)
                call = replace(call, answer="")
        self._fresh.append(call)
        if len(self._fresh) >= HANDFUL:
            self._work_through()
        self._slices.add(call)

    async def flush(self) -> None:
        """Return when what was recorded is on disk, or after a second."""
        await self._slices.flush()

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, first: int, batch: list[Invocation], done: Callable[[], None]) -> None:
        self._work_through()
        rows, self._rows = self._rows, []
        ledger, self._ledger = self._ledger, Ledger()
        statements: list[Statement] = [
            ("invocations_put", {"first": first, "rows": records.joined(rows)}),
            ("usage_add", {"rows": ledger.rows()}),
        ]
        inputs, given = self._inputs.take(self._clock.monotonic())
        statements += inputs
        self._since_prune += 1
        if self._since_prune >= PRUNE_EVERY:
            self._since_prune = 0
            statements += self._prune()
        self._store.write_behind(*statements, done=self._letting_go(batch, given, done))

    def _work_through(self) -> None:
        """Everything about the recorded calls but their writing."""
        handful, self._fresh = self._fresh, []
        if not handful:
            return
        self._rows.append(records.encode(handful))
        self._ledger.add(handful)
        for observer in self._observers:
            observer(handful)

    def _letting_go(self, batch: list[Invocation], given: int, done: Callable[[], None]) -> Callable[[], None]:
        size = sum([len(call.answer) for call in batch])
        if not size and not given:
            return done

        def written() -> None:
            self._held -= size
            self._inputs.written(given)
            done()

        return written

    def _spill(self, batch: list[Invocation]) -> None:
        self._work_through()
        self._rows.clear()
        self._inputs.drop()
        self._held -= sum([len(call.answer) for call in batch])
        self.dropped += len(batch)

    def _prune(self) -> list[Statement]:
        oldest = f"{int((self._clock.now() - self._keep_s) * 1000):012x}"
        records = {"bite": BITE, "seq": self._slices.next - 1 - self._keep_rows, "id": oldest}
        return [("invocations_prune", records), self._inputs.prune(oldest)]

    def _prune_idle(self) -> None:
        self._store.write_behind(*self._prune())
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> Invocation | None:
        """The record of a call; of an asynchronous one with several attempts, the last."""
        attempts = await self.attempts(id, limit=1)
        return attempts[0] if attempts else None

    async def attempts(self, id: str, limit: int = 100) -> list[Invocation]:
        """All records under this id, the newest first."""
        found = {seq: call for seq, call in self._slices.unwritten() if call.id == id}
        for row in await self._store.fetch("invocations_of_id", id=id, limit=limit):
            if row[0] not in found:
                found[row[0]] = records.decode(row)
        return [found[seq] for seq in sorted(found, reverse=True)[:limit]]

    async def list(
        self, wanted: Filter, limit: int = 50, unrecorded: Sequence[Invocation] = ()
    ) -> tuple[list[Invocation], str]:
        """A page of records, newest first, and the cursor of the next page (empty after the last one).

        `unrecorded`: calls to be shown among them, above all such as have not ended; one whose record is there by now is left
        out. At most 1,000 records whatever the limit. Raises errors.BadInput for a cursor or a time that is none.
        """
        limit = max(1, min(limit, records.PAGE_LIMIT))
        before, after = wanted.before(), wanted.after()
        found = {seq: call for seq, call in self._slices.unwritten() if wanted.takes(seq, call, before, after)}
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
        for row in rows:
            if row[0] not in found:
                found[row[0]] = records.decode(row)
        numbered = list(found.items())
        ended = {(call.id, call.attempt) for call in found.values()}
        numbered += [
            (records.OPEN, call)
            for call in unrecorded
            if (call.id, call.attempt) not in ended and wanted.takes(records.OPEN, call, before, after)
        ]
        ordered = sorted(numbered, key=lambda item: (item[1].id, item[0]), reverse=True)
        page = ordered[:limit]
        return [call for _, call in page], records.cursor(page[-1]) if len(ordered) > limit else ""

    async def given(self, namespace: str, id: str) -> Invoke:
        """What a synchronous call was given. Raises errors.NotFound, with the reason."""
        await self.flush()
        found = await self._inputs.find(namespace, id)
        if found is not None:
            return found
        record = await self.get(id)
        if record is None or record.namespace != namespace:
            raise NotFound(
                f"nothing is recorded of {id[:80]!r} in {namespace}",
                hint="Records are kept for a time and up to a number; see: dayfly invocations",
            )
        raise NotFound(
            f"the input of {id} is not kept: {self._inputs.why(record.status)}",
            hint="See --keep-inputs of dayfly up and of dayfly deploy.",
        )

    async def usage(
        self, namespace: str, function: str = "", *, since: float = 0.0, until: float = 0.0, sheet: PriceSheet | None = None
    ) -> Usage:
        """What was used, in whole hours that touch the span, and its price. `until` 0 means now."""
        since, until = records.moment(since), records.moment(until)
        await self.flush()
        end = until or self._clock.now() + HOUR
        [sums] = await self._store.fetch(
            "usage_sum", namespace=namespace, function=function, first=int(since // HOUR), end=-int(-end // HOUR)
        )
        return price(Sums(*sums), sheet or PriceSheet(), namespace=namespace, function=function, since=since, until=until)
