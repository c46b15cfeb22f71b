"""The queue of asynchronous calls: on disk before it is acknowledged.

An item is a small row that changes state, and beside it the call itself, which never changes. An idempotency key is claimed in the
same transaction that enqueues: the first call under a key wins for a day, later ones are told its id and enqueue nothing.

A cancelled item gets a new lease epoch, so whatever a delivery under way still reports is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from ..actions import Invoke
from ..clock import Clock
from ..errors import BadInput, NotFound, Throttled
from ..model.call import Invocation, Mode, Result, Status, Timings
from ..model.ids import id_time, new_id
from ..store.port import Row, Statement, Store
from .retry import State

KEY_WINDOW: Final = 86400.0  # seconds an idempotency key is remembered
KEY_LIMIT: Final = 256  # characters
MAX_DELAY: Final = 30 * 86400.0  # seconds
MAX_BYTES: Final = 4 << 30  # of calls that wait, all together
KEEP_ENDED_S: Final = 86400.0  # how long an item and its answer can be asked for
KEEP_DEAD_S: Final = 14 * 86400.0
KEEP_ENDED: Final = 200_000  # items
KEEP_RESULT_BYTES: Final = 256 << 20
BITE: Final = 1000  # rows deleted in one go
BITES: Final = 50  # at most, one after the other
FULL_RETRY: Final = 30.0  # seconds a client should wait when the queue is full

OPEN: Final = {State.QUEUED: Status.QUEUED, State.LEASED: Status.RUNNING}
STATUS: Final = OPEN | {State.DONE: Status.OK, State.DEAD: Status.DEAD, State.CANCELLED: Status.CANCELLED}

_encode = msgspec.msgpack.Encoder().encode
_decode_invoke = msgspec.msgpack.Decoder(Invoke).decode
_decode_result = msgspec.msgpack.Decoder(Result).decode


class Entry(Struct, frozen=True):
    """An item as the queue shows it. Times are seconds since the epoch."""

    id: str
    namespace: str
    function: str
    state: State
    attempt: int  # attempts that counted so far
    due: float
    created: float
    ended: float  # 0: open
    last_error: str

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
            mode=Mode.ASYNC,
            status=STATUS[self.state],
            cold=False,
            started=id_time(self.id),
            timings=Timings(),
            billed_ms=0,
            memory_mb=0,
            attempt=max(1, self.attempt),
            error_message=self.last_error,
        )


Arrived = Callable[[str, str, float], None]


class AsyncQueue:
    """Everything about asynchronous calls but running them, which `delivery.Delivery` does."""

    def __init__(self, store: Store, clock: Clock, *, max_bytes: int = MAX_BYTES) -> None:
        self.store = store
        self.clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0  # at most this much waits; made exact by `tidy` and before anybody is refused
        self.waiting = 0  # items, as `tidy` counted them last: for a metric
        self._arrived: Arrived = lambda _namespace, _function, _due: None
        self._cancelled: Callable[[str], None] = lambda _id: None

    def attach(self, arrived: Arrived, cancelled: Callable[[str], None]) -> None:
        """Tell a delivery of new work (namespace, function, due) and of cancelled items (id)."""
        self._arrived, self._cancelled = arrived, cancelled

    async def enqueue(self, invoke: Invoke) -> str:
        """Accept a call; it is on disk when this returns its id (that of the first call under the same idempotency key).

        Raises errors.BadInput for a delay or key out of range, errors.Conflict for an id used before, errors.Throttled when
        too much waits already, errors.Unavailable when the disk does not take it.
        """
        if not 0.0 <= invoke.delay_s <= MAX_DELAY:
            raise BadInput(f"The delay of {invoke.delay_s} s is not between 0 and {MAX_DELAY:.0f}.")
        if len(invoke.idempotency_key) > KEY_LIMIT:
            raise BadInput(f"The idempotency key is longer than {KEY_LIMIT} characters.", limit=KEY_LIMIT)
        identifier = invoke.invocation or new_id()
        invoke = msgspec.structs.replace(invoke, invocation=identifier, mode=Mode.ASYNC)
        try:
            body = _encode(invoke)
        except UnicodeEncodeError as error:
            raise BadInput(f"The call holds text that is not Unicode: {error}.") from None
        if self._bytes + len(body) > self._max_bytes:
            await self._measure()
            if self._bytes + len(body) > self._max_bytes:
                raise Throttled(
                    "Too many asynchronous calls are waiting.",
                    hint="Send fewer, or see why they are not worked off (dayfly invocations).",
                    retry_after=FULL_RETRY,
                )
        self._bytes += len(body)
        now = self.clock.now()
        due = now + invoke.delay_s
        row = {
            "id": identifier,
            "namespace": invoke.namespace,
            "function": invoke.function,
            "due": due,
            "created": now,
        }
        if not invoke.idempotency_key:
            await self.store.commit(("queue_put", row), ("queue_put_call", {"id": identifier, "body": body}))
            self._arrived(invoke.namespace, invoke.function, due)
            return identifier
        keyed = row | {"key": invoke.idempotency_key, "expired": now - KEY_WINDOW, "body": body}
        await self.store.commit(("queue_claim_key", keyed), ("queue_put_claimed", keyed), ("queue_put_claimed_call", keyed))
        [(first,)] = await self.store.fetch(
            "queue_claimant", namespace=invoke.namespace, function=invoke.function, key=invoke.idempotency_key
        )
        if first == identifier:
            self._arrived(invoke.namespace, invoke.function, due)
        return str(first)

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
            return _decode_result(rows[0][0])
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
        self._cancelled(id)
        return after

    async def redrive(self, id: str) -> Entry | None:
        """Give a dead item all its attempts again. The item as it is then; None if it is not dead."""
        entry = await self.status(id)
        if entry is None or entry.state is not State.DEAD:
            return None
        now = self.clock.now()
        await self.store.commit(("queue_redrive", {"id": id, "now": now}))
        self._arrived(entry.namespace, entry.function, now)
        return await self.status(id)

    async def dead(self, namespace: str, function: str = "", *, limit: int = 50, before: float = 0.0) -> list[Entry]:
        """Dead items, latest first; `before` (seconds since the epoch) continues after the `ended` of the last one seen."""
        end = before or self.clock.now() + 1.0
        rows = await self.store.fetch("queue_dead", namespace=namespace, function=function, before=end, limit=limit)
        return [_entry(row) for row in rows]

    async def depth(self, namespace: str = "", function: str = "") -> int:
        """How many items wait: of one function, or of all."""
        if function:
            rows = await self.store.fetch("queue_depth_function", namespace=namespace, function=function)
        else:
            rows = await self.store.fetch("queue_depth")
        return int(rows[0][0])

    async def tidy(self) -> None:
        """Forget what has been kept long enough, or is too much, in small bites. Called every few seconds by the delivery."""
        now = self.clock.now()
        sums = await self._measure()
        self.waiting = await self.depth()
        statements: list[Statement] = [
            _forget(State.DONE, now - KEEP_ENDED_S),
            _forget(State.CANCELLED, now - KEEP_ENDED_S),
            _forget(State.DEAD, now - KEEP_DEAD_S),
            ("queue_forget_keys", {"expired": now - KEY_WINDOW, "bite": BITE}),
        ]
        if sums["queue_result_bytes"] > KEEP_RESULT_BYTES:
            excess = sums["queue_result_bytes"] - KEEP_RESULT_BYTES
            statements.append(("queue_drop_results", {"bite": BITE, "excess": excess}))
        await self.store.commit(*statements)
        for _ in range(min(BITES, (sums["queue_ended"] - KEEP_ENDED) // BITE)):
            await self.store.commit(_forget(State.DONE, now))

    async def _measure(self) -> dict[str, int]:
        sums = {name: int(value) for name, value in await self.store.fetch("queue_sums")}
        self._bytes = sums["queue_bytes"]
        return sums


def encode_result(result: Result) -> bytes:
    return _encode(result)


def decode_call(body: bytes) -> Invoke:
    """The call of an item; raises msgspec.ValidationError if another version wrote something this one cannot read."""
    return _decode_invoke(body)


def _entry(row: Row) -> Entry:
    identifier, namespace, function, state, *rest = row
    return Entry(identifier, namespace, function, State(state), *rest)


def _forget(state: State, before: float) -> Statement:
    return "queue_forget", {"state": state.value, "before": before, "bite": BITE}
