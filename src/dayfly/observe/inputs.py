"""What synchronous calls were given, for replays: of all, of those that failed, or of none, as the operator and the function say.

Asynchronous calls and events keep theirs in the queue. On the warm path this costs an append. What has come together is written with the
records of the same calls, in their transaction: a row for each function, with everything it was given since the last one. So a
thousand calls cost the disk one row and no index entry each, and are found by the range of their ids. Up to a size; then the oldest go.

To keep every input of a function under full load would cost a tenth of its throughput and more with large bodies. So there is a rate, and
calls that went well beyond it are not kept: a developer's calls all are, of a storm a sample is, and of what fails everything.

Values of headers that let somebody in are not written. Where the disk does not keep up, inputs are dropped rather than held: memory stays
bounded, and nobody waits for a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..actions import Invoke
from ..errors import NotFound
from ..model.call import Headers, Status
from ..model.function import Keep
from ..store.port import Statement, Store

KEEP_BYTES: Final = 256 << 20  # of all inputs on disk, unless the operator says otherwise
LONGEST: Final = 256 << 10  # bytes of a body that is kept
WAITING_BYTES: Final = 16 << 20  # of bodies that are not on disk yet, at most
SLICE_BYTES: Final = 1 << 20  # of bodies, enough to be written
RATE: Final = (
    8 << 20
)  # bytes a second of calls that went well, each counted with WEIGHT more; unless the operator says otherwise
WEIGHT: Final = 4 << 10  # bytes: what an input costs besides its body
BURST: Final = 2.0  # seconds of the rate that may come at once
BITE: Final = 500  # rows deleted in one go
UNREAD: Final = "(not kept)"  # stands where a header's value let somebody in
SECRET_HEADERS: Final = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key", "x-amz-security-token"))
_ALL: Final = Keep.ALL  # see pool.group
_OK: Final = Status.OK

_encode = msgspec.msgpack.Encoder().encode


class _Row(Struct, array_like=True):
    """What is on disk, of one function. Append, never insert."""

    calls: list[Invoke]
    left_out: dict[str, int] = {}  # id -> bytes of a body that was too long; -1: it was streamed


_decode = msgspec.msgpack.Decoder(_Row).decode


class Inputs:
    """`keep_bytes`: of what is kept on disk, about. `longest`: bytes of a body. `rate`: bytes a second, see RATE."""

    def __init__(
        self,
        store: Store,
        *,
        keep: Keep = Keep.ALL,
        keep_bytes: int = KEEP_BYTES,
        longest: int = LONGEST,
        rate: int = RATE,
    ) -> None:
        self._store = store
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._longest = longest
        self._rate = rate
        self._burst = max(int(rate * BURST), longest + WEIGHT)  # the longest input fits when there was silence
        self._allowance = self._burst  # bytes that may be kept now
        self._refilled = 0.0
        self._pending: list[Invoke] = []
        self._size = 0  # bytes of their bodies
        self._left_out: list[tuple[tuple[str, str], str, int]] = []
        self._room = WAITING_BYTES  # what may be pending: less what waits for the disk
        self.enough: Callable[[], None] = lambda: None  # called when a write is worth it
        self.skipped = 0  # inputs beyond the rate

    def keep(self, invoke: Invoke, status: Status, chosen: Keep, whole: bool) -> None:
        """Of a synchronous call that has ended. `chosen`: by its function. Not `whole`: its body did not come with the call."""
        if (chosen is not _ALL or self._keep is not _ALL) and not self._wants(status, chosen):
            return
        size = len(invoke.body)
        if size > self._longest or not whole:
            self._leave_out(invoke, size if whole else -1)
            return
        if status is _OK:
            left = self._allowance - size - WEIGHT
            if left < 0:
                self.skipped += 1
                return
            self._allowance = left
        size += self._size
        if size > self._room:
            return
        self._size = size
        self._pending.append(invoke)
        if size >= SLICE_BYTES:
            self.enough()

    def _wants(self, status: Status, chosen: Keep) -> bool:
        return Keep.NONE not in (self._keep, chosen) and status is not Status.OK

    def _leave_out(self, invoke: Invoke, size: int) -> None:
        if len(self._left_out) < BITE:
            self._left_out.append((_address(invoke), invoke.invocation, size))

    # --- writing, by the recorder -----------------------------------------------------------------------------------

    def take(self, now: float) -> tuple[list[Statement], int]:
        """What is to be written, and how many bytes of bodies `written` is to be told of. `now`: monotonic seconds."""
        self._allowance = min(self._burst, self._allowance + int((now - self._refilled) * self._rate))
        self._refilled = now
        pending, self._pending, size, self._size = self._pending, [], self._size, 0
        left_out, self._left_out = self._left_out, []
        if not pending and not left_out:
            return [], 0
        self._room -= size
        rows: dict[tuple[str, str], _Row] = {}
        for invoke in pending:
            address = _address(invoke)
            row = rows.get(address)
            if row is None:
                row = rows[address] = _Row([])
            row.calls.append(invoke if invoke.http is None else _without_secrets(invoke))
        for address, id, length in left_out:
            rows.setdefault(address, _Row([])).left_out[id] = length
        return [("inputs_put", [_columns(*address, row) for address, row in rows.items()])], size

    def written(self, size: int) -> None:
        """So many bytes are on disk, or given up."""
        self._room += size

    def drop(self) -> None:
        """The disk is behind: what is pending is not kept."""
        self._pending, self._size, self._left_out = [], 0, []

    def prune(self, oldest: str) -> Statement:
        """Forget calls before the id `oldest`, and the oldest ones while there is more than is kept."""
        return "inputs_prune", {"bite": BITE, "keep": self._keep_bytes, "oldest": oldest}

    # --- reading ----------------------------------------------------------------------------------------------------

    async def find(self, namespace: str, id: str) -> Invoke | None:
        """What the call was given, if that is on disk. Raises NotFound, with the reason, if it was left out."""
        after = 0
        while found := await self._store.fetch("inputs_of_call", namespace=namespace, id=id, after=after):
            for seq, body in found:
                after = seq
                row = _decode(body)
                for invoke in row.calls:
                    if invoke.invocation == id:
                        return invoke
                if id in row.left_out:
                    raise self._refusal(id, row.left_out[id])
        return None

    def _refusal(self, id: str, length: int) -> NotFound:
        if length < 0:
            return NotFound(
                f"the input of {id} was not kept: its body was streamed", hint="Send it with a Content-Length of at most 1 MiB."
            )
        return NotFound(
            f"the input of {id} was not kept: it has {length} bytes, and inputs of up to {self._longest} are",
            hint="The operator can raise that: dayfly up --keep-inputs-longest KIB.",
        )

    def why(self, status: Status) -> str:
        """Why the input of a call that is on record is not there."""
        if self._keep is Keep.NONE or (self._keep is Keep.FAILED and status is Status.OK):
            return f"this server keeps the inputs of {'no calls' if self._keep is Keep.NONE else 'failed calls alone'}"
        if self.skipped and status is Status.OK:
            return (
                f"at times there were more calls than inputs are kept of ({self._rate >> 20} MiB a second; "
                f"dayfly up --keep-inputs-rate), its function asks for that, or it was the oldest of {self._keep_bytes >> 20} MiB"
            )
        return f"its function asks for that, or it was the oldest of more than {self._keep_bytes >> 20} MiB of inputs"


def _address(invoke: Invoke) -> tuple[str, str]:
    """Whose records tell of the call."""
    return invoke.owner or invoke.namespace, invoke.function


def _columns(namespace: str, function: str, row: _Row) -> dict[str, object]:
    ids = [*(invoke.invocation for invoke in row.calls), *row.left_out]
    try:
        body = _encode(row)
    except UnicodeEncodeError:  # half a character in a header: not worth more than this
        row.calls = list(_readable(row.calls))
        body = _encode(row)
    return {"namespace": namespace, "function": function, "first": min(ids), "last": max(ids), "body": body}


def _readable(calls: Iterable[Invoke]) -> Iterable[Invoke]:
    for invoke in calls:
        try:
            _encode(invoke)
        except UnicodeEncodeError:
            continue
        yield invoke


def _without_secrets(invoke: Invoke) -> Invoke:
    assert invoke.http is not None
    headers: Headers = invoke.http.headers
    for name, _ in headers:
        if name in SECRET_HEADERS:
            kept = copy(invoke)
            shown = tuple([(name, UNREAD if name in SECRET_HEADERS else value) for name, value in headers])
            kept.http = replace(invoke.http, headers=shown)
            return kept
    return invoke
