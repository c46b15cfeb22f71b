"""Queues: messages that wait in a lane of their own until a receiver outside, or a trigger, has dealt with them.

A receiver holds a lease like the delivery does, in the same rows, with the same fencing: the receipt is the item's id and the epoch of its
lease. Messages of one group in a fifo queue share a key, so one goes after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, TooLarge
from ..model.delivery import Condition
from ..model.event import Event
from ..model.ids import new_id
from ..model.trigger import Message, Queue, QueueStats, Received
from ..store.port import Effect, Statement, Store
from .catalog import Catalog
from .courier import as_event
from .items import RECEIVER, Item, New, Plan, decode_message, encode, queue_lane
from .keyed import go_along
from .queue import AsyncQueue
from .routing import Router

MAX_SEND: Final = 1000  # messages at once
MAX_RECEIVE: Final = 1000
MAX_WAIT: Final = 60.0  # seconds
MAX_VISIBILITY: Final = 12 * 3600.0  # seconds
PURGE_BITE: Final = 1000


class Queues:
    """Performs the actions on messages."""

    def __init__(self, store: Store, queue: AsyncQueue, router: Router, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._router = router
        self._catalog: Catalog = router.catalog
        self._clock = clock
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = {}  # receivers, by lane
        queue.watchers.append(self._followed)

    async def send(self, action: a.SendMessages) -> tuple[str, ...]:
        queue = self._catalog.queue(action.namespace, action.name)
        if len(action.messages) > MAX_SEND:
            raise TooLarge(f"More than {MAX_SEND} messages at once.", limit=MAX_SEND)
        items = [self._item(queue, message) for message in action.messages]
        await self._queue.admit(sum(len(item.body) for item in items))
        ids = [item.id for item in items]
        plain: list[New] = []
        for index, (item, message) in enumerate(zip(items, action.messages, strict=True)):
            once = message.dedup or (hashlib.sha256(message.body).hexdigest() if queue.fifo and queue.content_dedup else "")
            if once and queue.dedup_s:
                ids[index] = await self._queue.put_once(item, once, queue.dedup_s)
            else:
                plain.append(item)
        if plain:
            await self._queue.put((), plain)
        self.wake(action.namespace, queue_lane(queue.name))
        return tuple(ids)

    def _item(self, queue: Queue, message: Message) -> New:
        if len(message.body) > queue.max_bytes:
            raise TooLarge(f"The message is larger than {queue.max_bytes} bytes.", limit=queue.max_bytes)
        if queue.fifo and not message.group:
            raise BadInput(f"The queue {queue.name} is fifo: a message needs a group.", field="group")
        try:
            body = encode(message)
        except UnicodeEncodeError as error:
            raise BadInput(f"The message holds text that is not Unicode: {error}.") from None
        now = self._clock.now()
        due = now + (queue.delay_s if message.delay_s is None else message.delay_s)
        key = message.group if queue.fifo else ""
        return New(new_id(), queue.namespace, queue_lane(queue.name), due, now, body, key=key)

    async def receive(self, action: a.ReceiveMessages) -> tuple[Received, ...]:
        """Waits for the first message at most `wait_s`; then takes what there is."""
        queue = self._catalog.queue(action.namespace, action.name)
        if not 1 <= action.limit <= MAX_RECEIVE or not 0 <= action.wait_s <= MAX_WAIT:
            raise BadInput(f"`limit` is between 1 and {MAX_RECEIVE}, `wait_s` between 0 and {MAX_WAIT:.0f}.")
        visibility = queue.visibility_s if action.visibility_s is None else action.visibility_s
        _check_visibility(visibility)
        lane = queue_lane(queue.name)
        until = self._clock.monotonic() + action.wait_s
        bell = asyncio.Event()
        bells = self._waiting.setdefault((queue.namespace, lane), set())
        bells.add(bell)
        try:
            while True:
                bell.clear()
                taken = await self._take(queue, lane, action.limit, visibility)
                left = until - self._clock.monotonic()
                if taken or left <= 0:
                    return taken
                due = await self._next(queue.namespace, lane)
                timer = self._clock.call_later(max(0.001, min(left, due - self._clock.now())), bell.set)
                try:
                    await bell.wait()
                finally:
                    timer.cancel()
        finally:
            bells.discard(bell)
            if not bells:
                self._waiting.pop((queue.namespace, lane), None)

    async def _next(self, namespace: str, lane: str) -> float:
        """When a message may be had that cannot be had now, in seconds since the epoch."""
        [(due,)] = await self._store.fetch("queue_next_due", namespace=namespace, lane=lane)
        [(expiry,)] = await self._store.fetch("queue_next_expiry", namespace=namespace, lane=lane)
        return min(float("inf") if time is None else time for time in (due, expiry))

    async def _take(self, queue: Queue, lane: str, limit: int, visibility: float) -> tuple[Received, ...]:
        now = self._clock.now()
        lease = {
            "holder": RECEIVER,
            "until": now + visibility,
            "namespace": queue.namespace,
            "lane": lane,
            "now": now,
            "limit": limit,
        }
        effects = await self._store.commit(("queue_expire_lane", lease), ("queue_lease", lease))
        items = [Item(*row[1:]) for row in sorted(effects[1].rows)]
        if queue.fifo:
            items = sorted([*items, *await go_along(self._store, lease, items, limit - len(items))])
        over = [item for item in items if self._over(queue, item, now)]
        for item in over:
            await self._bury(queue, item, now)
        if over and len(over) == len(items):
            return await self._take(queue, lane, limit, visibility)
        return tuple(self._received(item, now + visibility) for item in items if item not in over)

    @staticmethod
    def _over(queue: Queue, item: Item, now: float) -> bool:
        return bool(queue.max_receives and item.epoch > queue.max_receives) or item.created < now - queue.retention_s

    async def _bury(self, queue: Queue, item: Item, now: float) -> None:
        """A message that was received too often, or is too old: dead, and on its way to the queue's dead-letter destination."""
        often = bool(queue.max_receives and item.epoch > queue.max_receives)
        condition = Condition.RETRIES_EXHAUSTED if often else Condition.EVENT_AGE_EXCEEDED
        statements: list[Statement] = [
            (
                "queue_end",
                {
                    "id": item.id,
                    "epoch": item.epoch,
                    "state": "dead",
                    "attempt": item.epoch - 1,
                    "ended": now,
                    "last_error": f"received {item.epoch - 1} times and never acknowledged" if often else "too old",
                    "condition": condition,
                },
            )
        ]
        plan = Plan()
        if queue.dead_letter is not None:
            event = self._event(queue, item)
            plan = self._router.to(queue.namespace, queue.dead_letter, event, cause=item.id)
        effects = await self._store.commit(*statements, *plan.statements, fenced=True)
        if effects[0].written:
            self._queue.follows(plan, effects[1:])

    def _event(self, queue: Queue, item: Item) -> Event:
        return as_event(decode_message(item.body), item.id, queue.namespace, queue.name, item.created)

    @staticmethod
    def _received(item: Item, until: float) -> Received:
        return Received(
            id=item.id,
            receipt=f"{item.id}.{item.epoch}",
            message=decode_message(item.body),
            sent=item.created,
            first=item.first,
            receives=item.epoch,
            until=until,
            seq=item.seq,
        )

    async def ack(self, action: a.AckMessages) -> tuple[bool, ...]:
        self._catalog.queue(action.namespace, action.name)
        rows = [_fence(receipt) for receipt in action.receipts]
        effects = await self._store.commit(*(("queue_ack", row) for row in rows))
        lane = queue_lane(action.name)
        self.wake(action.namespace, lane)  # of a group, the next may go
        return tuple(effect.written > 0 for effect in effects)

    async def extend(self, action: a.ExtendMessages) -> tuple[bool, ...]:
        self._catalog.queue(action.namespace, action.name)
        _check_visibility(action.visibility_s)
        now = self._clock.now()
        rows = [_fence(receipt) | {"now": now, "until": now + action.visibility_s} for receipt in action.receipts]
        query = "queue_extend" if action.visibility_s else "queue_release"
        effects = await self._store.commit(*((query, row) for row in rows))
        if not action.visibility_s:
            self._queue.announce([New("", action.namespace, queue_lane(action.name), now, now, b"")])
        self.wake(action.namespace, queue_lane(action.name))
        return tuple(effect.written > 0 for effect in effects)

    async def purge(self, action: a.PurgeQueue) -> int:
        self._catalog.queue(action.namespace, action.name)
        lane = {"namespace": action.namespace, "lane": queue_lane(action.name), "dead": False, "bite": PURGE_BITE}
        gone = 0
        while count := (await self._store.commit(("queue_delete_lane", lane)))[0].written:
            gone += count
        return gone

    async def stats(self, action: a.GetQueueStats) -> QueueStats:
        self._catalog.queue(action.namespace, action.name)
        counts = await self._queue.count(action.namespace, queue_lane(action.name))
        return QueueStats(
            waiting=counts.due + counts.blocked,
            delayed=counts.later,
            held=counts.leased,
            dead=counts.dead,
            oldest=counts.oldest,
        )

    def _followed(self, plan: Plan, _: Sequence[Effect]) -> None:
        for item in plan.items:
            self.wake(item.namespace, item.lane)

    def wake(self, namespace: str, lane: str) -> None:
        """There may be something for receivers that wait at this lane."""
        for bell in self._waiting.get((namespace, lane), ()):
            bell.set()


def _fence(receipt: str) -> dict[str, object]:
    """The lease that a receipt stands for; one that is none stands for a lease that nobody has."""
    identifier, _, epoch = receipt.partition(".")
    return {"id": identifier, "epoch": int(epoch[:9]) if epoch.isascii() and epoch.isdigit() else -1}


def _check_visibility(seconds: float) -> None:
    if not 0 <= seconds <= MAX_VISIBILITY:
        raise BadInput(f"`visibility_s` is between 0 and {MAX_VISIBILITY:.0f}.", field="visibility_s")
