"""Takes events: writes each with its deliveries before it is acknowledged, keeps it for a while, shows it to who follows.

Filters are asked before anything is written, in memory: that is what makes an event and its deliveries one transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, NotFound, Throttled, TooLarge
from ..model.call import Invocation, Mode, Status, Timings
from ..model.event import Event, EventType, Recorded, Scheduled
from ..store.port import Effect, Row, Statement, Store
from .catalog import Catalog
from .cloudevents import BATCH_LIMIT, check
from .items import Plan, decode_event
from .queue import AsyncQueue
from .routing import Router

MAX_STORED: Final = 16 << 30  # bytes of events that are kept, all together
TIDIED: Final = 30.0  # seconds a client should wait when there is no room
MAX_EVENT: Final = 4 << 20  # bytes of one event's data
TYPES: Final = 1000  # of one broker that are remembered
FOLLOWERS: Final = 64
BEHIND: Final = 1000  # events a follower may be behind before it misses some
BITE: Final = 1000  # events looked at in one go by retention
COUNTED: Final = 10_000  # events whose sizes are added up in one transaction
FIRING: Final = "broker:"  # before a broker's name, in the place of a function's
FIRING_BYTES: Final = 1 << 20  # of an event's data, beyond which a record is without it
COLUMNS: Final = ("seq", "namespace", "channel", "received", "body", "deliveries", "record")
SOURCE_RETENTION: Final = (86400.0, 256 << 20)  # seconds and bytes, of events that came from the source of a trigger

decode_deliveries = msgspec.json.Decoder(list[tuple[str, ...]]).decode
log = logging.getLogger("dayfly.events")


class Brokers:
    """Performs PublishEvents, FireTrigger and what reads events; takes what sources emit."""

    def __init__(self, store: Store, queue: AsyncQueue, router: Router, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._router = router
        self._catalog: Catalog = router.catalog
        self._clock = clock
        self._types: dict[tuple[str, str, str], EventType] = {}  # seen since they were written last; counts are what is new
        self._followers: list[tuple[str, str, str, asyncio.Queue[Recorded | None]]] = []  # namespace, channel, type
        self._stored = 0  # bytes of events, about; made exact by `tidy`
        self.accepted = 0  # events, for a metric
        self.keep: Callable[[Invocation], None] = lambda _: None  # of brokers with `records`
        queue.watchers.append(self._written)

    async def open(self) -> None:
        [(self._router.last_seq,)] = await self._store.fetch("events_last")

    # --- taking -----------------------------------------------------------------------------------------------------

    async def publish(self, action: a.PublishEvents) -> tuple[a.Published, ...]:
        """Raises NotFound for a broker that does not exist, BadInput for an event that breaks the rules, Throttled when too much
        waits."""
        self._check(action.events)
        self._admit(action.events)
        return await self._write([self._router.accept(action.namespace, action.broker, event) for event in action.events])

    async def fire(self, action: a.FireTrigger) -> tuple[a.Published, ...]:
        self._check(action.events)
        trigger = self._catalog.trigger(action.namespace, action.name)
        return await self._write([self._router.fire(trigger, event) for event in action.events])

    async def emit(
        self,
        namespace: str,
        trigger: str,
        events: Sequence[Event],
        checkpoint: bytes | None = None,
        *,
        once: str = "",
        once_s: float = 0.0,
        fence: Statement | None = None,
    ) -> int:
        """Events from the source of a trigger, and where the source has come to, in one transaction: what a source emits is
        delivered although this server is killed, and is not emitted twice. Under a text `once` they are accepted once within so
        many seconds. -> how many were not, because they had been

        Raises NotFound if the trigger is gone, Throttled when too much waits, Conflict if the `fence` (see leases) does not hold.
        """
        self._check(events)
        await self._queue.admit(0)
        found = self._catalog.trigger(namespace, trigger)
        plans = [
            self._router.emit(found, event, once=f"{once}\n{index}" if once else "", once_s=once_s)
            for index, event in enumerate(events)
            if self._catalog.passes(found, event)
        ]
        also: list[Statement] = []
        if checkpoint is not None:
            row = {"namespace": namespace, "name": trigger, "body": checkpoint, "updated": self._clock.now()}
            also.append(("checkpoint_put", row))
        return sum(published.duplicate for published in await self._write(plans, also, fence))

    async def checkpoint(self, namespace: str, trigger: str) -> bytes | None:
        """Where the source of a trigger had come to."""
        rows = await self._store.fetch("checkpoint_one", namespace=namespace, name=trigger)
        return bytes(rows[0][0]) if rows else None

    def _admit(self, events: Sequence[Event]) -> None:
        """Raises Throttled when so much is kept that retention cannot make room: it waits for delivery, or is dead."""
        self._stored += sum(len(event.data or b"") for event in events)
        if self._stored > MAX_STORED:
            raise Throttled(
                "Too many events wait for their delivery.",
                hint="See what keeps them: dayfly trigger ls, dayfly dlq ls.",
                retry_after=TIDIED,
            )

    @staticmethod
    def _check(events: Sequence[Event]) -> None:
        if len(events) > BATCH_LIMIT:
            raise TooLarge(f"More than {BATCH_LIMIT} events at once.", limit=BATCH_LIMIT)
        for event in events:
            check(event)
            if event.data is not None and len(event.data) > MAX_EVENT:
                raise TooLarge(f"The data of the event {event.id[:100]!r} is larger than {MAX_EVENT} bytes.", limit=MAX_EVENT)

    async def _write(
        self, plans: list[Plan], also: Sequence[Statement] = (), fence: Statement | None = None
    ) -> tuple[a.Published, ...]:
        whole = Plan([fence] if fence is not None else [])
        for plan in plans:
            whole.add(plan)
        effects = await self._queue.put([*whole.statements, *also], whole.items, fenced=fence is not None)
        self._written(whole, effects)
        return tuple(
            event.outcome if effects[event.at].written else a.Published(id=event.event.id, duplicate=True)
            for event in whole.events
        )

    def _written(self, plan: Plan, effects: Sequence[Effect]) -> None:
        """Events are on disk, or were there already."""
        for at, row, event, outcome in plan.events:
            if not effects[at].written:
                continue
            self.accepted += 1
            channel = str(row["channel"])
            if channel.startswith("b:"):
                self._seen(str(row["namespace"]), channel[2:], event)
            if self._followers:
                self._tell(row)
            if outcome.record:
                self.keep(firing(recorded(tuple(row[name] for name in COLUMNS))))

    async def record(self, identifier: str) -> Invocation | None:
        """The record that an event has left, made again of what is on disk."""
        rows = await self._store.fetch("event_of_record", record=identifier)
        return firing(recorded(rows[0])) if rows else None

    # --- looking ----------------------------------------------------------------------------------------------------

    async def get(self, action: a.GetEvent) -> Recorded:
        for row in await self._store.fetch("events_by_id", namespace=action.namespace, id=action.id):
            found = recorded(row)
            if action.source in ("", found.event.source):
                return found
        raise NotFound(
            f"there is no event {action.id[:100]!r} in {action.namespace}",
            hint="Events are kept for a time; see: dayfly events ls",
        )

    async def at(self, seq: int) -> Recorded | None:
        rows = await self._store.fetch("event_at", seq=seq)
        return recorded(rows[0]) if rows else None

    async def page(self, action: a.ListEvents) -> a.Page[Recorded]:
        rows = await self._store.fetch(
            "events_newest",
            namespace=action.namespace,
            channel=f"b:{action.broker}" if action.broker else "",
            type=action.type,
            before=_number(action.cursor) if action.cursor else 1 << 62,
            since=action.since,
            limit=action.limit,
        )
        cursor = str(rows[-1][0]) if len(rows) == action.limit else ""
        return a.Page(items=tuple(recorded(row) for row in rows), cursor=cursor)

    async def follow(self, action: a.FollowEvents) -> AsyncIterator[Recorded]:
        if len(self._followers) >= FOLLOWERS:
            raise BadInput(f"{FOLLOWERS} followers listen already.")
        return self._follow(action)

    async def _follow(self, action: a.FollowEvents) -> AsyncIterator[Recorded]:
        channel = f"b:{action.broker}" if action.broker else ""
        line: asyncio.Queue[Recorded | None] = asyncio.Queue(BEHIND)
        me = (action.namespace, channel, action.type, line)
        self._followers.append(me)
        try:
            last = 0
            if action.since:
                rows = await self._store.fetch(
                    "events_after",
                    namespace=action.namespace,
                    channel=channel,
                    type=action.type,
                    after=0,
                    since=action.since,
                    limit=BEHIND,
                )
                for row in rows:
                    last = row[0]
                    yield recorded(row)
            while (event := await line.get()) is not None:
                if event.seq > last:
                    yield event
        finally:
            self._followers.remove(me)

    def end_followers(self) -> None:
        """The server stops: who follows is told so."""
        for *_, line in self._followers:
            if line.full():
                line.get_nowait()
            line.put_nowait(None)

    def _tell(self, row: dict[str, object]) -> None:
        for namespace, channel, type_, line in self._followers:
            mine = namespace == row["namespace"] and channel in ("", row["channel"]) and type_ in ("", row["type"])
            if mine and not line.full():
                line.put_nowait(recorded(tuple(row[name] for name in COLUMNS)))

    # --- types ------------------------------------------------------------------------------------------------------

    def _seen(self, namespace: str, broker: str, event: Event) -> None:
        key = (namespace, broker, event.type)
        known = self._types.get(key)
        if known is None and len(self._types) >= TYPES:
            return
        now = self._clock.now()
        self._types[key] = EventType(
            broker=broker,
            type=event.type,
            source=event.source,
            dataschema=event.dataschema,
            first=known.first if known is not None else now,
            last=now,
            count=1 + (known.count if known is not None else 0),
        )

    async def types(self, action: a.ListEventTypes) -> a.Page[EventType]:
        await self._write_types()
        rows = await self._store.fetch("event_types_of", namespace=action.namespace, broker=action.broker)
        names = EventType.__struct_fields__
        return a.Page(items=tuple(EventType(**dict(zip(names, row, strict=True))) for row in rows))

    async def _write_types(self) -> None:
        seen, self._types = self._types, {}
        if not seen:
            return
        rows = [
            {"namespace": namespace, **{name: getattr(kind, name) for name in kind.__struct_fields__}}
            for (namespace, _, _), kind in seen.items()
        ]
        await self._store.commit(("event_type_put", rows))

    # --- retention --------------------------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Write down the types that have passed, and forget events that are too old or too much. Called every few seconds."""
        await self._write_types()
        bite = {"bite": COUNTED}
        while (await self._store.commit(("events_sum", bite), ("events_counted", bite)))[1].written:
            pass
        now = self._clock.now()
        channels = await self._store.fetch("events_channels")
        self._stored = sum(size for _, _, size in channels)
        for namespace, channel, size in channels:
            seconds, most = SOURCE_RETENTION
            if channel.startswith("b:"):
                try:
                    broker = self._catalog.broker(namespace, channel[2:])
                    seconds, most = broker.retention_s, broker.retention_bytes
                except NotFound:
                    seconds, most = 0.0, 0
            upto = 0
            for seq, received, length in await self._store.fetch("events_old", namespace=namespace, channel=channel, bite=BITE):
                if received > now - seconds and size <= most:
                    break
                upto = seq
                size -= length
            if upto:
                await self._store.commit(("events_forget", {"namespace": namespace, "channel": channel, "upto": upto}))


