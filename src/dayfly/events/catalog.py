"""Brokers, triggers, queues and delivery policies of this cell: its own copy in memory, and the actions that change them.

The truth is in the store. Changes reach the copy through the store's feed alone, own changes too, as in `registry.registry`. Filters are
compiled once, when a trigger is read.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, Conflict, DayflyError, NameInvalid, NotFound
from ..model.delivery import AsyncConfig, Destination
from ..model.event import TRIGGER_PATTERN, Event
from ..model.names import valid_name
from ..model.trigger import DEFAULT_BROKER, Broker, Queue, Trigger
from ..store.port import Note, Store
from .filters import Predicate, compile_filters
from .items import queue_lane, trigger_lane
from .shapes import SHAPES

Noun = Broker | Trigger | Queue | AsyncConfig
N = TypeVar("N", Broker, Trigger, Queue, AsyncConfig)

KINDS: Final[dict[str, type[Noun]]] = {"broker": Broker, "trigger": Trigger, "queue": Queue, "async": AsyncConfig}
MAX_TRIGGERS: Final = 10_000  # in one namespace

log = logging.getLogger("dayfly.events")


class Catalog:
    """`exists` tells whether there is a namespace; `require_function(namespace, name, qualifier)` raises NotFound if there is no such
    function; `require_source` raises BadInput for a source that does not exist or whose settings are wrong. `watchers` are told of
    every noun after a change, with None when it is gone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        exists: Callable[[str], bool],
        require_function: Callable[[str, str, str], object],
        require_source: Callable[[Trigger], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._exists = exists
        self._require_function = require_function
        self.require_source = require_source
        self.ask_leave: Callable[[str, str], Awaitable[None]] = _granted  # of an address, under a name; raises Forbidden
        self._nouns: dict[str, dict[tuple[str, str], Noun]] = {kind: {} for kind in KINDS}
        self._by_broker: dict[tuple[str, str], dict[str, tuple[Trigger, Predicate]]] = {}
        self._by_queue: dict[tuple[str, str], Trigger] = {}
        self._predicates: dict[tuple[str, str], Predicate] = {}
        self.watchers: list[Callable[[str, str, str, Noun | None], None]] = []  # kind, namespace, name
        self._reading: dict[Note, asyncio.Task[None]] = {}  # what the feed has named

    async def load(self) -> None:
        """Read everything once, at start, and follow the store's feed from then on."""
        for kind, namespace, name, body in await self._store.fetch("catalog_all"):
            self._swap(kind, namespace, name, msgspec.json.decode(body, type=KINDS[kind]))
        self._store.subscribe(self._hear)

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and its rows with it."""
        for kind, nouns in self._nouns.items():
            for space, name in [key for key in nouns if key[0] == namespace]:
                self._swap(kind, space, name, None)

    # --- looking up, in memory --------------------------------------------------------------------------------------

    def broker(self, namespace: str, name: str) -> Broker:
        """Raises NotFound. Every namespace has the default one."""
        found = self._find(Broker, "broker", namespace, name)
        if found is None and name == DEFAULT_BROKER and self._exists(namespace):
            return Broker(namespace=namespace, name=name)
        return found or self._missing("broker", namespace, name)

    def trigger(self, namespace: str, name: str) -> Trigger:
        """Raises NotFound."""
        return self._find(Trigger, "trigger", namespace, name) or self._missing("trigger", namespace, name)

    def queue(self, namespace: str, name: str) -> Queue:
        """Raises NotFound."""
        return self._find(Queue, "queue", namespace, name) or self._missing("queue", namespace, name)

    def find_trigger(self, namespace: str, name: str) -> Trigger | None:
        return self._find(Trigger, "trigger", namespace, name)

    def find_queue(self, namespace: str, name: str) -> Queue | None:
        return self._find(Queue, "queue", namespace, name)

    def async_config(self, namespace: str, function: str, qualifier: str) -> AsyncConfig | None:
        """What is set for calls of a function with this qualifier."""
        configs = self._nouns["async"]
        found = configs.get((namespace, f"{function}@{qualifier}")) if configs else None
        assert found is None or isinstance(found, AsyncConfig)
        return found

    def consumer(self, namespace: str, queue: str) -> Trigger | None:
        """The trigger that takes from this queue."""
        return self._by_queue.get((namespace, queue))

    def passes(self, trigger: Trigger, event: Event) -> bool:
        """Whether the event passes the trigger's filters."""
        predicate = self._predicates.get((trigger.namespace, trigger.name))
        return predicate is None or predicate(event)

    def matching(self, namespace: str, broker: str, event: Event) -> Iterator[Trigger]:
        """The triggers of a broker that this event passes."""
        for trigger, predicate in self._by_broker.get((namespace, broker), {}).values():
            if predicate(event):
                yield trigger

    def triggers(self) -> list[Trigger]:
        """All triggers of all namespaces."""
        return [noun for noun in self._nouns["trigger"].values() if isinstance(noun, Trigger)]

    def of_namespace(self, namespace: str) -> dict[str, int]:
        """How many nouns of each kind a namespace has."""
        return {kind: sum(1 for space, _ in nouns if space == namespace) for kind, nouns in self._nouns.items()}

    def _find(self, cls: type[N], kind: str, namespace: str, name: str) -> N | None:
        found = self._nouns[kind].get((namespace, name))
        assert found is None or isinstance(found, cls)
        return found

    def _list(self, cls: type[N], kind: str, namespace: str, prefix: str = "") -> a.Page[N]:
        self._require_namespace(namespace)
        found = [
            noun
            for (space, name), noun in sorted(self._nouns[kind].items())
            if space == namespace and name.startswith(prefix) and isinstance(noun, cls)
        ]
        return a.Page(items=tuple(found))

    def _missing(self, kind: str, namespace: str, name: str) -> Any:
        known = sorted(known for space, known in self._nouns[kind] if space == namespace)[:5]
        hint = f"The namespace has: {', '.join(known)}." if known else f"Make one: dayfly {kind} create."
        raise NotFound(f"there is no {kind} {name[:100]!r} in {namespace[:100]}", hint=hint)

    # --- changing ---------------------------------------------------------------------------------------------------

    async def put_broker(self, action: a.PutBroker) -> Broker:
        return await self._put("broker", action.name, _noun(Broker, action))

    async def get_broker(self, action: a.GetBroker) -> Broker:
        return self.broker(action.namespace, action.name)

    async def list_brokers(self, action: a.ListBrokers) -> a.Page[Broker]:
        page = self._list(Broker, "broker", action.namespace)
        if any(broker.name == DEFAULT_BROKER for broker in page.items):
            return page
        return a.Page(items=(self.broker(action.namespace, DEFAULT_BROKER), *page.items))

    async def delete_broker(self, action: a.DeleteBroker) -> None:
        self.broker(action.namespace, action.name)
        users = sorted(self._by_broker.get((action.namespace, action.name), ()))
        if users:
            raise Conflict(f"the broker {action.name} has triggers: {', '.join(users[:5])}", hint="dayfly trigger rm NAME")
        await self._delete("broker", action.namespace, action.name)

    async def put_trigger(self, action: a.PutTrigger) -> Trigger:
        if action.broker and action.source is not None:
            raise BadInput("A trigger has a broker or a source, not both.")
        trigger = _noun(Trigger, action)
        if trigger.source is None and not trigger.broker:
            trigger = msgspec.structs.replace(trigger, broker=DEFAULT_BROKER)
        namespace = action.namespace
        self._require_namespace(namespace)
        self._check_name("trigger", action.name)
        if trigger.broker:
            self.broker(namespace, trigger.broker)
        compile_filters(trigger.filters)
        targets = (trigger.target, trigger.delivery.dead_letter, trigger.delivery.on_success, trigger.delivery.on_failure)
        for destination in targets:
            if destination is not None:
                self.require_destination(namespace, destination)
        if trigger.delivery.reply:
            self.broker(namespace, trigger.delivery.reply)
        if trigger.source is not None and trigger.source.kind == "queue":
            self._require_free(trigger)
        elif trigger.source is not None:
            self.require_source(trigger)
        await self._ask_leave(targets)
        if (namespace, action.name) not in self._nouns["trigger"] and self.of_namespace(namespace)["trigger"] >= MAX_TRIGGERS:
            raise Conflict(f"{namespace} has {MAX_TRIGGERS} triggers, which is the most there can be", limit=MAX_TRIGGERS)
        return await self._put("trigger", action.name, trigger)

    def _require_free(self, trigger: Trigger) -> None:
        self.queue(trigger.namespace, trigger.queue)
        other = self._by_queue.get((trigger.namespace, trigger.queue))
        if other is not None and other.name != trigger.name:
            raise Conflict(
                f"the trigger {other.name} takes from the queue {trigger.queue} already",
                hint="A message goes to one receiver, so a second trigger would take from the first. For more at a time raise its "
                "`concurrency`; for copies publish to a broker, where every trigger gets one.",
            )

    def require_destination(self, namespace: str, to: Destination) -> None:
        """Raises NotFound for a function, queue or broker that does not exist, BadInput for a URL that is none."""
        if to.kind == "function" and to.name.startswith("/") and to.shape not in SHAPES:
            return  # its shape finds the function
        if to.kind == "function":
            self._require_function(namespace, to.name, to.qualifier)
        elif to.kind == "queue":
            self.queue(namespace, to.name)
        elif to.kind == "http":
            if not re.match(r"https?://[^/\s@]+(/\S*)?\Z", to.name):
                raise BadInput(f"{to.name[:200]!r} is not an http or https URL", hint="E.g. https://example.org/hook")
        else:
            self.broker(namespace, to.name)

    async def _ask_leave(self, destinations: Iterable[Destination | None]) -> None:
        for to in destinations:
            if to is not None and to.kind == "http" and to.origin:
                await self.ask_leave(to.name, to.origin)

    async def get_trigger(self, action: a.GetTrigger) -> Trigger:
        return self.trigger(action.namespace, action.name)

    async def list_triggers(self, action: a.ListTriggers) -> a.Page[Trigger]:
        return self._list(Trigger, "trigger", action.namespace, action.prefix)

    async def delete_trigger(self, action: a.DeleteTrigger) -> None:
        self.trigger(action.namespace, action.name)
        row = {"namespace": action.namespace, "name": action.name}
        lane = {"namespace": action.namespace, "lane": trigger_lane(action.name)}
        await self._delete(
            "trigger",
            action.namespace,
            action.name,
            ("checkpoint_delete", row),
            ("queue_cancel_lane", lane | {"ended": self._clock.now(), "last_error": "its trigger was deleted"}),
            ("queue_forget_claims", lane),
            ("events_delete_channel", {"namespace": action.namespace, "channel": lane["lane"]}),
        )

    async def pause_trigger(self, action: a.PauseTrigger) -> Trigger:
        return await self._set_paused(action.namespace, action.name, True)

    async def resume_trigger(self, action: a.ResumeTrigger) -> Trigger:
        return await self._set_paused(action.namespace, action.name, False)

    async def _set_paused(self, namespace: str, name: str, paused: bool) -> Trigger:
        trigger = msgspec.structs.replace(self.trigger(namespace, name), paused=paused)
        return await self._put("trigger", name, trigger)

    async def put_queue(self, action: a.PutQueue) -> Queue:
        before = self.find_queue(action.namespace, action.name)
        if before is not None and before.fifo != action.fifo:
            raise Conflict(f"whether the queue {action.name} is fifo cannot change", hint="Make another queue.")
        if action.dead_letter is not None:
            self.require_destination(action.namespace, action.dead_letter)
            await self._ask_leave([action.dead_letter])
            if action.dead_letter.kind == "queue" and action.dead_letter.name == action.name:
                raise BadInput("A queue cannot be its own dead-letter queue.")
        return await self._put("queue", action.name, _noun(Queue, action))

    async def get_queue(self, action: a.GetQueue) -> Queue:
        return self.queue(action.namespace, action.name)

    async def list_queues(self, action: a.ListQueues) -> a.Page[Queue]:
        return self._list(Queue, "queue", action.namespace, action.prefix)

    async def delete_queue(self, action: a.DeleteQueue) -> None:
        self.queue(action.namespace, action.name)
        consumer = self._by_queue.get((action.namespace, action.name))
        if consumer is not None:
            raise Conflict(f"the trigger {consumer.name} takes from the queue {action.name}", hint="Delete that first.")
        await self._delete("queue", action.namespace, action.name)
        lane = {"namespace": action.namespace, "lane": queue_lane(action.name), "dead": True, "bite": 1000}
        while (await self._store.commit(("queue_delete_lane", lane)))[0].written:
            pass

    async def put_async(self, action: a.PutAsyncConfig) -> AsyncConfig:
        self._require_function(action.namespace, action.function, action.qualifier)
        destinations = (action.on_success, action.on_failure, action.dead_letter)
        for destination in destinations:
            if destination is not None:
                self.require_destination(action.namespace, destination)
        await self._ask_leave(destinations)
        name = f"{action.function}@{action.qualifier}"
        return await self._put("async", name, _noun(AsyncConfig, action), named=False)

    async def get_async(self, action: a.GetAsyncConfig) -> AsyncConfig:
        found = self.async_config(action.namespace, action.function, action.qualifier)
        if found is None:
            name = action.function + (f"@{action.qualifier}" if action.qualifier else "")
            raise NotFound(f"nothing is set for asynchronous calls of {name[:300]}", hint="They go by the function's profile.")
        return found

    async def list_asyncs(self, action: a.ListAsyncConfigs) -> a.Page[AsyncConfig]:
        page = self._list(AsyncConfig, "async", action.namespace)
        return a.Page(items=tuple(config for config in page.items if action.function in ("", config.function)))

    async def delete_async(self, action: a.DeleteAsyncConfig) -> None:
        await self.get_async(a.GetAsyncConfig(namespace=action.namespace, function=action.function, qualifier=action.qualifier))
        await self._delete("async", action.namespace, f"{action.function}@{action.qualifier}")

    async def _put(self, kind: str, name: str, noun: N, *, named: bool = True) -> N:
        self._require_namespace(noun.namespace)
        if named:
            self._check_name(kind, name)
        now = self._clock.now()
        if isinstance(noun, AsyncConfig):
            noun = msgspec.structs.replace(noun, updated=now)
        else:
            before = self._nouns[kind].get((noun.namespace, name))
            created = before.created if isinstance(before, Broker | Trigger | Queue) else now
            noun = msgspec.structs.replace(noun, created=created, updated=now)
        try:
            body = msgspec.json.encode(noun)
            msgspec.json.decode(body, type=type(noun))  # the bounds of its fields hold
        except msgspec.ValidationError as error:
            raise BadInput(f"This is no {kind}: {error}.") from None
        row = {"kind": kind, "namespace": noun.namespace, "name": name, "body": body, "updated": now}
        await self._store.commit(("catalog_put", row), notes=[(kind, f"{noun.namespace}/{name}")])
        self._swap(kind, noun.namespace, name, noun)
        return noun

    async def _delete(self, kind: str, namespace: str, name: str, *also: Any) -> None:
        row = {"kind": kind, "namespace": namespace, "name": name}
        await self._store.commit(("catalog_delete", row), *also, notes=[(kind, f"{namespace}/{name}")])
        self._swap(kind, namespace, name, None)

    def _require_namespace(self, namespace: str) -> None:
        if not self._exists(namespace):
            raise NotFound(f"there is no namespace {namespace[:100]!r}", hint="See: dayfly namespace ls")

    def _check_name(self, kind: str, name: str) -> None:
        if not valid_name(name) and re.match(TRIGGER_PATTERN, name) is None:
            raise NameInvalid(f"{name[:100]!r} is not a name for a {kind}", hint="Use letters, digits, . _ - @ and /.")

    # --- the copy in memory -----------------------------------------------------------------------------------------

    def _hear(self, note: Note) -> None:
        kind = note[0]
        if kind in KINDS:
            before = self._reading.pop(note, None)
            if before is not None:
                before.cancel()  # what it would bring is older than this note
            self._reading[note] = asyncio.ensure_future(self._read(note))

    async def _read(self, note: Note) -> None:
        kind, key = note
        namespace, name = key.split("/", 1)
        try:
            rows = await self._store.fetch("catalog_one", kind=kind, namespace=namespace, name=name)
        except DayflyError as error:
            log.warning("the %s %s/%s cannot be read again: %s", kind, namespace, name, error)
            return
        finally:
            if self._reading.get(note) is asyncio.current_task():
                del self._reading[note]
        noun = msgspec.json.decode(rows[0][0], type=KINDS[kind]) if rows else None
        if noun != self._nouns[kind].get((namespace, name)):
            self._swap(kind, namespace, name, noun)

    def _swap(self, kind: str, namespace: str, name: str, noun: Noun | None) -> None:
        before = self._nouns[kind].pop((namespace, name), None)
        if isinstance(before, Trigger):
            self._by_broker.get((namespace, before.broker), {}).pop(name, None)
            self._predicates.pop((namespace, name), None)
            if before.queue and self._by_queue.get((namespace, before.queue)) == before:
                del self._by_queue[namespace, before.queue]
        if noun is not None:
            self._nouns[kind][namespace, name] = noun
        if isinstance(noun, Trigger):
            predicate = compile_filters(noun.filters)
            if noun.filters:
                self._predicates[namespace, name] = predicate
            if noun.broker:
                self._by_broker.setdefault((namespace, noun.broker), {})[name] = (noun, predicate)
            if noun.queue:
                self._by_queue[namespace, noun.queue] = noun
        for watch in self.watchers:
            watch(kind, namespace, name, noun)


async def _granted(url: str, origin: str) -> None: ...


def _noun(cls: type[N], action: a.Action) -> N:
    """The noun that an action with the same fields describes."""
    return cls(**{name: getattr(action, name) for name in action.__struct_fields__})


def lanes_of(trigger: Trigger) -> list[str]:
    """The lanes whose service depends on this trigger."""
    lanes = [trigger_lane(trigger.name)]
    if trigger.queue:
        lanes.append(queue_lane(trigger.queue))
    return lanes
