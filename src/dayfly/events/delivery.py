"""Delivers what the queue holds: leases due items, has them carried, writes down what became of them.

Work arrives by event: the queue tells of each new item, and one timer stands at the time the next one falls due. There is no polling. Items
are leased in small batches, lane by lane in turn (see `lanes`), so memory and places are bounded however long the queue is. An item
that finds its lane free comes with its lease, straight from being written.

A lease is fenced: it has an epoch, which the outcome must carry to be written. It is renewed while the item runs; if this server
stops renewing (killed, frozen), the item is due again and a late outcome of the old lease changes nothing. At its start a server takes
back at once whatever was leased before: the lock on the data directory says that nobody else can be running it.

Delivery is at least once: a crash between the end of a call and writing that down runs it again.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ..clock import Clock, Timer
from ..errors import DayflyError, Unavailable
from ..store.port import Effect, Statement
from .attempt import Outcome, changes
from .items import DELIVERY, Item
from .keyed import go_along
from .lanes import NEVER, Lane, Lanes
from .queue import LEASE, AsyncQueue
from .retry import Retry
from .subscription import Subscription

OVERALL: Final = 128  # deliveries at the same time
RENEW_EVERY: Final = 15.0  # seconds
TIDY_EVERY: Final = 10.0  # seconds
JUMP: Final = 5.0  # seconds between wall and monotonic clock that are a jump
STORE_RETRY: Final = 1.0  # seconds until a store that refused is asked again
CLAIM: Final = 1000  # items leased in one go

log = logging.getLogger("dayfly.delivery")

Attempt = Callable[[Subscription, list[Item]], Awaitable[list[Outcome]]]
Find = Callable[[str, str], Subscription | None]
OnEnd = Callable[[Subscription, Outcome], None]


class Delivery:
    """`attempt` carries items to their end and raises nothing; cancelling it stops them. `find` gives the subscription of a lane, None
    while nobody serves it. `on_end` is told of every outcome, once that is on disk (a crash in that moment swallows it).
    """

    def __init__(
        self,
        queue: AsyncQueue,
        attempt: Attempt,
        find: Find,
        *,
        on_end: OnEnd | None = None,
        overall: int = OVERALL,
        housekeeping: Clock | None = None,
    ) -> None:
        self._queue = queue
        self._store = queue.store
        self._clock = queue.clock
        self._every_clock = housekeeping or queue.clock  # leases are renewed by elapsed time, however time is put forward
        self._attempt = attempt
        self._find = find
        self._on_end = on_end
        self._lanes = Lanes(self._limit, overall)
        self._tasks: set[asyncio.Task[None]] = set()  # claims and deliveries
        self._items: dict[tuple[str, int], asyncio.Task[None]] = {}  # (id, lease epoch) -> attempt under way
        self._unwritten: set[tuple[str, int]] = set()  # attempts that have ended and wait for the disk; each holds its place
        self._again: asyncio.Future[None] | None = None  # done when the store is to be asked again
        self._stopped: set[str] = set()  # cancelled a moment ago
        self._timer: Timer | None = None
        self._seen = (self._clock.now(), self._clock.monotonic())  # for jumps of the wall clock
        self._pumping = False
        self._running = False
        self._housekeeping: list[asyncio.Task[None]] = []

    def _limit(self, key: tuple[str, str]) -> int:
        found = self._find(*key)
        return found.policy.concurrency if found is not None else 0

    @property
    def running(self) -> int:
        """Places held by deliveries."""
        return self._lanes.running

    async def start(self) -> None:
        """Take back what a server before this one had leased, and begin."""
        now = self._clock.now()
        await self._store.commit(("queue_reclaim", {"now": now}))
        self._queue.attach(self)
        await self._queue.tidy()
        self._running = True
        await self._survey()
        self._housekeeping = [
            asyncio.create_task(self._every(RENEW_EVERY, self._renew)),
            asyncio.create_task(self._every(TIDY_EVERY, self._queue.tidy)),
        ]

    async def stop(self, grace: float = 0.0) -> None:
        """Begin nothing new, give what runs `grace` seconds, then stop it: the next start delivers it again."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks and grace > 0:
            over = asyncio.create_task(self._clock.sleep(grace))
            while self._tasks and not over.done():
                await asyncio.wait({over, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)
        self._ask_again()
        for task in self._housekeeping:
            task.cancel()
        await asyncio.gather(*self._housekeeping, return_exceptions=True)
        while self._tasks:  # what is being written down is not cut off
            for task in self._items.values():
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until nothing runs and nothing is due."""
        while self._running and (self._tasks or self._pumping or self._lanes.next_due() <= self._clock.now()):
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            else:
                self._wake()
                await asyncio.sleep(0)

    # --- what to do next --------------------------------------------------------------------------------------------

    def arrived(self, namespace: str, lane: str, due: float, size: int) -> None:
        key = (namespace, lane)
        sub = self._find(namespace, lane)
        if sub is None:
            return
        window = sub.policy.batch_window_s if sub.policy.batch > 1 else 0.0
        hinted = self._lanes.hint(key, due + window)
        if window:
            hinted.arrived += 1
            hinted.arrived_bytes += size
            if hinted.arrived >= sub.policy.batch or hinted.arrived_bytes >= sub.policy.batch_bytes:
                self._lanes.hint(key, due)
        self._wake()

    def reserve(self, namespace: str, lane: str) -> Lane | None:
        sub = self._find(namespace, lane) if self._running else None
        if sub is None or sub.policy.batch > 1:
            return None
        return self._lanes.reserve((namespace, lane))

    def begin(self, lane: Lane, item: Item | None) -> None:
        sub = self._find(*lane.key) if item is not None else None
        if item is None or sub is None:
            self._lanes.release(lane)
            self._wake()
            return
        self._start(lane, sub, [item])

    def changed(self, namespace: str, lane: str) -> None:
        """The lane is served in another way from now on, or again, or not any more."""
        self._lanes.relimit((namespace, lane))
        if self._running and self._find(namespace, lane) is not None:
            self._spawn(self._look(namespace, lane))

    async def _look(self, namespace: str, lane: str) -> None:
        try:
            due = await self._next_due(namespace, lane)
        except DayflyError as error:
            log.warning("cannot look at %s/%s for now: %s", namespace, lane, error)
            due = self._clock.now() + STORE_RETRY
        if due < NEVER:
            self._lanes.hint((namespace, lane), due + self._window(namespace, lane))
            self._wake()

    def _window(self, namespace: str, lane: str) -> float:
        """Seconds that items of this lane wait for others to fill a batch."""
        sub = self._find(namespace, lane)
        return sub.policy.batch_window_s if sub is not None and sub.policy.batch > 1 else 0.0

    def _wake(self) -> None:
        """Pump once in this turn of the loop, however many ask."""
        if not self._pumping and self._running:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if not self._running:
            return
        now = self._clock.now()
        while (turn := self._lanes.take(now)) is not None:
            self._spawn(self._claim(*turn))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._lanes.next_due()
        if due < NEVER:
            self._timer = self._clock.call_later(max(0.0, due - now), self._wake)

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _survey(self) -> None:
        """Learn which lanes have work."""
        for namespace, lane, due in await self._store.fetch("queue_lanes"):
            self._lanes.hint((namespace, lane), due + self._window(namespace, lane))
        self._wake()

    async def _claim(self, lane: Lane, places: int) -> None:
        """Lease items of a lane for so many deliveries, and begin them."""
        namespace, name = lane.key
        now = self._clock.now()
        lane.arrived = lane.arrived_bytes = 0
        sub = self._find(namespace, name)
        batches: list[list[Item]] = []
        due = now + STORE_RETRY
        try:
            if sub is None:  # paused or deleted meanwhile
                due = NEVER
                return
            limit = min(places * sub.policy.batch, max(places, CLAIM))
            lease: dict[str, object] = {
                "holder": DELIVERY,
                "until": now + LEASE,
                "namespace": namespace,
                "lane": name,
                "now": now,
                "limit": limit,
            }
            [effect] = await self._store.commit(("queue_lease", lease))
            items = [Item(*row[1:]) for row in sorted(effect.rows)]
            wanted = [item for item in items if self._running and item.id not in self._stopped]
            batches = in_batches(wanted, sub)
            await self._give_back(batches[places:])
            del batches[places:]
            if sub.policy.batch > 1:
                await self._complete(batches, sub, lease)
            due = now if len(items) == limit else await self._next_due(namespace, name) + self._window(namespace, name)
        except DayflyError as error:
            log.warning("cannot lease items of %s/%s for now: %s", namespace, name, error)
        finally:
            if sub is not None:
                for batch in batches:
                    self._start(lane, sub, batch)
            self._lanes.claimed(lane, places - len(batches), due)
            self._wake()

    async def _complete(self, batches: list[list[Item]], sub: Subscription, lease: dict[str, object]) -> None:
        """What waits behind an item of a batch, because it has the same key, goes along as far as there is room."""
        for batch in batches:
            room = Room(sub.policy.batch_bytes - sum(len(item.body) for item in batch))
            more = await go_along(self._store, lease, batch, sub.policy.batch - len(batch), room.fits)
            batch += [item for item in more if item.id not in self._stopped]
            if any(item.key for item in batch):
                batch.sort()

    async def _give_back(self, batches: list[list[Item]]) -> None:
        """Items that make more deliveries than there are places for."""
        rows = [{"id": item.id, "epoch": item.epoch} for batch in batches for item in batch]
        if rows:
            await self._store.commit(("queue_unlease", rows))

    async def _return(self, lane: Lane, items: list[Item]) -> None:
        try:
            await self._give_back([items])
            self._lanes.hint(lane.key, self._clock.now())
            self._wake()
        except DayflyError as error:  # their leases run out
            log.warning("cannot give back items of %s/%s for now: %s", *lane.key, error)

    async def _next_due(self, namespace: str, lane: str) -> float:
        [(due,)] = await self._store.fetch("queue_next_due", namespace=namespace, lane=lane)
        return NEVER if due is None else float(due)

    # --- one delivery -----------------------------------------------------------------------------------------------

    def _start(self, lane: Lane, sub: Subscription, items: list[Item]) -> None:
        task = self._spawn(self._deliver(lane, sub, items))
        for item in items:
            self._items[item.id, item.epoch] = task
        task.add_done_callback(functools.partial(self._ended, lane, items))

    async def _deliver(self, lane: Lane, sub: Subscription, items: list[Item]) -> None:
        try:
            outcomes = await self._attempt(sub, items)
        except asyncio.CancelledError:
            others = [item for item in items if item.id not in self._stopped]
            if self._running and others:  # one of the batch was cancelled: the others go again
                self._spawn(self._return(lane, others))
            raise
        finally:  # from here on nobody cancels it, and its lease outlasts the writing
            for item in items:
                self._items.pop((item.id, item.epoch), None)
        now = self._clock.now()
        await asyncio.gather(
            *(self._write(lane, sub, item, outcome, now) for item, outcome in zip(items, outcomes, strict=True))
        )

    async def _write(self, lane: Lane, sub: Subscription, item: Item, outcome: Outcome, now: float) -> None:
        verdict = outcome.verdict
        try:
            effects = await self._commit(item, changes(sub.lane, item, outcome, now))
        except DayflyError as error:  # the store refuses: the lease runs out and the item is delivered again
            log.error("the outcome of %s cannot be written, it will run again: %s", item.id, error)
            return
        if not effects[0].written:  # the lease had been lost, and the outcome with it
            return
        if item.key:  # the next of its key may go
            self._lanes.hint(lane.key, now)
        if isinstance(verdict, Retry):
            self._lanes.hint(lane.key, verdict.due)
        else:
            if outcome.follows is not None:
                self._queue.follows(outcome.follows, effects[len(effects) - len(outcome.follows.statements) :])
        if self._on_end is not None:
            self._on_end(sub, outcome)

    async def _commit(self, item: Item, statements: list[Statement]) -> list[Effect]:
        """Write an outcome, and where the disk does not take it (it is full), wait until it does: the item's lease and place are kept,
        so nothing runs twice and no more is begun than can be written down."""
        held = (item.id, item.epoch)
        try:
            while True:
                try:
                    return await self._store.commit(*statements, fenced=True)
                except Unavailable as error:
                    if not self._running:
                        raise
                    if held not in self._unwritten:
                        log.warning("the outcome of %s cannot be written for now: %s", item.id, error)
                    self._unwritten.add(held)
                    await asyncio.shield(self._later())
        finally:
            self._unwritten.discard(held)

    def _later(self) -> asyncio.Future[None]:
        if self._again is None or self._again.done():
            self._again = asyncio.get_running_loop().create_future()
            self._every_clock.call_later(STORE_RETRY, self._ask_again)
        return self._again

    def _ask_again(self) -> None:
        if self._again is not None and not self._again.done():
            self._again.set_result(None)

    def _ended(self, lane: Lane, items: list[Item], _: asyncio.Task[None]) -> None:
        """Give back the place; a callback of the task, because one cancelled before its first step runs no `finally`."""
        for item in items:
            self._items.pop((item.id, item.epoch), None)
        self._lanes.release(lane)
        self._wake()

    def stop_item(self, id: str) -> None:
        self._stopped.add(id)  # it may also be on its way from the store
        for (known, _), task in self._items.items():
            if known == id:
                task.cancel()

    # --- housekeeping -----------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._every_clock.sleep(seconds)
            try:
                await work()
            except DayflyError as error:
                log.warning("housekeeping of the queue failed, trying again in %.0f s: %s", seconds, error)

    async def _follow_clock(self) -> None:
        """Where the wall clock has jumped, what waits for a moment waits as long as it would have, and leases last as long."""
        now, elapsed = self._clock.now(), self._clock.monotonic()
        before, self._seen = self._seen, (now, elapsed)
        jump = (now - before[0]) - (elapsed - before[1])
        if abs(jump) > JUMP:
            log.warning("the clock has jumped by %.0f s", jump)
            await self._store.commit(
                ("queue_shift_due", {"jump": jump, "before": before[0]}), ("queue_shift_leases", {"jump": jump})
            )
            self._lanes.forget_due()
            await self._survey()

    async def _renew(self) -> None:
        """Keep our leases, and take over those that nobody keeps."""
        await self._follow_clock()
        now = self._clock.now()
        self._stopped.clear()
        self._wake()
        mine = [{"id": id, "epoch": epoch, "until": now + LEASE} for id, epoch in [*self._items, *self._unwritten]]
        if mine:
            await self._store.commit(("queue_renew", mine))
        if await self._store.fetch("queue_expired", now=now):
            await self._store.commit(("queue_expire", {"now": now}))
            await self._survey()


class Room:
    """So many bytes that a batch may still take."""

    def __init__(self, left: int) -> None:
        self._left = left

    def fits(self, item: Item) -> bool:
        self._left -= len(item.body)
        return self._left >= 0


def in_batches(items: list[Item], sub: Subscription) -> list[list[Item]]:
    """The items as deliveries: each within the policy's number and bytes."""
    batches: list[list[Item]] = []
    size = 0
    for item in items:
        full = not batches or len(batches[-1]) >= sub.policy.batch or size + len(item.body) > sub.policy.batch_bytes
        if full:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += len(item.body)
    return batches
