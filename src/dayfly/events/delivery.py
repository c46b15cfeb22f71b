"""Delivers what the queue holds: leases due items, runs them, writes down what became of them.

Work arrives by event: the queue tells of each new item, and one timer stands at the time the next one falls due. There is no polling. Items
are leased in small batches, function by function in turn (see `lanes`), so memory and places are bounded however long the queue is.

A lease is fenced: it has an epoch, which the outcome must carry to be written. It is renewed while the item runs; if this server
stops renewing (killed, frozen), the item is due again and a late outcome of the old lease changes nothing. At its start a server takes
back at once whatever was leased before: the lock on the data directory says that nobody else can be running it.

Delivery is at least once: a crash between the end of a call and writing that down runs it again.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from ..actions import Invoke
from ..clock import Timer
from ..errors import DayflyError
from ..model.ids import new_id
from .attempt import Item, ProfileOf, Run, attempt, changes
from .lanes import NEVER, Lane, Lanes
from .queue import AsyncQueue
from .retry import End, Retry

PER_FUNCTION: Final = 16  # deliveries of one function at the same time
OVERALL: Final = 128
LEASE: Final = 60.0  # seconds without renewal after which an item is due again
RENEW_EVERY: Final = 15.0  # seconds
TIDY_EVERY: Final = 10.0  # seconds
STORE_RETRY: Final = 1.0  # seconds until a store that refused is asked again

log = logging.getLogger("dayfly.delivery")

OnEnd = Callable[[Invoke, End], None]


class Delivery:
    """`invoke` runs one attempt to its end and raises DayflyError where the platform gave up; cancelling it stops the call.
    `profile_of` gives the retry policy and may raise DayflyError as well. `on_end` is told how an item ended, once that is on
    disk (a crash in that moment swallows it); not of one that somebody cancelled: `AsyncQueue.cancel` tells him.
    """

    def __init__(
        self,
        queue: AsyncQueue,
        invoke: Run,
        profile_of: ProfileOf,
        *,
        on_end: OnEnd | None = None,
        per_function: int = PER_FUNCTION,
        overall: int = OVERALL,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._store = queue.store
        self._clock = queue.clock
        self._invoke = invoke
        self._profile_of = profile_of
        self._on_end = on_end
        self._jitter = jitter
        self._lanes = Lanes(per_function, overall)
        self._tasks: set[asyncio.Task[None]] = set()  # claims and deliveries
        self._items: dict[tuple[str, int], asyncio.Task[None]] = {}  # (id, lease epoch) -> attempt under way
        self._stopped: set[str] = set()  # cancelled a moment ago
        self._timer: Timer | None = None
        self._pumping = False
        self._running = False
        self._housekeeping: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """Places held by deliveries."""
        return self._lanes.running

    async def start(self) -> None:
        """Take back what a server before this one had leased, and begin."""
        now = self._clock.now()
        await self._store.commit(("queue_reclaim", {"now": now}))
        self._queue.attach(self._arrived, self._cancel)
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
        for task in self._housekeeping:
            task.cancel()
        await asyncio.gather(*self._housekeeping, return_exceptions=True)
        while self._tasks:  # what is being written down is not cut off
            for task in self._items.values():
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what to do next --------------------------------------------------------------------------------------------

    def _arrived(self, namespace: str, function: str, due: float) -> None:
        self._lanes.hint((namespace, function), due)
        self._wake()

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
        """Learn which functions have work."""
        for namespace, function, due in await self._store.fetch("queue_lanes"):
            self._lanes.hint((namespace, function), due)
        self._wake()

    async def _claim(self, lane: Lane, places: int) -> None:
        """Lease up to so many items of a function and begin to deliver them."""
        namespace, function = lane.key
        now = self._clock.now()
        rows: list[Item] = []
        due = now + STORE_RETRY
        try:
            lease = {
                "lease": new_id(),
                "until": now + LEASE,
                "namespace": namespace,
                "function": function,
                "now": now,
                "limit": places,
            }
            await self._store.commit(("queue_lease", lease))
            rows = [Item(*row) for row in await self._store.fetch("queue_leased", lease=lease["lease"])]
            rows = [item for item in rows if self._running and item.id not in self._stopped]
            due = now if len(rows) == places else await self._next_due(lane)
        except DayflyError as error:
            log.warning("cannot lease items of %s/%s for now: %s", namespace, function, error)
        finally:
            for item in rows:
                task = self._spawn(self._deliver(lane, item))
                self._items[item.id, item.epoch] = task
                task.add_done_callback(functools.partial(self._ended, lane, item))
            self._lanes.claimed(lane, places - len(rows), due)
            self._wake()

    async def _next_due(self, lane: Lane) -> float:
        namespace, function = lane.key
        [(due,)] = await self._store.fetch("queue_next_due", namespace=namespace, function=function)
        return NEVER if due is None else float(due)

    # --- one item ---------------------------------------------------------------------------------------------------

    async def _deliver(self, lane: Lane, item: Item) -> None:
        try:
            outcome = await attempt(item, self._invoke, self._profile_of, self._clock, self._jitter)
        finally:  # from here on nobody cancels it, and its lease outlasts the writing
            self._items.pop((item.id, item.epoch), None)
        try:
            await self._store.commit(*changes(item, outcome, self._clock.now()))
            verdict = outcome.verdict
            if isinstance(verdict, Retry):
                self._lanes.hint(lane.key, verdict.due)
            elif self._on_end is not None and outcome.invoke is not None and await self._written(item):
                self._on_end(outcome.invoke, verdict)
        except DayflyError as error:  # the store refuses: the lease runs out and the item is delivered again
            log.error("the outcome of %s cannot be written, it will run again: %s", item.id, error)

    async def _written(self, item: Item) -> bool:
        """Whether the end was written; else the lease had been lost, and the outcome with it."""
        return bool(await self._store.fetch("queue_ended_by", id=item.id, epoch=item.epoch))

    def _ended(self, lane: Lane, item: Item, _: asyncio.Task[None]) -> None:
        """Give back the place; a callback of the task, because one cancelled before its first step runs no `finally`."""
        self._items.pop((item.id, item.epoch), None)
        self._lanes.release(lane)
        self._wake()

    def _cancel(self, identifier: str) -> None:
        self._stopped.add(identifier)  # it may also be on its way from the store
        for (id, _), task in self._items.items():
            if id == identifier:
                task.cancel()

    # --- housekeeping -----------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except DayflyError as error:
                log.warning("housekeeping of the queue failed, trying again in %.0f s: %s", seconds, error)

    async def _renew(self) -> None:
        """Keep our leases, and take over those that nobody keeps."""
        now = self._clock.now()
        self._stopped.clear()
        self._wake()  # the timer goes by elapsed time: should the wall clock have jumped, this finds what is due
        mine = [{"id": id, "epoch": epoch, "until": now + LEASE} for id, epoch in self._items]
        if mine:
            await self._store.commit(("queue_renew", mine))
        if await self._store.fetch("queue_expired", now=now):
            await self._store.commit(("queue_expire", {"now": now}))
            await self._survey()
