"""The fake platform's brokers, triggers, queues and dead letters: dictionaries, no delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from dayfly import actions as a
from dayfly.errors import Conflict, NotFound
from dayfly.model.deadletter import Dead
from dayfly.model.delivery import AsyncConfig, Condition, Destination
from dayfly.model.event import Event, EventType, Recorded
from dayfly.model.trigger import DEFAULT_BROKER, Broker, Message, Queue, QueueStats, Received, Trigger

NOW = 1_700_000_000.0
DEAD = "018bcfe568007000800000000000000d"
EVENT = Event(id="e1", source="/shop", type="order.placed", datacontenttype="application/json", data=b'{"total":3}')


def _noun(cls: Any, action: a.Action) -> Any:
    return cls(**{name: getattr(action, name) for name in action.__struct_fields__})


class FakeEvents:
    """Actions on events. The nouns that are there from the beginning: the default broker, and one dead letter."""

    def __init__(self) -> None:
        self.brokers: dict[str, Broker] = {DEFAULT_BROKER: Broker(namespace="default", name=DEFAULT_BROKER)}
        self.triggers: dict[str, Trigger] = {}
        self.queues: dict[str, Queue] = {}
        self.asyncs: dict[tuple[str, str], AsyncConfig] = {}
        self.messages: dict[str, list[Message]] = {}
        self.events: list[Recorded] = []
        self.dead: dict[str, Dead] = {DEAD: self.letter(DEAD)}

    @staticmethod
    def letter(id: str) -> Dead:
        return Dead(
            id=id,
            namespace="default",
            trigger="on-order",
            function="hello",
            queue="",
            condition=Condition.RETRIES_EXHAUSTED,
            reason="ValueError: bad",
            attempts=3,
            created=NOW,
            ended=NOW,
            event=EVENT,
        )

    @staticmethod
    def _one(known: dict[Any, Any], kind: str, key: Any) -> Any:
        if key not in known:
            raise NotFound(f"There is no {kind} {key!r}.")
        return known[key]

    def PublishEvents(self, action: a.PublishEvents) -> tuple[a.Published, ...]:
        self._one(self.brokers, "broker", action.broker)
        for event in action.events:
            self.events.append(
                Recorded(
                    seq=len(self.events) + 1, namespace="default", broker=action.broker, trigger="", received=NOW, event=event
                )
            )
        return tuple(a.Published(id=event.id) for event in action.events)

    def PutBroker(self, action: a.PutBroker) -> Broker:
        return self.brokers.setdefault(action.name, _noun(Broker, action))

    def GetBroker(self, action: a.GetBroker) -> Broker:
        broker: Broker = self._one(self.brokers, "broker", action.name)
        return broker

    def ListBrokers(self, action: a.ListBrokers) -> a.Page[Broker]:
        return a.Page(items=tuple(self.brokers.values()))

    def DeleteBroker(self, action: a.DeleteBroker) -> None:
        if any(trigger.broker == action.name for trigger in self.triggers.values()):
            raise Conflict("It has triggers.")
        self._one(self.brokers, "broker", action.name)
        del self.brokers[action.name]

    def PutTrigger(self, action: a.PutTrigger) -> Trigger:
        self.triggers[action.name] = trigger = _noun(Trigger, action)
        return trigger

    def GetTrigger(self, action: a.GetTrigger) -> Trigger:
        trigger: Trigger = self._one(self.triggers, "trigger", action.name)
        return trigger

    def ListTriggers(self, action: a.ListTriggers) -> a.Page[Trigger]:
        return a.Page(items=tuple(t for name, t in sorted(self.triggers.items()) if name.startswith(action.prefix)))

    def DeleteTrigger(self, action: a.DeleteTrigger) -> None:
        self._one(self.triggers, "trigger", action.name)
        del self.triggers[action.name]

    def PauseTrigger(self, action: a.PauseTrigger) -> Trigger:
        return self._paused(action.name, True)

    def ResumeTrigger(self, action: a.ResumeTrigger) -> Trigger:
        return self._paused(action.name, False)

    def _paused(self, name: str, paused: bool) -> Trigger:
        self.triggers[name] = trigger = replace(self._one(self.triggers, "trigger", name), paused=paused)
        return trigger

    def FireTrigger(self, action: a.FireTrigger) -> tuple[a.Published, ...]:
        self._one(self.triggers, "trigger", action.name)
        scheduled = (a.Scheduled(trigger=action.name, id=DEAD),)
        return tuple(a.Published(id=event.id, deliveries=scheduled) for event in action.events)

    def GetTriggerStats(self, action: a.GetTriggerStats) -> a.TriggerStats:
        self._one(self.triggers, "trigger", action.name)
        return a.TriggerStats(waiting=2, running=1, dead=1, oldest=NOW)

    def GetEvent(self, action: a.GetEvent) -> Recorded:
        for recorded in self.events:
            if recorded.event.id == action.id:
                return recorded
        raise NotFound(f"There is no event {action.id!r}.")

    def ListEvents(self, action: a.ListEvents) -> a.Page[Recorded]:
        return a.Page(items=tuple(reversed(self.events)))

    def FollowEvents(self, action: a.FollowEvents) -> AsyncIterator[Recorded]:
        async def events() -> AsyncIterator[Recorded]:
            for recorded in self.events:
                yield recorded

        return events()

    def ListEventTypes(self, action: a.ListEventTypes) -> a.Page[EventType]:
        seen = {r.event.type: r for r in self.events}
        return a.Page(
            items=tuple(
                EventType(broker=r.broker, type=t, source=r.event.source, dataschema="", first=NOW, last=NOW, count=1)
                for t, r in seen.items()
            )
        )

    def PutQueue(self, action: a.PutQueue) -> Queue:
        self.queues[action.name] = queue = _noun(Queue, action)
        return queue

    def GetQueue(self, action: a.GetQueue) -> Queue:
        queue: Queue = self._one(self.queues, "queue", action.name)
        return queue

    def GetQueueStats(self, action: a.GetQueueStats) -> QueueStats:
        self._one(self.queues, "queue", action.name)
        waiting = len(self.messages.get(action.name, ()))
        return QueueStats(waiting=waiting, delayed=0, held=0, dead=0, oldest=NOW if waiting else 0.0)

    def ListQueues(self, action: a.ListQueues) -> a.Page[Queue]:
        return a.Page(items=tuple(q for name, q in sorted(self.queues.items()) if name.startswith(action.prefix)))

    def DeleteQueue(self, action: a.DeleteQueue) -> None:
        self._one(self.queues, "queue", action.name)
        del self.queues[action.name]

    def SendMessages(self, action: a.SendMessages) -> tuple[str, ...]:
        self._one(self.queues, "queue", action.name)
        self.messages.setdefault(action.name, []).extend(action.messages)
        return tuple(f"{i:032x}" for i in range(len(action.messages)))

    def ReceiveMessages(self, action: a.ReceiveMessages) -> tuple[Received, ...]:
        self._one(self.queues, "queue", action.name)
        held = self.messages.get(action.name, [])[: action.limit]
        return tuple(
            Received(id=DEAD, receipt=f"{DEAD}.1", message=m, sent=NOW, first=NOW, receives=1, until=NOW + 30, seq=1)
            for m in held
        )

    def AckMessages(self, action: a.AckMessages) -> tuple[bool, ...]:
        self._one(self.queues, "queue", action.name)
        return tuple(True for _ in action.receipts)

    def ExtendMessages(self, action: a.ExtendMessages) -> tuple[bool, ...]:
        self._one(self.queues, "queue", action.name)
        return tuple(True for _ in action.receipts)

    def PurgeQueue(self, action: a.PurgeQueue) -> int:
        self._one(self.queues, "queue", action.name)
        return len(self.messages.pop(action.name, ()))

    def PutAsyncConfig(self, action: a.PutAsyncConfig) -> AsyncConfig:
        self.asyncs[action.function, action.qualifier] = config = _noun(AsyncConfig, action)
        return config

    def GetAsyncConfig(self, action: a.GetAsyncConfig) -> AsyncConfig:
        config: AsyncConfig = self._one(self.asyncs, "configuration", (action.function, action.qualifier))
        return config

    def ListAsyncConfigs(self, action: a.ListAsyncConfigs) -> a.Page[AsyncConfig]:
        return a.Page(items=tuple(self.asyncs.values()))

    def DeleteAsyncConfig(self, action: a.DeleteAsyncConfig) -> None:
        self._one(self.asyncs, "configuration", (action.function, action.qualifier))
        del self.asyncs[action.function, action.qualifier]

    def ListDead(self, action: a.ListDead) -> a.Page[Dead]:
        return a.Page(items=tuple(self.dead.values()))

    def GetDead(self, action: a.GetDead) -> Dead:
        dead: Dead = self._one(self.dead, "dead letter", action.id)
        return dead

    def Redrive(self, action: a.Redrive) -> int:
        return len(action.ids) or len(self.dead)

    def PurgeDead(self, action: a.PurgeDead) -> int:
        return len(action.ids) or len(self.dead)

    def GetInput(self, action: a.GetInput) -> a.Recording:
        if action.id == DEAD:
            return a.Recording(event=EVENT)
        raise NotFound(f"No input is kept of {action.id!r}.")

    def Replay(self, action: a.Replay) -> tuple[str, ...]:
        self.GetInput(a.GetInput(id=action.id))
        return (DEAD,)

    def AdvanceTime(self, action: a.AdvanceTime) -> a.Advanced:
        return a.Advanced(now=NOW + action.seconds, fired=1)


TO_HELLO = Destination(kind="function", name="hello")
