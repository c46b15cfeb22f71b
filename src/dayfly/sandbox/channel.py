"""The gateway's end of an instance's socket: frames in, sinks called; calls in, frames out.

Everything happens in callbacks of the event loop, nothing waits. Calls may be written before the connection stands and before the
instance is ready: they wait in a bounded list, then in the socket. What the instance sends is checked here and nowhere later.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import msgspec
from msgspec import Struct

from ..errors import BadResponse, DayflyError, InitFailed, InstanceDied
from ..model.call import FunctionError, Headers
from ..outlet import Outlet
from . import frames
from .addresses import reachable
from .frames import DATA, END, ERROR, FAILED, READY, REFUSED, RESPONSE, Parser, ProtocolViolation
from .port import Ready, ResponseHead, Sink

MAX_HEADERS = 200  # headers of one answer
SO_PASSRIGHTS = 83  # asm-generic/socket.h, Linux 6.16
FAILURE_PAYLOAD = 16 << 10  # characters of what a foreign contract says of code that does not load
WRITE_HIGH = 1 << 20  # bytes waiting for a slow instance before `full` turns true

# Headers that belong to a connection or to the platform: a function cannot set them (RFC 9110 section 7.6.1).
_OURS = frozenset(
    "connection content-length date keep-alive proxy-connection te trailer transfer-encoding upgrade server-timing".split()
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


def refuse_descriptors(link: socket.socket) -> None:
    """Have the kernel refuse descriptors that an instance sends along with its bytes.

    Nobody here wants one, but to drop it is to close it, and the last close of a TCP socket with SO_LINGER and unsent data blocks:
    a function could halt the whole event loop for as long as it liked. Before Linux 6.16 this is not there, and the seccomp filter
    denies SO_LINGER instead.
    """
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


class _Failure(Struct):
    type: str = "Error"
    message: str = ""
    file: str = ""
    line: int = 0
    trace: tuple[str, ...] = ()
    payload: str = ""  # see `model.call.FunctionError`


class _Refusal(Struct):
    message: str = ""


_decode_head = msgspec.json.Decoder(ResponseHead).decode
_decode_error = msgspec.json.Decoder(FunctionError).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode
_decode_ready = msgspec.json.Decoder(Ready).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode


class ChannelEvents(Protocol):
    def on_ready(self, ready: Ready) -> None: ...

    def on_failed(self, error: DayflyError) -> None:
        """User code could not be loaded, or ended its process (InstanceDied); the instance is ending."""

    def on_broken(self, violation: str) -> None:
        """The connection is gone. `violation` tells what the instance did wrong; empty if it just closed."""


class Channel(asyncio.Protocol):
    """One connection to one instance."""

    __slots__ = (
        "_closed",
        "_drained",
        "_early",
        "_events",
        "_failed",
        "_next",
        "_outlet",
        "_parser",
        "_ready",
        "_serial",
        "_streams",
        "_transport",
        "full",
    )

    def __init__(self, events: ChannelEvents, *, serial: bool = False) -> None:
        """`serial`: calls are answered in the order in which they were made."""
        self._events = events
        self._serial = serial
        self._parser = Parser()
        self._streams: dict[int, tuple[Sink, bool]] = {}  # number -> (sink, whether RESPONSE has come)
        self._transport: asyncio.Transport | None = None
        self._outlet: Outlet | None = None
        self._early: list[bytes] = []
        self._drained: list[Callable[[], None]] = []
        self._next = 0
        self._closed = False
        self._failed: DayflyError | None = None
        self._ready = False
        self.full = False

    async def connect(self, path: str) -> None:
        """Connect to the instance's socket. If that fails, `on_broken` is called."""
        loop = asyncio.get_running_loop()
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            refuse_descriptors(link)
            with reachable(Path(path)) as address:
                await loop.sock_connect(link, address)
            await loop.create_unix_connection(lambda: self, sock=link)
        except OSError as error:
            link.close()
            self._break(f"its socket cannot be reached: {error.strerror}")

    # --- the box's side ---------------------------------------------------------------------------------------

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        """Begin a call; its stream number."""
        self._next = stream = self._next + 1 if self._next < 0xFFFF_FFFF else 1
        if self._closed:
            sink.on_lost(InstanceDied("the instance is gone"))
            return stream
        self._streams[stream] = (sink, False)
        data = frames.encode_call(stream, head, body, end)
        if self._outlet is not None:
            self._outlet.write(data)
        else:
            self._early.append(data)
        return stream

    def send(self, stream: int, data: bytes, end: bool) -> None:
        if stream in self._streams:
            self._write(frames.encode_data(stream, data, end))

    def cancel(self, stream: int) -> None:
        if stream in self._streams:
            self._write(frames.encode(frames.CANCEL, stream))

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once the instance has taken what is waiting for it; only while `full`."""
        self._drained.append(callback)

    def hold(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.pause_reading()

    def release(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.resume_reading()

    def close(self, error: DayflyError | None = None) -> None:
        """Drop the connection; open calls end with `error`. Nothing is reported to the events."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
        self._lose(error or InstanceDied("the instance was stopped"))

    def stop(self, reason: str) -> None:
        """Ask the instance to end in order."""
        self._write(frames.encode(frames.STOP, 0, b'{"reason":"%b"}' % reason.encode()))

    @property
    def busy(self) -> bool:
        """Whether a call is open."""
        return bool(self._streams)

    @property
    def open(self) -> bool:
        """Whether the connection stands."""
        return self._transport is not None and not self._closed

    def lose(self, error: DayflyError) -> None:
        """End all open calls with this error: the owner knows better than the closed socket what happened."""
        self._lose(error)

    def _write(self, data: bytes) -> None:
        if self._outlet is not None:
            self._outlet.write(data)
        else:
            self._early.append(data)

    # --- asyncio's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's own class is no asyncio.Transport
        if self._closed:
            stream.abort()
            return
        self._transport = stream
        self._outlet = Outlet(stream)
        stream.set_write_buffer_limits(high=WRITE_HIGH)
        if self._early:
            stream.write(b"".join(self._early))
            self._early.clear()

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._parser.answer(data)
            if answer is not None:
                self._response(*answer, True)
                return
            received = self._parser.feed(data)
            at, count = 0, len(received)
            while at < count:
                kind, stream, payload = received[at]
                at += 1
                if kind == RESPONSE and at < count and received[at][0] == DATA | END and received[at][1] == stream:
                    # Head and whole body came together and leave together.
                    self._response(stream, payload, received[at][2], True)
                    at += 1
                else:
                    self._frame(kind, stream, payload)
        except (ProtocolViolation, msgspec.DecodeError, RecursionError) as error:  # the last: nested beyond all reason
            self._break(str(error))

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        waiting, self._drained = self._drained, []
        for callback in waiting:
            callback()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._break("")

    # --- frames -------------------------------------------------------------------------------------------------

    def _frame(self, kind: int, stream: int, payload: bytes) -> None:
        end = kind & END != 0
        plain = kind & 0x7F
        if plain == DATA:
            sink, responded = self._open(stream)
            if not responded:
                raise ProtocolViolation("a body came before its head")
            if end:
                del self._streams[stream]
            sink.on_data(payload, end)
        elif plain == RESPONSE:
            self._response(stream, payload, b"", end)
        elif plain == ERROR:
            error = _decode_error(payload)
            sink, _ = self._open(stream)
            del self._streams[stream]
            sink.on_error(error)
        elif plain == REFUSED:
            refusal = _decode_refusal(payload)
            sink, _ = self._open(stream)
            del self._streams[stream]
            sink.on_lost(
                BadResponse(refusal.message, hint="Return JSON, text, bytes or a response with status, headers and body.")
            )
        elif stream != 0:
            raise ProtocolViolation(f"frame kind {plain} belongs to stream 0")
        elif plain == READY:
            self._ready = True
            self._events.on_ready(_decode_ready(payload))
        elif plain == FAILED:
            failure = _decode_failure(payload)
            place = f" ({failure.file}, line {failure.line})" if failure.file else ""
            made: type[DayflyError] = InitFailed
            hint = "The function's code raised while it was being loaded. Fix it and deploy again."
            if self._ready:
                made = InstanceDied
                hint = "Something within the function's process ended it. Its log may say more."
            self._failed = made(
                f"{failure.type}: {failure.message}{place}"[:8192],
                hint=hint,
                error_type=failure.type[:256],
                file=failure.file[:1024],
                line=failure.line,
                trace=failure.trace[:50],
            )
            if 0 < len(failure.payload) <= FAILURE_PAYLOAD:
                self._failed.members["payload"] = failure.payload
            self._events.on_failed(self._failed)
            self._lose(self._failed)

    def _open(self, stream: int) -> tuple[Sink, bool]:
        found = self._streams.get(stream)
        if found is None:
            raise ProtocolViolation(f"stream {stream} is not open")
        if self._serial and stream != next(iter(self._streams)):
            raise ProtocolViolation(f"stream {stream} is answered before its turn")
        return found

    def _response(self, stream: int, payload: bytes, body: bytes, end: bool) -> None:
        sink, responded = self._open(stream)
        if responded:
            raise ProtocolViolation("a second answer to one call")
        head = _decode_head(payload)
        if not 200 <= head.status <= 599:
            raise ProtocolViolation(f"status {head.status} is not between 200 and 599")
        if head.headers:
            head = ResponseHead(head.status, check_headers(head.headers), head.cpu_us, head.rss_kb, head.log)
        if end:
            del self._streams[stream]
        else:
            self._streams[stream] = (sink, True)
        sink.on_response(head, body, end)

    def _break(self, violation: str) -> None:
        if self._closed:
            return
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
        self._events.on_broken(violation)

    def _lose(self, error: DayflyError) -> None:
        self._closed = True
        streams, self._streams = self._streams, {}
        for sink, _ in streams.values():
            sink.on_lost(error)


def check_headers(headers: Headers) -> Headers:
    """A function's response headers, lower-cased, without those that belong to the connection or the platform.

    Raises ProtocolViolation on a name or value that HTTP does not allow: it could split the response.
    """
    if len(headers) > MAX_HEADERS:
        raise ProtocolViolation(f"{len(headers)} response headers are more than {MAX_HEADERS}")
    checked = []
    for name, value in headers:
        if not _TOKEN.match(name) or _UNPRINTABLE.search(value):
            raise ProtocolViolation(f"the response header {name[:64]!r} is not allowed by HTTP")
        lower = name.lower()
        if lower not in _OURS and not lower.startswith("dayfly-"):
            checked.append((lower, value.strip(" \t")))
    return tuple(checked)
