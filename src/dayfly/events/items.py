"""What stands in the queue: items, and the lanes they stand in.

f:NAME   asynchronous calls of a function      body: the call
t:NAME   deliveries of a trigger               event: the event
q:NAME   messages of a queue                   body: the message
h:NAME   posts to an http destination          body: the post
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ..actions import Invoke, Published
from ..model.call import Result
from ..model.delivery import Destination
from ..model.event import Event
from ..model.trigger import Message
from ..store.port import Statement

RECEIVER: Final = "receiver"  # holder of a lease outside of the server
DELIVERY: Final = "delivery"  # holder of a lease inside of it

encode = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(Invoke).decode
decode_event = msgspec.msgpack.Decoder(Event).decode
decode_message = msgspec.msgpack.Decoder(Message).decode
decode_result = msgspec.msgpack.Decoder(Result).decode


class Post(Struct, frozen=True, kw_only=True):
    """An event on its way to an address."""

    to: Destination
    event: Event


decode_post = msgspec.msgpack.Decoder(Post).decode


def function_lane(name: str) -> str:
    return "f:" + name


def trigger_lane(name: str) -> str:
    return "t:" + name


def queue_lane(name: str) -> str:
    return "q:" + name


def host_lane(url: str) -> str:
    """Posts share a lane by host: one that is slow holds up nobody else's."""
    return "h:" + (urlsplit(url).netloc or url)[:200]


class New(NamedTuple):
    """An item to be put into the queue."""

    id: str
    namespace: str
    lane: str
    due: float  # seconds since the epoch
    created: float
    body: bytes
    function: str = ""  # that it will call, if that is known
    key: str = ""
    event: int | None = None  # events.seq: the body is kept there
    once: str = ""  # of an event: what its lane takes once within `window` seconds
    window: float = 0.0
    of: int | None = None  # events.seq: it is put only if that event is accepted, as is one with an `event`

    def row(self) -> dict[str, object]:
        return {
            "id": self.id,
            "namespace": self.namespace,
            "lane": self.lane,
            "function": self.function,
            "key": self.key,
            "event": self.event,
            "of": self.event if self.of is None else self.of,
            "due": self.due,
            "created": self.created,
        }


class Item(NamedTuple):
    """A leased item. A row of queue_lease after its due time."""

    seq: int
    id: str
    epoch: int  # fencing token
    attempt: int
    deferrals: int
    created: float
    first: float  # first lease
    key: str
    body: bytes  # the call, the message, the post, or the event


class Accepted(NamedTuple):
    """An event in a plan. The statement of that index tells whether it was new."""

    at: int
    row: dict[str, object]
    event: Event
    outcome: Published


class Plan:
    """What is written in one transaction, the events among it, and the items that it puts into lanes."""

    __slots__ = ("events", "items", "statements")

    def __init__(self, statements: Iterable[Statement] = (), items: Iterable[New] = ()) -> None:
        self.statements = list(statements)
        self.items = list(items)
        self.events: list[Accepted] = []

    def add(self, other: Plan) -> None:
        self.events += [event._replace(at=event.at + len(self.statements)) for event in other.events]
        self.statements += other.statements
        self.items += other.items


def puts(item: New) -> list[Statement]:
    """Puts an item into its lane."""
    statements: list[Statement] = [("queue_put", item.row())]
    if item.event is None:
        statements.append(put_body(item))
    if item.once:
        row = item.row() | {"once": item.once, "expired": item.created - item.window}
        statements += [("queue_claim_event", row), ("queue_drop_repeated", row)]
    return statements


def put_body(item: New) -> Statement:
    """Puts what an item carries beside it."""
    return "queue_put_call", {"id": item.id, "body": item.body, "of": item.of}
