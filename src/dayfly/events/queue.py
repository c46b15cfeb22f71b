"""The queue of everything that is delivered: on disk before it is acknowledged.

An item is a small row that changes state, and beside it what it carries, which never changes: a call, a message, or the number of an
event. Where a delivery has a free place and nothing waits before the item, it is written as leased and handed over the moment it is
on disk; else it is found when its lane's turn comes. An idempotency key is claimed in the same transaction that enqueues: the first
call under a key wins for a day, later ones are told its id and enqueue nothing.

A cancelled item gets a new lease epoch, so whatever a delivery under way still reports is not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from ..actions import Invoke
from ..clock import Clock
from ..errors import BadInput, Conflict, NotFound, Throttled
from ..model.call import Invocation, Mode, Result, Status, Timings
from ..model.delivery import Condition
from ..model.ids import id_time, new_id
from ..observe.records import Filter
from ..store.port import Effect, Row, Statement, Store
from .items import Item, New, Plan, decode_call, decode_result, encode, function_lane, put_body, puts
from .lanes import Lane
from .retry import State

KEY_WINDOW: Final = 86400.0  # seconds an idempotency key is remembered
KEY_LIMIT: Final = 256  # characters
MAX_DELAY: Final = 30 * 86400.0  # seconds
MAX_BYTES: Final = 4 << 30  # of calls that wait, all together
KEEP_ENDED_S: Final = 86400.0  # how long an item and its answer can be asked for
KEEP_DEAD_S: Final = 14 * 86400.0
KEEP_ENDED: Final = 200_000  # items
KEEP_RESULT_BYTES: Final = 256 << 20
KEEP_INPUT_BYTES: Final = 256 << 20  # what calls that have ended were given
LEASE: Final = 60.0  # seconds without renewal after which an item is due again
BITE: Final = 1000  # rows deleted in one go
BITES: Final = 50  # at most, one after the other
FULL_RETRY: Final = 30.0  # seconds a client should wait when the queue is full

OPEN: Final = {State.QUEUED: Status.QUEUED, State.BLOCKED: Status.QUEUED, State.LEASED: Status.RUNNING}
STATUS: Final = OPEN | {State.DONE: Status.OK, State.DEAD: Status.DEAD, State.CANCELLED: Status.CANCELLED}


class Entry(Struct, frozen=True):
    """An item as the queue shows it. Times are seconds since the epoch."""

    id: str
    namespace: str
    lane: str
    function: str
    state: State
    attempt: int  # attempts that counted so far
    due: float
    created: float
    ended: float  # 0: open
    last_error: str
    condition: Condition | None
    event: int | None  # events.seq

    @property
    def open(self) -> bool:
        return self.state in OPEN

    def invocation(self) -> Invocation:
        """The item in the shape of a record, for those that have none (yet): queued, running, dead, cancelled."""
        return Invocation(
            id=self.id,
            namespace=self.namespace,
            function=self.function,
            revision=0,
            mode=Mode.ASYNC if self.event is None else Mode.EVENT,
            status=STATUS[self.state],
            cold=False,
            started=id_time(self.id),
            timings=Timings(),
            billed_ms=0,
            memory_mb=0,
            attempt=self.attempt + 1 if self.open else max(1, self.attempt),
            error_message=self.last_error,
        )


class Counts(NamedTuple):
    """Items of a lane by state."""

    due: int
    later: int
    blocked: int
    leased: int
    dead: int
    oldest: float  # seconds since the epoch at which the oldest of those that wait was accepted; 0: none waits


class Worker(Protocol):
    """Who delivers: `delivery.Delivery`."""

    def arrived(self, namespace: str, lane: str, due: float, size: int) -> None:
        """There is a new item of so many bytes."""
        ...

    def reserve(self, namespace: str, lane: str) -> Lane | None:
        """A place for an item that is about to be written as leased; None: let it wait for its turn."""
        ...

    def begin(self, lane: Lane, item: Item | None) -> None:
        """It is written: deliver it. None: it came to nothing, and the place is free again."""
        ...

    def stop_item(self, id: str) -> None:
        """Somebody has cancelled it."""
        ...


class AsyncQueue:
    """Everything about items but delivering them, which `delivery.Delivery` does."""

    def __init__(self, store: Store, clock: Clock, *, max_bytes: int = MAX_BYTES) -> None:
        self.store = store
        self.clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0  # at most this much waits; made exact by `tidy` and before anybody is refused
        self.writing = 0  # transactions under way
        self.lags: dict[tuple[str, str], tuple[int, float]] = {}  # (namespace, lane) -> items that wait, first due; by `tidy`
        self.waiting = 0  # items, as `tidy` counted them last: for a metric
        self._worker: Worker | None = None
        self.watchers: list[
            Callable[[Plan, Sequence[Effect]], None]
        ] = []  # told of what follows from an end, once it is on disk

    def attach(self, worker: Worker) -> None:
        self._worker = worker

    async def enqueue(self, invoke: Invoke) -> str:
        """Accept a call; it is on disk when this returns its id (that of the first call under the same idempotency key).

        Raises errors.BadInput for a delay or key out of range, errors.Conflict for an id used before, errors.Throttled when
        too much waits already, errors.Unavailable when the disk does not take it.
        """
        item = self.item(invoke)
        await self.admit(len(item.body))
        if not invoke.idempotency_key:
            await self.put((), [item])
            return item.id
        return await self.put_once(item, invoke.idempotency_key, KEY_WINDOW)

    def item(self, invoke: Invoke) -> New:
        """The call as an item. Raises errors.BadInput."""
        if not 0.0 <= invoke.delay_s <= MAX_DELAY:
            raise BadInput(f"The delay of {invoke.delay_s} s is not between 0 and {MAX_DELAY:.0f}.")
        if len(invoke.idempotency_key) > KEY_LIMIT:
            raise BadInput(f"The idempotency key is longer than {KEY_LIMIT} characters.", limit=KEY_LIMIT)
        identifier = invoke.invocation or new_id()
        invoke = msgspec.structs.replace(invoke, invocation=identifier, mode=Mode.ASYNC)
        try:
            body = encode(invoke)
        except UnicodeEncodeError as error:
            raise BadInput(f"The call holds text that is not Unicode: {error}.") from None
        now = self.clock.now()
        lane = function_lane(invoke.function)
        return New(identifier, invoke.namespace, lane, now + invoke.delay_s, now, body, function=invoke.function)

    async def admit(self, size: int) -> None:
        """Count so many bytes as waiting. Raises errors.Throttled if that is too much."""
        if self._bytes + size > self._max_bytes:
            await self._measure()
            if self._bytes + size > self._max_bytes:
                raise Throttled(
                    "Too much is waiting to be delivered.",
                    hint="Send less, or see why it is not worked off (dayfly invocations, dayfly trigger ls).",
                    retry_after=FULL_RETRY,
                )
        self._bytes += size

    async def put(self, before: Sequence[Statement], items: Sequence[New], *, fenced: bool = False) -> list[Effect]:
        """In one transaction: the statements, then the items. The delivery has been told when this returns. -> effects of `before`

        `fenced`: if the first statement writes no row, nothing is written. Raises errors.Conflict then.
        """
        now = self.clock.now()
        statements = list(before)
        places: list[tuple[Lane, int, New]] = []  # with the index of the statement that tells whether it was written
        for item in items:
            lane = None
            if not item.key and not item.once and item.due <= now and self._worker is not None:
                lane = self._worker.reserve(item.namespace, item.lane)
            if lane is None:
                statements += puts(item)
                continue
            places.append((lane, len(statements), item))
            statements.append(("queue_put_leased", item.row() | {"until": now + LEASE}))
            if item.event is None:
                statements.append(put_body(item))
        self.writing += 1
        try:
            effects = await self.store.commit(*statements, fenced=fenced)
            if fenced and not effects[0].written:
                raise Conflict("What these items come from has been taken over by another cell.")
        except BaseException as error:
            for lane, _, item in places:
                if isinstance(error, asyncio.CancelledError):  # it may be written all the same
                    self.store.write_behind(("queue_give_back", {"id": item.id}))
                self._begin(lane, None)
            if isinstance(error, asyncio.CancelledError):
                self.announce(items)
            raise
        finally:
            self.writing -= 1
        for lane, index, new in places:
            written = effects[index].written > 0
            item_ = Item(0, new.id, 1, 0, 0, new.created, new.created, "", new.body)
            self._begin(lane, item_ if written else None)
        if len(places) < len(items):
            handed = {new.id for _, _, new in places}
            self.announce(new for new in items if new.id not in handed)
        return effects[: len(before)]

    async def put_once(self, item: New, once: str, window: float) -> str:
        """Put an item unless there was one under the same key within so many seconds. -> its id, or that one's"""
        row = item.row() | {"once": once, "expired": item.created - window, "body": item.body}
        effects = await self.store.commit(("queue_claim_key", row), ("queue_put_claimed", row), ("queue_put_claimed_call", row))
        if effects[1].written:
            self.announce([item])
            return item.id
        [(first,)] = await self.store.fetch("queue_claimant", namespace=item.namespace, lane=item.lane, once=once)
        return str(first)

    def announce(self, items: Iterable[New]) -> None:
        """Tell the delivery of items that are on disk."""
        if self._worker is not None:
            for item in items:
                self._worker.arrived(item.namespace, item.lane, item.due, len(item.body))

    def follows(self, plan: Plan, effects: Sequence[Effect]) -> None:
        """What follows from the end of an item is on disk; the effects are those of the plan's statements."""
        self.announce(plan.items)
        for watch in self.watchers:
            watch(plan, effects)

    def _begin(self, lane: Lane, item: Item | None) -> None:
        assert self._worker is not None
        self._worker.begin(lane, item)

    async def status(self, id: str) -> Entry | None:
        """The item, or None if there is none (any more)."""
        rows = await self.store.fetch("queue_one", id=id)
        return _entry(rows[0]) if rows else None

    async def call(self, id: str) -> Invoke | None:
        """The call of an item that is open or dead, as it was accepted."""
        rows = await self.store.fetch("queue_call", id=id)
        return decode_call(rows[0][0]) if rows else None

    async def result(self, id: str) -> Result:
        """The kept answer of a call that ended; of a dead one, its last if there was one. Raises errors.NotFound."""
        rows = await self.store.fetch("queue_result", id=id)
        if rows:
            return decode_result(rows[0][0])
        entry = await self.status(id)
        if entry is None:
            raise NotFound(
                f"There is no answer kept for the invocation {id!r}.",
                hint=f"Answers of asynchronous calls are kept for {KEEP_ENDED_S / 3600:.0f} hours at most.",
                invocation=id,
            )
        if entry.open:
            raise NotFound(
                f"The invocation {id} is still {STATUS[entry.state]}.", hint="Ask again later.", invocation=id, retry_after=1.0
            )
        reason = f": {entry.last_error}" if entry.last_error else ""
        raise NotFound(f"The invocation {id} ended {STATUS[entry.state]} without an answer{reason}.", invocation=id)

    async def cancel(self, id: str) -> Entry | None:
        """Stop a call that waits or runs. The item as it is then; None if there is none or it had ended."""
        before = await self.status(id)
        if before is None or not before.open:
            return None
        await self.store.commit(("queue_cancel", {"id": id, "ended": self.clock.now(), "last_error": "cancelled on request"}))
        after = await self.status(id)
        if after is None or after.state is not State.CANCELLED:
            return None  # it ended in between
        if self._worker is not None:
            self._worker.stop_item(id)
        return after

    async def redrive(self, id: str) -> Entry | None:
        """Give a dead item all its attempts again. The item as it is then; None if it is not dead."""
        entry = await self.status(id)
        if entry is None or entry.state is not State.DEAD:
            return None
        now = self.clock.now()
        await self.store.commit(("queue_redrive", {"id": id, "now": now}))
        if self._worker is not None:
            self._worker.arrived(entry.namespace, entry.lane, now, 0)
        return await self.status(id)

    async def dead(self, namespace: str, lane: str = "", *, limit: int = 50, before: float = 0.0) -> list[Entry]:
        """Dead items, latest first; `before` (seconds since the epoch) continues after the `ended` of the last one seen."""
        end = before or self.clock.now() + 1.0
        rows = await self.store.fetch("queue_dead", namespace=namespace, lane=lane, before=end, limit=limit)
        return [_entry(row) for row in rows]

    async def listed(self, wanted: Filter, limit: int) -> list[Entry]:
        """What of this list is not recorded, newest first: what waits or is being delivered; dead items if they are asked for."""
        if wanted.status is None:
            states = list(OPEN)
        else:
            states = [state for state in (*OPEN, State.DEAD) if STATUS[state] is wanted.status]
        if not states:
            return []
        rows = await self.store.fetch(
            "queue_listed",
            namespace=wanted.namespace,
            function=wanted.function,
            before=wanted.before()[0],
            since=wanted.after(),
            states=msgspec.json.encode(states).decode(),
            limit=limit,
        )
        return [_entry(row) for row in rows]

    async def depth(self, namespace: str = "", function: str = "") -> int:
        """How many items wait: of one function, or of all."""
        if function:
            rows = await self.store.fetch("queue_depth_function", namespace=namespace, lane=function_lane(function))
        else:
            rows = await self.store.fetch("queue_depth")
        return int(rows[0][0])

    async def count(self, namespace: str, lane: str) -> Counts:
        """How many items a lane holds."""
        rows = await self.store.fetch("queue_count_lane", namespace=namespace, lane=lane, now=self.clock.now())
        number = {state: count for state, count, _ in rows}
        waiting = [oldest for state, _, oldest in rows if state in ("queued", "later", "blocked") and oldest is not None]
        return Counts(
            number["queued"], number["later"], number["blocked"], number["leased"], number["dead"], min(waiting, default=0.0)
        )

    async def tidy(self) -> None:
        """Forget what has been kept long enough, or is too much, in small bites. Called every few seconds by the delivery."""
        now = self.clock.now()
        sums = await self._measure()
        lags = await self.store.fetch("queue_lags")
        self.lags = {(namespace, lane): (count, due) for namespace, lane, count, due in lags}
        self.waiting = sum(count for count, _ in self.lags.values())
        statements: list[Statement] = [
            _forget(State.DONE, now - KEEP_ENDED_S),
            _forget(State.CANCELLED, now - KEEP_ENDED_S),
            _forget(State.DEAD, now - KEEP_DEAD_S),
            ("queue_forget_keys", {"expired": now - KEY_WINDOW, "bite": BITE}),
        ]
        if sums["queue_result_bytes"] > KEEP_RESULT_BYTES:
            excess = sums["queue_result_bytes"] - KEEP_RESULT_BYTES
            statements.append(("queue_drop_results", {"bite": BITE, "excess": excess}))
        if sums["queue_input_bytes"] > KEEP_INPUT_BYTES:
            excess = sums["queue_input_bytes"] - KEEP_INPUT_BYTES
            statements.append(("queue_drop_inputs", {"bite": BITE, "excess": excess}))
        await self.store.commit(*statements)
        for _ in range(min(BITES, (sums["queue_ended"] - KEEP_ENDED) // BITE)):
            await self.store.commit(_forget(State.DONE, now))

    async def _measure(self) -> dict[str, int]:
        sums = {name: int(value) for name, value in await self.store.fetch("queue_sums")}
        self._bytes = sums["queue_bytes"]
        return sums


def _entry(row: Row) -> Entry:
    state, condition = row[4], row[10]
    id, namespace, lane, function, _, attempt, due, created, ended, last_error, _, event = row
    known = Condition(condition) if condition else None
    return Entry(id, namespace, lane, function, State(state), attempt, due, created, ended, last_error, known, event)


def _forget(state: State, before: float) -> Statement:
    return "queue_forget", {"state": state.value, "before": before, "bite": BITE}
