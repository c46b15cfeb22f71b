"""Actions on events: brokers, triggers, queues, and what follows from deliveries."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from ..model.delivery import DAY, Destination, Policy
from ..model.event import Event, Scheduled
from ..model.trigger import DEFAULT_BROKER, Message, Source, SourceHealth, WhilePaused
from .base import Action
from .invoke import Invoke

__all__ = [
    "AckMessages",
    "AdvanceTime",
    "Advanced",
    "DeleteAsyncConfig",
    "DeleteBroker",
    "DeleteQueue",
    "DeleteTrigger",
    "ExtendMessages",
    "FireTrigger",
    "FollowEvents",
    "GetAsyncConfig",
    "GetBroker",
    "GetDead",
    "GetEvent",
    "GetInput",
    "GetQueue",
    "GetQueueStats",
    "GetTrigger",
    "GetTriggerStats",
    "ListAsyncConfigs",
    "ListBrokers",
    "ListDead",
    "ListEventTypes",
    "ListEvents",
    "ListQueues",
    "ListTriggers",
    "PauseTrigger",
    "PublishEvents",
    "Published",
    "PurgeDead",
    "PurgeQueue",
    "PutAsyncConfig",
    "PutBroker",
    "PutQueue",
    "PutTrigger",
    "ReceiveMessages",
    "Recording",
    "Redrive",
    "Replay",
    "ResumeTrigger",
    "Scheduled",
    "SendMessages",
    "TriggerStats",
]

# --- events: brokers and triggers ---------------------------------------------------------------------------------------


class PublishEvents(Action, frozen=True, kw_only=True):
    """Give events to a broker; all of them are on disk with their deliveries, or none. -> tuple of Published, one for each

    An event whose (source, id) the broker has had within its window of deduplication is not accepted again.

    A broker is also what others call a topic: every one of its triggers gets a copy. One with `records` leaves an invocation record
    of each event that somebody gets, as `GetInvocation` and `ListInvocations` show it: function `broker:NAME`, the event's data as its
    `answer`, and in its `note`, as JSON, {"broker", "event": {"id", "source", "type"}, "deliveries": [{"trigger", "id"}]}. So what fires by
    name and calls a list of functions (a trigger of OpenWhisk with its rules) is a broker, made with `PutBroker(records=True, dedup_s=0)`,
    and a `PutTrigger(broker=NAME, calls_async=True)` for each of the list; one that is switched off is paused with `while_paused="skip"`,
    and stands in the record with an empty id. Firing it is this action, and `Published.record` the id of the firing. A timer that fires
    it is one more trigger: PutTrigger(source=Source(kind="timer", ...), target=Destination(kind="broker", name=NAME)).
    """

    broker: str = DEFAULT_BROKER
    events: tuple[Event, ...]
    cause: str = ""  # id of the invocation that sends them


class PutBroker(Action, frozen=True, kw_only=True):
    """Create or change a broker. Every namespace has one called `default`. -> model.trigger.Broker"""

    name: str
    retention_s: float = DAY
    retention_bytes: int = 1 << 30
    dedup_s: float = 600.0
    records: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class GetBroker(Action, frozen=True, kw_only=True):
    """-> model.trigger.Broker"""

    name: str


class ListBrokers(Action, frozen=True, kw_only=True):
    """-> Page of model.trigger.Broker"""


class DeleteBroker(Action, frozen=True, kw_only=True):
    """Forget a broker and its events; Conflict while triggers use it. -> None"""

    name: str


class PutTrigger(Action, frozen=True, kw_only=True):
    """Create or change a trigger. What waits for delivery stays and goes by the new policy. -> model.trigger.Trigger"""

    name: str
    target: Destination
    broker: str = ""  # neither broker nor source: the broker `default`
    source: Source | None = None
    filters: tuple[dict[str, Any], ...] = ()
    delivery: Policy = Policy()
    paused: bool = False
    while_paused: WhilePaused = WhilePaused.WAIT
    calls_async: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""


class GetTrigger(Action, frozen=True, kw_only=True):
    """-> model.trigger.Trigger"""

    name: str


class ListTriggers(Action, frozen=True, kw_only=True):
    """By name. -> Page of model.trigger.Trigger"""

    prefix: str = ""


class DeleteTrigger(Action, frozen=True, kw_only=True):
    """Forget a trigger; what waits for its delivery is cancelled, what is dead stays. -> None"""

    name: str


class PauseTrigger(Action, frozen=True, kw_only=True):
    """Deliver nothing for now: events of a broker wait, or pass it by (`while_paused`); a source stands still. -> model.trigger.Trigger"""

    name: str


class ResumeTrigger(Action, frozen=True, kw_only=True):
    """-> model.trigger.Trigger"""

    name: str


class FireTrigger(Action, frozen=True, kw_only=True):
    """Deliver these events to the trigger's target, whatever its filter; of one that is paused, they wait.
    -> tuple of Published, one for each"""

    name: str
    events: tuple[Event, ...]


class GetTriggerStats(Action, frozen=True, kw_only=True):
    """-> TriggerStats"""

    name: str


class GetEvent(Action, frozen=True, kw_only=True):
    """An accepted event by its id; of several, the latest. -> model.event.Recorded"""

    id: str
    source: str = ""


class ListEvents(Action, frozen=True, kw_only=True):
    """Newest first. -> Page of model.event.Recorded"""

    broker: str = ""
    type: str = ""
    since: float = 0.0
    limit: int = 50
    cursor: str = ""


class FollowEvents(Action, frozen=True, kw_only=True):
    """Events as they are accepted, beginning with those since `since`. -> async iterator of model.event.Recorded"""

    broker: str = ""
    type: str = ""
    since: float = 0.0


class ListEventTypes(Action, frozen=True, kw_only=True):
    """What has passed the brokers. -> Page of model.event.EventType"""

    broker: str = ""


# --- events: queues -----------------------------------------------------------------------------------------------------


class PutQueue(Action, frozen=True, kw_only=True):
    """Create or change a queue; `fifo` cannot change. -> model.trigger.Queue"""

    name: str
    visibility_s: float = 30.0
    delay_s: float = 0.0
    retention_s: float = 4 * DAY
    max_receives: int = 0
    dead_letter: Destination | None = None
    max_bytes: int = 1 << 20
    fifo: bool = False
    dedup_s: float = 300.0
    content_dedup: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class GetQueue(Action, frozen=True, kw_only=True):
    """-> model.trigger.Queue"""

    name: str


class GetQueueStats(Action, frozen=True, kw_only=True):
    """-> model.trigger.QueueStats"""

    name: str


class ListQueues(Action, frozen=True, kw_only=True):
    """-> Page of model.trigger.Queue"""

    prefix: str = ""


class DeleteQueue(Action, frozen=True, kw_only=True):
    """Forget a queue with all its messages; Conflict while a trigger takes from it. -> None"""

    name: str


class SendMessages(Action, frozen=True, kw_only=True):
    """All are on disk, or none. -> tuple of ids, one for each; of one that is there already, the first one's"""

    name: str
    messages: tuple[Message, ...]


