"""Events put together: catalogue, broker, queues, delivery, dead letters, as one part of the server."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, Conflict, DayflyError
from ..model.delivery import Shape
from ..model.trigger import SourceHealth
from .broker import Brokers
from .catalog import Catalog, Noun, lanes_of
from .courier import Courier, Fetch, FlavourOf, PolicyOf, Run
from .delivery import Delivery, OnEnd
from .fetch import Fetcher
from .forward import ForwardClock
from .items import queue_lane, trigger_lane
from .letters import Letters
from .queue import AsyncQueue
from .queues import Queues
from .routing import Router
from .shapes import SHAPES
from .subscription import Subscriptions

TIDY_EVERY: Final = 30.0  # seconds
MAX_ADVANCE: Final = 366 * 86400.0  # seconds
ADVANCING: Final = 5.0  # seconds that one request to advance may take
TURNS: Final = 20  # of the event loop

log = logging.getLogger("dayfly.events")


class Eventing:
    """Everything about events and asynchronous calls of one server. See Catalog and Courier for what it asks others."""

    def __init__(
        self,
        queue: AsyncQueue,
        clock: Clock,
        *,
        run: Run,
        policy_of: PolicyOf,
        flavour_of: FlavourOf,
        exists: Callable[[str], bool],
        require_function: Callable[[str, str, str], object],
        shapes: Mapping[str, Shape] | None = None,
        allow_targets: Iterable[str] = (),
        fetch: Fetch | None = None,
        housekeeping: Clock | None = None,
        on_end: OnEnd | None = None,
    ) -> None:
        store = queue.store
        self._house = housekeeping or clock
        self._clock = clock
        self.catalog = Catalog(store, clock, exists=exists, require_function=require_function)
        self.router = Router(self.catalog, clock, SHAPES | dict(shapes or {}))
        self.fetcher = Fetcher(allow_targets)
        self.catalog.ask_leave = self.fetcher.ask_leave
        courier = Courier(self.router, run, policy_of, flavour_of, fetch or self.fetcher.post, clock, random.random)
        self.subscriptions = Subscriptions(self.catalog)
        self.queue = queue
        self.delivery = Delivery(queue, courier.attempt, self.subscriptions.find, housekeeping=self._house, on_end=on_end)
        self.brokers = Brokers(store, queue, self.router, clock)
        self.queues = Queues(store, queue, self.router, clock)
        self.letters = Letters(queue, self.brokers, self.router)
        self.source_health: Callable[[str, str], SourceHealth | None] = lambda namespace, trigger: None
        self.catalog.watchers.append(self._changed)
        self._housekeeping: asyncio.Task[None] | None = None
        self._advancing = asyncio.Lock()

    async def open(self) -> None:
        await self.catalog.load()
        await self.brokers.open()
        await self.delivery.start()
        self._housekeeping = asyncio.create_task(self._tidy())

    async def close(self, grace: float) -> None:
        """Deliveries under way get so many seconds; what is accepted stays on disk."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self.delivery.stop(grace)
        await self.fetcher.close()

    async def _tidy(self) -> None:
        while True:
            await self._house.sleep(TIDY_EVERY)
            try:
                await self.brokers.tidy()
            except DayflyError as error:
                log.warning("events cannot be tidied for now: %s", error)

    def _changed(self, kind: str, namespace: str, name: str, noun: Noun | None) -> None:
        """A lane is served in another way when its trigger or queue has changed."""
        if kind == "trigger":
            trigger = self.catalog.find_trigger(namespace, name)
            for lane in lanes_of(trigger) if trigger is not None else [trigger_lane(name)]:
                self.delivery.changed(namespace, lane)
        elif kind == "queue":
            self.delivery.changed(namespace, queue_lane(name))

    async def trigger_stats(self, action: a.GetTriggerStats) -> a.TriggerStats:
        trigger = self.catalog.trigger(action.namespace, action.name)
        waiting = running = dead = 0
        oldest: list[float] = []
        for lane in lanes_of(trigger):
            counts = await self.queue.count(action.namespace, lane)
            waiting += counts.due + counts.later + counts.blocked
            running += counts.leased
            dead += counts.dead
            oldest += [counts.oldest] if counts.oldest else []
        return a.TriggerStats(
            waiting=waiting,
            running=running,
            dead=dead,
            oldest=min(oldest, default=0.0),
            source=self.source_health(action.namespace, action.name),
        )

    async def advance(self, action: a.AdvanceTime) -> a.Advanced:
        if not isinstance(self._clock, ForwardClock):
            raise Conflict("this is no development server: its time goes as time does", hint="Start one with: dayfly up --dev")
        if not 0.0 <= action.seconds <= MAX_ADVANCE:
            raise BadInput(f"`seconds` is between 0 and {MAX_ADVANCE:.0f}.", field="seconds")
        async with self._advancing:
            fired, left = await self._clock.forward(action.seconds, self._settled, patience=ADVANCING)
        return a.Advanced(now=self._clock.now(), fired=fired, left=left)

    async def _settled(self) -> None:
        """Until what is due has been delivered and what sources had to say is written."""
        quiet = 0
        while quiet < 2:
            for _ in range(TURNS):  # a source that was woken gets to its next step
                await asyncio.sleep(0)
            quiet = 0 if self.queue.writing or self.delivery.running else quiet + 1
            if self.queue.writing:
                await self.queue.store.commit()  # behind what is being written
            await self.delivery.settled()

    def performers(self) -> a.Performers:
        """Who performs which action."""
        catalog, brokers, queues, letters = self.catalog, self.brokers, self.queues, self.letters
        return {
            a.PublishEvents: brokers.publish,
            a.PutBroker: catalog.put_broker,
            a.GetBroker: catalog.get_broker,
            a.ListBrokers: catalog.list_brokers,
            a.DeleteBroker: catalog.delete_broker,
            a.PutTrigger: catalog.put_trigger,
            a.GetTrigger: catalog.get_trigger,
            a.ListTriggers: catalog.list_triggers,
            a.DeleteTrigger: catalog.delete_trigger,
            a.PauseTrigger: catalog.pause_trigger,
            a.ResumeTrigger: catalog.resume_trigger,
            a.FireTrigger: brokers.fire,
            a.GetTriggerStats: self.trigger_stats,
            a.GetEvent: brokers.get,
            a.ListEvents: brokers.page,
            a.FollowEvents: brokers.follow,
            a.ListEventTypes: brokers.types,
            a.PutQueue: catalog.put_queue,
            a.GetQueue: catalog.get_queue,
            a.GetQueueStats: queues.stats,
            a.ListQueues: catalog.list_queues,
            a.DeleteQueue: catalog.delete_queue,
            a.SendMessages: queues.send,
            a.ReceiveMessages: queues.receive,
            a.AckMessages: queues.ack,
            a.ExtendMessages: queues.extend,
            a.PurgeQueue: queues.purge,
            a.PutAsyncConfig: catalog.put_async,
            a.GetAsyncConfig: catalog.get_async,
            a.ListAsyncConfigs: catalog.list_asyncs,
            a.DeleteAsyncConfig: catalog.delete_async,
            a.ListDead: letters.page,
            a.GetDead: letters.get,
            a.Redrive: letters.redrive,
            a.PurgeDead: letters.purge,
            a.GetInput: letters.input,
            a.Replay: letters.replay,
            a.AdvanceTime: self.advance,
        }
