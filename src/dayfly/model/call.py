"""One call of a function: what is asked, what comes back, what is remembered."""

from __future__ import annotations

import enum

from msgspec import Struct

Headers = tuple[tuple[str, str], ...]  # names in lower case, repeated headers repeated, in order


class Mode(enum.StrEnum):
    SYNC = "sync"  # the caller waits; at most once
    ASYNC = "async"  # durable before it is acknowledged; at least once
    EVENT = "event"  # a trigger's delivery; at least once


class Status(enum.StrEnum):
    """How an invocation stands. The first two are open, the others final."""

    QUEUED = "queued"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"  # user code raised, or answered with an error
    CRASHED = "crashed"  # the instance died, or broke the protocol
    INIT_FAILED = "init-failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # throttled or no capacity: user code never ran
    DEAD = "dead"  # asynchronous only: all attempts used up, or too old


class HttpRequest(Struct, frozen=True, kw_only=True):
    """The HTTP side of a call. `path` is the rest after the function's own prefix, percent-encoding kept."""

    method: str
    path: str
    query: str  # raw, without the question mark
    headers: Headers


class FunctionError(Struct, frozen=True, kw_only=True):
    """What user code raised. Data, never a platform error."""

    type: str
    message: str
    trace: tuple[str, ...] = ()  # user frames only, one text a frame
    payload: str = ""  # the same in the words of a foreign contract, as JSON
    log: str = ""  # see `Result.log`
    cpu_us: int = 0  # as of an answer's head, where the contract tells
    rss_kb: int = 0


class Timings(Struct, frozen=True):
    """Seconds. `queue`: waited for an instance, start excluded; `cold`: start of the instance, of which `init` is the
    user's own import; `run`: from handing the call to the instance to the end of its answer."""

    queue: float = 0.0
    cold: float = 0.0
    init: float = 0.0
    run: float = 0.0


class Result(Struct, kw_only=True):
    """A finished call (or, when `streaming`, one whose body follows in pieces)."""

    invocation: str
    revision: int = 0
    cold: bool = False
    status: int = 200  # HTTP status the function chose
    headers: Headers = ()  # the function's own; content-type among them
    body: bytes = b""
    error: FunctionError | None = None
    timings: Timings = Timings()
    streaming: bool = False
    note: str = ""  # as in the record
    log: str = ""  # the end of what the call printed, where a caller asked its contract for it
    rss_kb: int = 0  # high-water mark of the instance's resident memory


class Invocation(Struct, frozen=True):
    """The record of one call. Written after the answer, in batches.

    Fields may be given by place: twenty names take four times as long, and one of these is made for every call.
    """

    id: str
    namespace: str
    function: str
    revision: int
    mode: Mode
    status: Status
    cold: bool
    started: float  # seconds since the epoch
    timings: Timings
    billed_ms: int
    memory_mb: int  # configured: what is billed
    peak_kb: int = 0  # high-water mark of the instance's resident memory
    cpu_us: int = 0
    cause: str = ""  # id of the invocation or event that caused this one
    instance: str = ""
    attempt: int = 1
    http_status: int = 0
    error_type: str = ""
    error_message: str = ""
    answer: str = ""  # the whole answer, where the function's profile keeps answers
    note: str = ""  # what a dialect wants to remember of the call
