"""How events and asynchronous calls are delivered: where to, how often, how fast, and what follows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .call import HttpRequest
from .event import Event
from .function import Flavour
from .names import END

DAY = 86400.0  # seconds

Kind = Literal["function", "queue", "broker", "topic", "http"]


class Destination(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where something is delivered. A topic is a broker by another name: all its triggers get a copy."""

    kind: Kind
    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            description="of the function (with a slash before it: in the words of the shape), queue or broker; the URL for http",
        ),
    ]
    qualifier: Annotated[str, Meta(max_length=64, description="of a function: revision, alias or tag")] = ""
    shape: Annotated[str, Meta(max_length=64, description="how events become the input: cloudevents, data, or a dialect's")] = (
        ""
    )
    headers: dict[str, str] = {}  # sent along to http
    origin: Annotated[
        str,
        Meta(
            pattern=rf"^[A-Za-z0-9.*-]{{0,253}}{END}",
            description="of http: our DNS name, under which the address is asked for leave before the first post",
        ),
    ] = ""
    extra: dict[str, str] = {}  # for the shape: what a dialect must know to build the input

    def __str__(self) -> str:
        if self.kind == "http":
            return self.name
        return f"{self.kind}:{self.name}" + (f"@{self.qualifier}" if self.qualifier else "")


class Backoff(enum.StrEnum):
    """How the delay grows from retry to retry."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At least once, within these bounds. The defaults are those of a trigger."""

    max_attempts: Annotated[int, Meta(ge=1, le=10_000, description="the first included")] = 5
    backoff: Backoff = Backoff.EXPONENTIAL
    delay_s: Annotated[float, Meta(ge=0, le=DAY, description="before the first retry")] = 1.0
    max_delay_s: Annotated[float, Meta(ge=0, le=7 * DAY)] = 300.0
    delays_s: tuple[Annotated[float, Meta(ge=0, le=7 * DAY)], ...] = ()  # before retry 1, 2, ...; the last repeats; wins
    jitter: Annotated[float, Meta(ge=0, le=1, description="a delay is stretched by up to this share")] = 0.2
    max_age_s: Annotated[float, Meta(gt=0, le=366 * DAY)] = DAY
    concurrency: Annotated[int, Meta(ge=1, le=1000, description="deliveries at the same time")] = 16
    order_by: Annotated[
        str,
        Meta(
            pattern=rf"^[a-z0-9]{{0,64}}{END}", description="attribute whose equal values are delivered in order, one at a time"
        ),
    ] = ""
    batch: Annotated[int, Meta(ge=1, le=10_000, description="events in one delivery at most; 1: each alone, not in a list")] = 1
    batch_bytes: Annotated[int, Meta(ge=1, le=64 << 20)] = 5 << 20
    batch_window_s: Annotated[float, Meta(ge=0, le=300, description="how long a batch may wait to fill")] = 0.0
    partial: bool = False  # the answer may name those of a batch that failed: {"batchItemFailures": [{"itemIdentifier": id}]}
    bisect: bool = (
        False  # a batch that fails whole is delivered again as two halves, at once, until those that fail stand alone
    )
    dedup_s: Annotated[float, Meta(ge=0, le=DAY, description="an event (source and id) is delivered once in this time")] = 0.0
    timeout_s: Annotated[float, Meta(ge=0, le=DAY, description="of one delivery; 0: the function's own, or 30 for http")] = 0.0
    dead_letter: Destination | None = None  # also gets what died; it stays in the list of the dead as well
    on_success: Destination | None = None
    on_failure: Destination | None = None
    reply: Annotated[str, Meta(max_length=256, description="broker that gets the events in answers")] = ""


class Condition(enum.StrEnum):
    """Why a delivery ended. The names are those destinations of AWS Lambda use, as far as it knows the case."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    NOT_POSSIBLE = "NotPossible"  # gone, forbidden, or not understood: no retry would help
    CANCELLED = "Cancelled"


class Delivered(Struct, frozen=True, kw_only=True):
    """One event as it is handed to a target, with what shapes may tell of it."""

    id: str  # of the delivery: what a partial failure names
    event: Event
    namespace: str  # whose delivery it is
    receipt: str = ""
    attempt: int = 1
    sent: float = 0.0  # seconds since the epoch
    first: float = 0.0  # first attempt
    key: str = ""
    dedup: str = ""  # of a message, as its sender gave it
    trigger: str = ""


class Input(Struct, frozen=True, kw_only=True):
    """What a function is called with, or what is posted or sent."""

    body: bytes
    content_type: str = "application/json"
    attributes: dict[str, str] = {}  # of a message
    http: HttpRequest | None = None  # for functions that speak HTTP
    client: str = ""  # see actions.Invoke, as the following
    namespace: str = ""  # this and `function`: of another one than the destination's name says
    function: str = ""
    owner: str = ""
    note: str = ""


# How events become the input of a target: the destination, the events, whether they go as a list (a trigger that batches), and the
# flavour of the function (EVENT for everything that is none).
Shape = Callable[[Destination, Sequence[Delivered], bool, Flavour], Input]


class AsyncConfig(Struct, frozen=True, kw_only=True):
    """How asynchronous calls of a function are delivered. What is None is as the function's profile says."""

    namespace: str
    function: str
    qualifier: str = ""  # calls with this qualifier; empty: all that have none of their own
    max_attempts: int | None = None
    max_age_s: float | None = None
    on_success: Destination | None = None
    on_failure: Destination | None = None
    dead_letter: Destination | None = None  # gets the call itself, not a record of it
    updated: float = 0.0