class ReceiveMessages(Action, frozen=True, kw_only=True):
    """Take messages for a time; who has not acknowledged them by then loses them to others. -> tuple of model.trigger.Received"""

    name: str
    limit: int = 1
    wait_s: float = 0.0  # for the first one, at most 60
    visibility_s: float | None = None  # None: the queue's


class AckMessages(Action, frozen=True, kw_only=True):
    """They are dealt with. -> tuple of bool, one for each receipt: False if it had lost its lease"""

    name: str
    receipts: tuple[str, ...]


class ExtendMessages(Action, frozen=True, kw_only=True):
    """Keep messages for so long from now; 0 gives them back at once. -> tuple of bool, as AckMessages"""

    name: str
    receipts: tuple[str, ...]
    visibility_s: float


class PurgeQueue(Action, frozen=True, kw_only=True):
    """Drop all messages. -> how many"""

    name: str


# --- events: what follows -----------------------------------------------------------------------------------------------


class PutAsyncConfig(Action, frozen=True, kw_only=True):
    """How asynchronous calls of a function are tried again and what follows; None: as its profile says.
    -> model.delivery.AsyncConfig"""

    function: str
    qualifier: str = ""
    max_attempts: int | None = None
    max_age_s: float | None = None
    on_success: Destination | None = None
    on_failure: Destination | None = None
    dead_letter: Destination | None = None


