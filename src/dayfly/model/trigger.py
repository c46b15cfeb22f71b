"""Brokers, triggers and queues."""

from __future__ import annotations

import enum
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from .delivery import DAY, Destination, Policy

DEFAULT_BROKER = "default"
OPEN_SOURCES = ("queue", "timer", "webhook")  # for everybody who may make triggers; others read files or networks of the server


class Broker(Struct, frozen=True, kw_only=True):
    """Takes events, keeps them for a while, hands each to the triggers whose filters it passes."""

    namespace: str
    name: str
    retention_s: Annotated[float, Meta(gt=0, le=366 * DAY)] = DAY
    retention_bytes: Annotated[int, Meta(gt=0, le=1 << 50)] = 1 << 30
    dedup_s: Annotated[float, Meta(ge=0, le=366 * DAY, description="an id of one source counts once in this time")] = 600.0
    records: bool = False  # each event leaves an invocation record of its own, with its deliveries
    labels: dict[str, str] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0


class WhilePaused(enum.StrEnum):
    """What a broker's events do with a trigger that is paused."""

    WAIT = "wait"  # for it to be resumed
    SKIP = "skip"  # pass it by


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a trigger's events come from, if not from a broker. `settings` are the source's own."""

    kind: Annotated[str, Meta(max_length=64, description="queue, or one of the sources in triggers/")]
    settings: dict[str, Any] = field(default_factory=dict)


class Trigger(Struct, frozen=True, kw_only=True):
    """Source or broker + filter + target + delivery policy."""

    namespace: str
    name: str
    target: Destination
    broker: str = ""  # either this or `source`
    source: Source | None = None
    filters: tuple[dict[str, Any], ...] = ()  # all must hold; see events/filters
    delivery: Policy = Policy()
    paused: bool = False
    while_paused: WhilePaused = WhilePaused.WAIT
    calls_async: bool = (
        False  # events become asynchronous calls of its function, with that one's attempts instead of `delivery`'s
    )
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
    created: float = 0.0
    updated: float = 0.0

    @property
    def skips(self) -> bool:
        """Whether events of its broker pass it by, for now."""
        return self.paused and self.while_paused == WhilePaused.SKIP

    @property
    def queue(self) -> str:
        """The queue it takes its events from, if it does."""
        return str(self.source.settings.get("queue", "")) if self.source is not None and self.source.kind == "queue" else ""


class SourceHealth(Struct, frozen=True, kw_only=True):
    """How the source of a trigger is."""

    state: str  # starting, running, failing, ended; elsewhere: another cell runs it
    error: str = ""  # what it failed of
    failures: int = 0  # in a row
    since: float = 0.0  # of the state, seconds since the epoch
    next: float = 0.0  # the moment at which it will emit, where that is known; seconds since the epoch


class Queue(Struct, frozen=True, kw_only=True):
    """Messages wait until a consumer takes and acknowledges them: at least once."""

    namespace: str
    name: str
    visibility_s: Annotated[float, Meta(ge=0, le=12 * 3600, description="lease of a receiver who names no other")] = 30.0
    delay_s: Annotated[float, Meta(ge=0, le=30 * DAY)] = 0.0
    retention_s: Annotated[float, Meta(gt=0, le=366 * DAY)] = 4 * DAY
    max_receives: Annotated[int, Meta(ge=0, le=10_000, description="then it is dead; 0: never")] = 0
    dead_letter: Destination | None = None  # also gets what died
    max_bytes: Annotated[int, Meta(ge=1, le=16 << 20, description="of one message")] = 1 << 20
    fifo: bool = False  # messages of one group in order, one at a time
    dedup_s: Annotated[float, Meta(ge=0, le=DAY, description="a deduplication id counts once in this time")] = 300.0
    content_dedup: bool = False  # fifo: the body's hash stands in for a missing deduplication id
    labels: dict[str, str] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0


class QueueStats(Struct, frozen=True, kw_only=True):
    """How full a queue is."""

    waiting: int  # may be received now
    delayed: int  # later
    held: int  # received and not acknowledged
    dead: int
    oldest: float  # seconds since the epoch at which the oldest message that waits was sent; 0: there is none


class Message(Struct, frozen=True, kw_only=True):
    """What is sent to a queue."""

    body: bytes
    content_type: str = "application/json"
    attributes: dict[str, str] = field(default_factory=dict)
    group: Annotated[str, Meta(max_length=256)] = ""  # fifo: what is kept in order
    dedup: Annotated[str, Meta(max_length=256)] = ""  # deduplication id
    delay_s: Annotated[float, Meta(ge=0, le=30 * DAY)] | None = None  # None: the queue's
    hops: int = 0  # of what it came out of; see model.event
    root: str = ""


class Received(Struct, frozen=True, kw_only=True):
    """A message in the hands of a receiver. `receipt` fences: a later lease makes it worthless."""

    id: str
    receipt: str
    message: Message
    sent: float  # seconds since the epoch
    first: float  # when it was received for the first time
    receives: int
    until: float  # end of the lease
    seq: int