def recorded(row: Row) -> Recorded:
    """An event as it stands in the store."""
    seq, namespace, channel, received, body, deliveries, record = row
    return Recorded(
        seq=seq,
        namespace=namespace,
        broker=channel[2:] if channel.startswith("b:") else "",
        trigger=channel[2:] if channel.startswith("t:") else "",
        received=received,
        event=decode_event(body),
        deliveries=tuple(
            Scheduled(trigger=one[0], id=one[1], error="".join(one[2:])) for one in decode_deliveries(deliveries or b"[]")
        ),
        record=record,
    )


def firing(recorded: Recorded) -> Invocation:
    """The record that an event leaves among the invocations: see actions.PublishEvents."""
    event = recorded.event
    note = {
        "broker": recorded.broker,
        "event": {"id": event.id, "source": event.source, "type": event.type},
        "deliveries": recorded.deliveries,
    }
    data = event.data or b""
    return Invocation(
        id=recorded.record,
        namespace=recorded.namespace,
        function=FIRING + recorded.broker,
        revision=0,
        mode=Mode.EVENT,
        status=Status.OK,
        cold=False,
        started=recorded.received,
        timings=Timings(),
        billed_ms=0,
        memory_mb=0,
        cause=event.id,
        answer=data.decode("utf-8", "replace") if len(data) <= FIRING_BYTES else "",
        note=msgspec.json.encode(note).decode(),
    )


def _number(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit():
        raise BadInput("This is no cursor of a list of events.", field="cursor")
    return min(int(cursor[:20]), 1 << 62)
