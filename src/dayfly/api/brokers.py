"""Brokers, and the events that have passed them. Events are published under /events: see `publish`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, Conflict, NotFound
from ..events.cloudevents import to_dict
from ..model.event import EventType, Recorded, Scheduled
from ..model.trigger import Broker
from .endpoint import NAMESPACE, Ask, Endpoint, Fields
from .query import EVENT_ID
from .serve import show
from .sse import EventStream, event


class BrokerBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How long a broker keeps events."""

    retention_s: Annotated[float, Meta(gt=0, le=366 * 86400, description="seconds an event is kept")] = 86400.0
    retention_bytes: Annotated[int, Meta(gt=0, le=1 << 50, description="bytes of events that are kept")] = 1 << 30
    dedup_s: Annotated[
        float, Meta(ge=0, le=366 * 86400, description="seconds in which an id of one source counts once; 0: never")
    ] = 600.0
    records: Annotated[bool, Meta(description="each event leaves an invocation record, with its deliveries")] = False
    labels: dict[str, str] = {}


class RecordedEvent(Struct, kw_only=True):
    """An accepted event; `event` is in the JSON format of CloudEvents."""

    seq: int
    broker: str
    trigger: str
    received: float
    event: dict[str, Any]
    deliveries: tuple[Scheduled, ...]
    record: str


def shown(recorded: Recorded) -> RecordedEvent:
    """The event as the API shows it."""
    return RecordedEvent(
        seq=recorded.seq,
        broker=recorded.broker,
        trigger=recorded.trigger,
        received=recorded.received,
        event=to_dict(recorded.event),
        deliveries=recorded.deliveries,
        record=recorded.record,
    )


def _shown(page: a.Page[Recorded]) -> a.Page[RecordedEvent]:
    return a.Page(items=tuple(shown(one) for one in page.items), cursor=page.cursor)


async def _list(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    follow = fields.pop("follow", "text/event-stream" in request.headers.get("accept", ""))
    if not follow or request.method == "HEAD":
        return show(endpoint, await ask(a.ListEvents(**fields)))
    for name in ("limit", "cursor"):
        if name in fields:
            raise BadInput(f"`{name}` means nothing when events are followed.", hint=f"Leave `{name}` out.", field=name)
    followed: AsyncIterator[Recorded] = await ask(a.FollowEvents(**fields))
    return EventStream(followed, lambda one: event("event", shown(one), str(one.seq)), clock)


_ONE = NAMESPACE + "/brokers/{name}"

ENDPOINTS = (
    Endpoint(method="GET", path=NAMESPACE + "/brokers", summary="List brokers", action=a.ListBrokers, gives=a.Page[Broker]),
    Endpoint(method="GET", path=_ONE, summary="Show a broker", action=a.GetBroker, gives=Broker),
    Endpoint(method="PUT", path=_ONE, summary="Create or change a broker", action=a.PutBroker, body=BrokerBody, gives=Broker),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Delete a broker that no trigger uses, and its events",
        action=a.DeleteBroker,
        raises=(NotFound, Conflict),
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/events",
        summary="List accepted events, newest first; follow=true sends them as they come",
        action=a.ListEvents,
        query=("broker", "type", "since", "limit", "cursor", "follow"),
        gives=a.Page[RecordedEvent],
        view=_shown,
        answer=_list,
        events=RecordedEvent,
        event_name="event",
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/events/{id}",
        summary="Show an accepted event",
        action=a.GetEvent,
        gives=RecordedEvent,
        view=shown,
        query=("source",),
        renamed={"id": EVENT_ID},
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/eventtypes",
        summary="List the types of events that have passed",
        action=a.ListEventTypes,
        query=("broker",),
        gives=a.Page[EventType],
    ),
)
