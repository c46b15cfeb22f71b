"""Events: CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).

The wire formats (JSON, HTTP) are in `events.cloudevents`.
"""

from __future__ import annotations

import re

from msgspec import Struct, field
from msgspec.structs import replace

from .names import END

Value = str | int | bool  # of an extension: String, Integer (32 bits), Boolean; timestamps, URIs and binary are carried as text

SPEC_VERSION = "1.0"
ATTRIBUTE_PATTERN = rf"^[a-z0-9]{{1,64}}{END}"  # the specification advises 20 characters at most, and demands no maximum
CORE = ("specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time")
TRIGGER_PATTERN = (
    rf"^[A-Za-z0-9]([A-Za-z0-9_.@&/ -]{{0,298}}[A-Za-z0-9_.@&-])?{END}"  # of a trigger, queue or broker, in any dialect
)

HOPS = "dayflyhops"  # extension: how many events and calls it came out of, one of the other
ROOT = "dayflyroot"  # extension: id of the call from outside that it comes of, where a function made it
KEY = "partitionkey"  # extension: what belongs together (the Partitioning extension)

_ATTRIBUTE = re.compile(ATTRIBUTE_PATTERN)


class Event(Struct, frozen=True, kw_only=True):
    """One event. Empty text means that an optional attribute is absent; `data` None means that there is none."""

    id: str
    source: str  # URI reference; with `id` it names the event
    type: str
    subject: str = ""
    time: str = ""  # RFC 3339, as the producer wrote it
    datacontenttype: str = ""
    dataschema: str = ""
    extensions: dict[str, Value] = field(default_factory=dict)
    data: bytes | None = None

    def attribute(self, name: str) -> Value | None:
        """The value of a context attribute by its name, extensions included; None if the event does not have it."""
        if name == "specversion":
            return SPEC_VERSION
        if name in CORE:
            return getattr(self, name) or None
        return self.extensions.get(name)

    @property
    def hops(self) -> int:
        """How many events and calls it came out of, one of the other."""
        hops = self.extensions.get(HOPS, 0)
        return hops if isinstance(hops, int) else 0

    @property
    def root(self) -> str:
        """Id of the call from outside that it comes of; empty if no function made it."""
        root = self.extensions.get(ROOT, "")
        return root if isinstance(root, str) else ""

    def within(self, hops: int, root: str) -> Event:
        """The same event, as what came of something else. It forgets what it said of that itself."""
        kept = {name: value for name, value in self.extensions.items() if name not in (HOPS, ROOT)}
        said: dict[str, Value] = {HOPS: hops} if hops else {}
        return replace(self, extensions=kept | said | ({ROOT: root} if root else {}))


def valid_attribute(name: str) -> bool:
    """Whether the name can be an extension's."""
    return _ATTRIBUTE.match(name) is not None and name not in CORE and name != "data"


class Scheduled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A delivery that is on disk. Where a trigger delivers one by one, `id` is also the id of the invocation. Empty: there is none, since
    the trigger was paused and such that events pass it by, or because of `error`."""

    trigger: str
    id: str
    error: str = ""  # of a trigger that calls asynchronously: why it cannot


class Recorded(Struct, frozen=True, kw_only=True):
    """An event as it was accepted."""

    seq: int  # order of acceptance on this server
    namespace: str
    broker: str  # empty: it came from the source of a trigger
    trigger: str  # empty: it was published to a broker
    received: float  # seconds since the epoch
    event: Event
    deliveries: tuple[Scheduled, ...] = ()  # as they were scheduled then
    record: str = ""  # id of the invocation record that it left, if its broker keeps such


class EventType(Struct, frozen=True, kw_only=True):
    """A type of event that has passed a broker."""

    broker: str
    type: str
    source: str  # of the latest one
    dataschema: str  # of the latest one
    first: float  # seconds since the epoch
    last: float
    count: int
