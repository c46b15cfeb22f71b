"""One call from head to answer, whatever ran it: the main loop, a thread or a task."""

from __future__ import annotations

import json
import os
import resource
from types import CoroutineType

from .contract import BadEvent
from .errors import describe, log_text, pack
from .frames import CHUNK, DATA, END, ERROR, REFUSED, RESPONSE, encode
from .orphans import Orphans
from .reply import BYTES, Refused, Stream, Unencodable, prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .contract import Entry, Rest
    from .frames import Connection
    from .output import Writer

_PLAIN = frozenset((dict, list, str, bytes, int, float, bool, type(None)))
_getrusage = resource.getrusage
_SELF = resource.RUSAGE_SELF
_SWEEP = 16  # calls from one collection of orphans to the next


class Calls:
    """Runs calls of one loaded function."""

    def __init__(self, entry: Entry, root: str, out: Writer, err: Writer) -> None:
        self._entry = entry
        self._invoke = entry.invoke
        self._http = entry.http
        self._root = root
        self._out = out
        self._err = err
        self._printed, self._erred = out.partial, err.partial  # unfinished lines, by call
        self._orphans = Orphans() if os.getpid() == 1 else None
        self._count = 0
        self._cpu = 0.0
        self.usage()

    def flush(self, ident: str) -> None:
        """Bring out what the call printed. Before its answer ends: after it, the instance may be frozen or gone."""
        self._out.finish(ident)
        self._err.finish(ident)

    def usage(self) -> bytes:
        """End of a response head. Processor time is all that was used since the last answer: calls that overlap share it
        somehow, but its sum is exact."""
        self._count += 1
        if self._orphans is not None and not self._count % _SWEEP:
            self._orphans.sweep()
        now = _getrusage(_SELF)
        cpu = now.ru_utime + now.ru_stime
        used, self._cpu = cpu - self._cpu, cpu
        return b'"cpu_us":%d,"rss_kb":%d}' % (used * 1e6 if used > 0 else 0, now.ru_maxrss)

    def run(
        self,
        conn: Connection,
        stream: int,
        head: dict[str, Any],
        body: bytes,
        rest: Rest,
        wait: Callable[[Awaitable[Any]], Any],
    ) -> None:
        """Run a call to its end in this thread; `wait` runs an awaitable."""
        try:
            result = self._invoke(head, body, rest)
            kind = type(result)
            if kind is CoroutineType or (kind not in _PLAIN and hasattr(result, "__await__")):
                result = wait(result)
            fields, data, pieces = prepare(result, self._http)
            if pieces is None:
                if self._printed or self._erred:
                    self.flush(head["id"])
                conn.send_answer(stream, b"{" + fields + self.usage(), data)
            else:
                self._run_stream(conn, stream, head["id"], pieces, wait)
        except BaseException as error:
            self.fail(conn, stream, head["id"], error)

    def _run_stream(
        self, conn: Connection, stream: int, ident: str, pieces: Stream, wait: Callable[[Awaitable[Any]], Any]
    ) -> None:
        items = _iterate(pieces.items, wait) if pieces.is_async else pieces.items
        sender = _Sender(self, conn, stream, pieces)
        for item in items:
            sender.send(item)
            if not conn.open:  # nobody listens any more
                close = getattr(items, "close", None)
                if close is not None:
                    close()
                break
        self.flush(ident)
        sender.end()

    async def run_async(self, conn: Connection, stream: int, head: dict[str, Any], body: bytes, cancelled: set[int]) -> None:
        """The same as a task of an event loop. `cancelled` holds the streams that the gateway asked to stop."""
        try:
            result = self._invoke(head, body, None)
            kind = type(result)
            if kind is CoroutineType or (kind not in _PLAIN and hasattr(result, "__await__")):
                result = await result
            fields, data, pieces = prepare(result, self._http)
            if pieces is None:
                self.flush(head["id"])
                conn.send_answer(stream, b"{" + fields + self.usage(), data)
            else:
                sender = _Sender(self, conn, stream, pieces)
                if pieces.is_async:
                    async for item in pieces.items:
                        sender.send(item)
                else:
                    for item in pieces.items:
                        sender.send(item)
                self.flush(head["id"])
                sender.end()
        except BaseException as error:
            if stream in cancelled:
                self.flush(head["id"])
                conn.send(cancelled_frame(stream))
            else:
                self.fail(conn, stream, head["id"], error)

    def cancel(self, stream: int) -> None:
        """A call that has a thread of its own cannot be stopped; it runs on and its answer is ignored."""

    def fail(self, conn: Connection, stream: int, ident: str, error: BaseException) -> None:
        """Answer with what went wrong."""
        self.flush(ident)
        if isinstance(error, BadEvent):
            problem = {
                "type": "https://dayfly.dev/problems/bad-input",
                "title": "The request cannot be understood",
                "status": 400,
                "detail": str(error),
            }
            fields = b'"status":400,"headers":[["content-type","application/problem+json"]],'
            conn.send_answer(stream, b"{" + fields + self.usage(), json.dumps(problem).encode())
        elif isinstance(error, (Refused, Unencodable)):
            self._err.write(f"the answer was refused: {error}\n")
            payload = json.dumps({"message": str(error)[:4096]}).encode()
            conn.send(encode(REFUSED | END, stream, payload))
        elif isinstance(error, SystemExit):
            leave(error, self._err)
        else:
            described = describe(error, self._root)
            self._err.write(log_text(described))
            conn.send(encode(ERROR | END, stream, pack(described)))


def cancelled_frame(stream: int) -> bytes:
    """The ending of a call that the gateway cancelled."""
    payload = {"type": "Cancelled", "message": "the call was cancelled", "trace": []}
    return encode(ERROR | END, stream, pack(payload))


class _Sender:
    """Sends the items of a stream as they come."""

    def __init__(self, calls: Calls, conn: Connection, stream: int, pieces: Stream) -> None:
        self._calls = calls
        self._conn = conn
        self._stream = stream
        self._pieces = pieces
        self._begun = pieces.fields is not None
        if pieces.fields is not None:
            conn.send(self._head(pieces.fields))

    def _head(self, fields: bytes) -> bytes:
        return encode(RESPONSE, self._stream, b"{" + fields + self._calls.usage())

    def send(self, item: Any) -> None:
        if self._begun:
            data = self._pieces.piece(item)
            if data:
                self._conn.send_data(self._stream, data, False)
            return
        fields, data = self._pieces.first(item)
        self._begun = True
        head = self._head(fields)
        if data and len(data) <= CHUNK:
            self._conn.send(head + encode(DATA, self._stream, data))
        else:
            self._conn.send(head)
            if data:
                self._conn.send_data(self._stream, data, False)

    def end(self) -> None:
        if not self._begun:
            self._conn.send(self._head(BYTES))
        self._conn.send(encode(DATA | END, self._stream))


def _iterate(items: Any, wait: Callable[[Awaitable[Any]], Any]) -> Any:
    """An async iterator as a plain one."""

    async def step() -> tuple[bool, Any]:
        try:
            return True, await items.__anext__()
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            more, item = wait(step())
            if not more:
                return
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            wait(close())


def leave(error: SystemExit, err: Writer) -> None:
    """`sys.exit` in a handler ends the instance: the caller is told that it died."""
    code = error.code
    status = code if isinstance(code, int) else 0 if code is None else 1
    err.write(f"the handler called sys.exit({'' if code is None else repr(code)[:200]}): this instance ends\n")
    os._exit(status & 0xFF)