class GetAsyncConfig(Action, frozen=True, kw_only=True):
    """-> model.delivery.AsyncConfig"""

    function: str
    qualifier: str = ""


class ListAsyncConfigs(Action, frozen=True, kw_only=True):
    """-> Page of model.delivery.AsyncConfig"""

    function: str = ""


class DeleteAsyncConfig(Action, frozen=True, kw_only=True):
    """-> None"""

    function: str
    qualifier: str = ""


class ListDead(Action, frozen=True, kw_only=True):
    """What could not be delivered, latest first; of one function, trigger or queue, or of all. -> Page of model.deadletter.Dead"""

    function: str = ""
    trigger: str = ""
    queue: str = ""
    limit: int = 50
    cursor: str = ""


class GetDead(Action, frozen=True, kw_only=True):
    """With its event or input. -> model.deadletter.Dead"""

    id: str


class Redrive(Action, frozen=True, kw_only=True):
    """Give dead items all their attempts again: those named, or all that ListDead lists. -> how many"""

    ids: tuple[str, ...] = ()
    function: str = ""
    trigger: str = ""
    queue: str = ""


class PurgeDead(Action, frozen=True, kw_only=True):
    """Forget dead items: those named, or all that ListDead lists. -> how many"""

    ids: tuple[str, ...] = ()
    function: str = ""
    trigger: str = ""
    queue: str = ""


class GetInput(Action, frozen=True, kw_only=True):
    """What a recorded call was given, or what an event's id stands for. -> Recording"""

    id: str


class Replay(Action, frozen=True, kw_only=True):
    """Call again with the same input: of an invocation, the function it was for; of an event, all triggers that it passes now.
    -> tuple of invocation ids"""

    id: str
    function: str = ""  # another one than the first time
    qualifier: str = ""  # revision, alias or tag; empty: where calls go now


class AdvanceTime(Action, frozen=True, kw_only=True):
    """Development server only: let so much time pass at once. Retries and timers fall due in their order, each at its own
    moment, and what they start ends before the next one. Where that takes more than a few seconds, `left` of the answer says how much
    is still to pass: ask for that. -> Advanced"""

    seconds: float


# --- outcomes that are not nouns ---------------------------------------------------------------------------------------


class Published(Struct, frozen=True, kw_only=True):
    """What became of an event that was published or fired."""

    id: str  # the event's
    duplicate: bool = False  # the broker had it already: nothing happened
    deliveries: tuple[Scheduled, ...] = ()
    record: str = ""  # id of the invocation record that it leaves, if the broker keeps such


class TriggerStats(Struct, frozen=True, kw_only=True):
    """How far a trigger is."""

    waiting: int  # lag: deliveries that are due or will be
    running: int
    dead: int
    oldest: float  # seconds since the epoch at which the oldest of those that wait was accepted; 0: none waits
    source: SourceHealth | None = None  # None: it has none of its own, or is paused


class Recording(Struct, frozen=True, kw_only=True):
    """The input of a call: what a debugger on a developer's machine needs."""

    call: Invoke | None = None
    event: Event | None = None


class Advanced(Struct, frozen=True, kw_only=True):
    """What `AdvanceTime` did."""

    now: float  # seconds since the epoch, by the server's clock
    fired: int  # timers
    left: float = 0.0  # seconds that have not passed yet
