"""Where events go, as rows: what is written in one transaction when an event is accepted, passed on or reported.

So an event and its deliveries, or the end of a delivery and what follows from it, are on disk together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from ..actions import Invoke, Published, Scheduled
from ..clock import Clock
from ..errors import BadInput, DayflyError
from ..model.call import Mode
from ..model.delivery import Delivered, Destination, Shape
from ..model.event import HOPS, Event
from ..model.function import Flavour
from ..model.ids import new_id
from ..model.trigger import Message, Trigger
from .catalog import Catalog
from .items import Accepted, New, Plan, Post, encode, function_lane, host_lane, puts, queue_lane, trigger_lane
from .shapes import SHAPES

MAX_HOPS: Final = 16  # answers and transfers that an event may come through

encode_deliveries = msgspec.json.Encoder().encode


class Router:
    """`last_seq` is the number of the newest event on disk; this object gives the next ones."""

    def __init__(self, catalog: Catalog, clock: Clock, shapes: Mapping[str, Shape] = SHAPES) -> None:
        self.catalog = catalog
        self.clock = clock
        self.shapes = shapes
        self.last_seq = 0

    def shape(self, to: Destination) -> Shape:
        """Raises BadInput for one that nobody brought."""
        found = self.shapes.get(to.shape)
        if found is None:
            raise BadInput(f"there is no shape {to.shape!r}", hint=f"There are: {', '.join(filter(None, self.shapes))}.")
        return found

    # --- accepting --------------------------------------------------------------------------------------------------

    def accept(self, namespace: str, broker: str, event: Event) -> Plan:
        """An event for a broker and its deliveries. Raises NotFound for a broker that does not exist."""
        settings = self.catalog.broker(namespace, broker)
        triggers = self.catalog.matching(namespace, broker, event)
        once = f"{event.source}\n{event.id}" if settings.dedup_s else ""
        return self._event(
            namespace, "b:" + broker, event, triggers, once=once, once_s=settings.dedup_s, records=settings.records
        )

    def fire(self, trigger: Trigger, event: Event) -> Plan:
        """An event for one trigger, by hand: whether or not it was delivered before."""
        return self._event(trigger.namespace, trigger_lane(trigger.name), event, [trigger], again=True)

    def emit(self, trigger: Trigger, event: Event, *, once: str = "", once_s: float = 0.0) -> Plan:
        """An event from the source of a trigger. `once`: what is accepted once within so many seconds."""
        return self._event(trigger.namespace, trigger_lane(trigger.name), event, [trigger], once=once, once_s=once_s)

    def _event(
        self,
        namespace: str,
        channel: str,
        event: Event,
        triggers: Iterable[Trigger],
        *,
        once: str = "",
        once_s: float = 0.0,
        records: bool = False,
        again: bool = False,
    ) -> Plan:
        try:
            body = encode(event)
        except UnicodeEncodeError as error:
            raise BadInput(f"The event holds text that is not Unicode: {error}.") from None
        now = self.clock.now()
        self.last_seq += 1
        plan = Plan()
        scheduled = []
        for trigger in triggers:
            identifier = refused = ""
            if not (trigger.skips and trigger.broker):
                try:
                    item = self.deliver(trigger, event, self.last_seq, body, again=again)
                    plan.items.append(item)
                    identifier = item.id
                except DayflyError as error:
                    refused = error.detail
            scheduled.append(Scheduled(trigger=trigger.name, id=identifier, error=refused))
        told = records and any(one.id or one.error for one in scheduled)
        outcome = Published(id=event.id, deliveries=tuple(scheduled), record=new_id() if told else "")
        row: dict[str, object] = {
            "seq": self.last_seq,
            "namespace": namespace,
            "channel": channel,
            "id": event.id,
            "type": event.type,
            "received": now,
            "once": once or None,
            "body": body,
            "deliveries": encode_deliveries([(one.trigger, one.id, *filter(None, [one.error])) for one in scheduled])
            if scheduled
            else b"",
            "record": outcome.record,
        }
        if once:
            plan.statements.append(("event_forget_once", row | {"expired": now - once_s}))
        plan.events.append(Accepted(len(plan.statements), row, event, outcome))
        plan.statements.append(("event_put", row))
        return plan

    def deliver(self, trigger: Trigger, event: Event, seq: int, body: bytes, *, again: bool) -> New:
        """The delivery of an event that is (being) written. `again`: also of one that the trigger has taken before.

        Raises DayflyError if the trigger should call, and cannot.
        """
        now = self.clock.now()
        once = "" if again or not trigger.delivery.dedup_s else f"{event.source}\n{event.id}"
        if trigger.calls_async and trigger.target.kind == "function":
            call = self._call(trigger.namespace, trigger.target, event, cause=event.id, depth=event.hops, root=event.root)
            # In the lane of the function, beside what other triggers call it with.
            once = once and f"{trigger.name}\n{once}"
            return call._replace(of=seq, once=once, window=trigger.delivery.dedup_s)
        key = event.attribute(trigger.delivery.order_by) if trigger.delivery.order_by else None
        return New(
            new_id(),
            trigger.namespace,
            trigger_lane(trigger.name),
            now,
            now,
            body,
            function=trigger.target.name if trigger.target.kind == "function" else "",
            key="" if key is None else str(key)[:512],
            event=seq,
            once=once,
            window=trigger.delivery.dedup_s,
        )

    # --- passing on -------------------------------------------------------------------------------------------------

    def to(self, namespace: str, to: Destination, event: Event, *, cause: str) -> Plan:
        """An event on its way to a destination, its items' rows included. Raises NotFound or BadInput."""
        now = self.clock.now()
        identifier = new_id()
        if to.kind in ("broker", "topic"):
            return written(self.accept(namespace, to.name, hop(event)))
        if to.kind == "function":
            item = self._call(namespace, to, event, cause=cause, depth=event.hops + 1, root=event.root)
        elif to.kind == "queue":
            queue = self.catalog.queue(namespace, to.name)
            delivered = Delivered(id=identifier, event=event, namespace=namespace, sent=now)
            made = self.shape(to)(to, (delivered,), False, Flavour.EVENT)
            key = str(event.attribute("partitionkey") or event.source)[:256] if queue.fifo else ""
            message = Message(
                body=made.body,
                content_type=made.content_type,
                attributes=made.attributes,
                group=key,
                hops=event.hops,
                root=event.root,
            )
            due = now + queue.delay_s
            item = New(identifier, namespace, queue_lane(to.name), due, now, encode(message), key=key)
        else:
            item = New(identifier, namespace, host_lane(to.name), now, now, encode(Post(to=to, event=event)))
        return Plan(puts(item), [item])

    def _call(self, namespace: str, to: Destination, event: Event, *, cause: str, depth: int, root: str) -> New:
        """The event as an asynchronous call. Raises what the shape raises, or BadInput."""
        now = self.clock.now()
        identifier = new_id()
        delivered = Delivered(id=identifier, event=event, namespace=namespace, sent=now)
        made = self.shape(to)(to, (delivered,), False, Flavour.EVENT)
        call = Invoke(
            namespace=made.namespace or namespace,
            function=made.function or to.name,
            qualifier=to.qualifier,
            mode=Mode.ASYNC,
            body=made.body,
            content_type=made.content_type,
            invocation=identifier,
            cause=cause,
            depth=depth,
            root=root,
            client=made.client,
            owner=made.owner,
            note=made.note,
        )
        return New(identifier, call.namespace, function_lane(call.function), now, now, encode(call), function=call.function)


def written(plan: Plan) -> Plan:
    """The plan with its items' rows among its statements."""
    for item in plan.items:
        plan.statements += puts(item)
    return plan


def hop(event: Event) -> Event:
    """The event as it goes into a broker out of a delivery. Raises BadInput when it has gone round too often."""
    if event.hops >= MAX_HOPS:
        raise BadInput(f"the event {event.id} has come through {MAX_HOPS} deliveries: it goes round in circles")
    return replace(event, extensions=event.extensions | {HOPS: event.hops + 1})
