"""Invocations as the store keeps them, and how they are asked for.

A record is a few columns that are searched, and a JSON array of the rest (`_Rest`). Its place in the list is (id, seq): ids are
ordered by time, and `seq`, the order of recording, tells apart the attempts of one asynchronous call, which share an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..errors import BadInput
from ..model.call import Invocation, Mode, Status, Timings

MESSAGE_LIMIT: Final = 4096  # characters kept of what user code said when it failed
PAGE_LIMIT: Final = 1000  # records
OPEN: Final = 1 << 62  # the seq of a call that has not ended: after its attempts that have
LATEST: Final = 253402300800.0  # the end of the year 9999, in seconds since the epoch
_AFTER_ALL: Final = ("g", 0)  # after every id: those are hexadecimal


class _Rest(Struct, frozen=True, array_like=True):
    """What of an Invocation has no column. Their order is on disk: append, never insert."""

    revision: int
    mode: Mode
    cold: bool
    started: float
    queue: float
    starting: float  # Timings.cold
    init: float
    run: float
    billed_ms: int
    memory_mb: int
    peak_kb: int
    cpu_us: int
    cause: str
    instance: str
    attempt: int
    http_status: int
    error_type: str
    error_message: str
    answer: str = ""
    note: str = ""


_encode = msgspec.json.Encoder().encode
_decode_rest = msgspec.json.Decoder(_Rest).decode

Row = tuple[int, str, str, str, str, str]  # seq, id, namespace, function, status, body
Numbered = tuple[int, Invocation]  # seq, record


def encode(batch: Sequence[Invocation]) -> str:
    """The batch as a JSON array of rows."""
    try:
        return _encode([_row(call) for call in batch]).decode()
    except UnicodeEncodeError:  # user code put half a character into its error
        return _encode([_row(_readable(call)) for call in batch]).decode()


def joined(arrays: Sequence[str]) -> str:
    """What `encode` gave for several batches as the one JSON array that the query `invocations_put` takes."""
    return f"[{','.join([array[1:-1] for array in arrays])}]"


def _row(call: Invocation) -> tuple[str, str, str, str, tuple[object, ...]]:
    timings = call.timings
    rest: tuple[object, ...] = (
        call.revision,
        call.mode,
        call.cold,
        call.started,
        timings.queue,
        timings.cold,
        timings.init,
        timings.run,
        call.billed_ms,
        call.memory_mb,
        call.peak_kb,
        call.cpu_us,
        call.cause,
        call.instance,
        call.attempt,
        call.http_status,
        call.error_type,
        call.error_message,
    )
    if call.answer or call.note:
        rest = (*rest, call.answer, call.note)
    return call.id, call.namespace, call.function, call.status, rest


def decode(row: Row) -> Invocation:
    _, identifier, namespace, function, status, body = row
    rest = _decode_rest(body)
    return Invocation(
        id=identifier,
        namespace=namespace,
        function=function,
        revision=rest.revision,
        mode=rest.mode,
        status=Status(status),
        cold=rest.cold,
        started=rest.started,
        timings=Timings(rest.queue, rest.starting, rest.init, rest.run),
        billed_ms=rest.billed_ms,
        memory_mb=rest.memory_mb,
        peak_kb=rest.peak_kb,
        cpu_us=rest.cpu_us,
        cause=rest.cause,
        instance=rest.instance,
        attempt=rest.attempt,
        http_status=rest.http_status,
        error_type=rest.error_type,
        error_message=rest.error_message,
        answer=rest.answer,
        note=rest.note,
    )


def clipped(call: Invocation) -> Invocation:
    """The record with its error message cut to what is kept."""
    return replace(call, error_message=call.error_message[:MESSAGE_LIMIT] + " [cut]")


def _readable(call: Invocation) -> Invocation:
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name in call.__struct_fields__
        if type(value := getattr(call, name)) is str
    }
    return replace(call, **texts)


class Filter(NamedTuple):
    """Which records, newest first. Times are seconds since the epoch and mean when the call was accepted (its id's time)."""

    namespace: str
    function: str = ""
    status: Status | None = None
    since: float = 0.0
    until: float = 0.0  # 0: no end
    cursor: str = ""

    def before(self) -> tuple[str, int]:
        """The place all results stand before: the cursor, or the end of time. Raises errors.BadInput for a cursor not ours."""
        until = (_first_id(self.until), 0) if self.until else _AFTER_ALL
        if not self.cursor:
            return until
        identifier, dot, seq = self.cursor.partition(".")
        if not dot or not seq.isdecimal() or not identifier.isalnum() or len(self.cursor) > 80:
            raise BadInput("This cursor was not given out by this list.", hint="Use the cursor of the page before, unchanged.")
        return min(until, (identifier, int(seq)))

    def after(self) -> str:
        """The smallest id of the results."""
        return _first_id(self.since) if self.since else ""

    def takes(self, seq: int, call: Invocation, before: tuple[str, int], after: str) -> bool:
        return (
            call.namespace == self.namespace
            and (not self.function or call.function == self.function)
            and (self.status is None or call.status == self.status)
            and after <= call.id
            and (call.id, seq) < before
        )


def cursor(last: Numbered) -> str:
    """The cursor of a page that ends with this record."""
    seq, call = last
    return f"{call.id}.{seq}"


def moment(time: float) -> float:
    """A point in time somebody asked for, in seconds since the epoch; raises errors.BadInput if it cannot be one."""
    if not 0.0 <= time <= LATEST:
        raise BadInput(f"{time} is not a time in seconds since 1970.", limit=LATEST)
    return time


def _first_id(time: float) -> str:
    """The smallest id that can have been made at that time."""
    return f"{int(moment(time) * 1000):012x}"
