"""The frame protocol between the gateway and an instance, gateway side.

One Unix stream socket an instance. The instance listens (the node made the socket and the instance inherited it), the gateway
connects; after a restart of the gateway it connects again. All integers are little-endian.

    0  u32  length of the payload, at most MAX_PAYLOAD
    4  u32  stream: 0 is the connection itself, calls count up from 1
    8  u8   kind, plus 0x80 if the frame ends its stream in this direction
    9  ...  payload

    kind          from      payload
    1 REQUEST     gateway   JSON head of a call: {"id", "deadline", "http"?, "attempt"?, "cause"?, "depth"?, "trace"?, "client"?}
                            id: invocation; deadline: seconds since the epoch;
                            http: {"method", "path", "query", "headers": [[name, value], ...]}
    2 DATA        both      bytes of a body. An event's body is its JSON, unparsed
    3 RESPONSE    instance  JSON head of an answer: {"status"?, "headers"?: [[name, value], ...], "cpu_us"?, "rss_kb"?}
                            {} is short for status 200, content-type application/json
    4 ERROR       instance  JSON {"type", "message", "trace": [text, ...]}: user code raised; ends the stream
    5 CANCEL      gateway   empty: stop this call
    6 READY       instance  stream 0, JSON {"init_s", "stop_s"?, "freezes"?, "ahead"?}: user code is loaded. First frame on every connection
                            stop_s: seconds it needs to end in order; freezes: it stands still by itself while it is idle
    7 FAILED      instance  stream 0, JSON {"type", "message", "file"?, "line"?, "trace"}: loading failed; the instance ends
    8 REFUSED     instance  JSON {"message"}: the answer breaks the contract (not JSON, too large...); ends the stream
    9 STOP        gateway   stream 0, JSON {"reason": "spindown" | "timeout"}: end in order; it is killed after its stop_s

The gateway may send calls before READY has come. A body is one or more DATA frames, the last with the end bit; a call without
body sets the end bit on REQUEST. An answer is RESPONSE, then DATA up to the end bit (RESPONSE itself may carry it).
An instance of concurrency 1 runs one call at a time and reads nothing else while it runs. It gets as many more as it said in READY
that it takes ahead, by default none, and answers all in the order in which they came.

Everything an instance sends is hostile until checked here: a frame that is too long, of unknown kind, for a stream that is not
open, out of order or unreadable raises ProtocolViolation, which kills that instance alone.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct("<IIB")
HEADER_SIZE: Final = HEADER.size  # 9 bytes
MAX_PAYLOAD: Final = 1 << 20  # bytes; larger bodies are several DATA frames
MAX_HEAD: Final = 256 << 10  # bytes of a RESPONSE, ERROR, READY or FAILED payload
CHUNK: Final = 256 << 10  # bytes of a DATA frame that we send

REQUEST: Final = 1
DATA: Final = 2
RESPONSE: Final = 3
ERROR: Final = 4
CANCEL: Final = 5
READY: Final = 6
FAILED: Final = 7
REFUSED: Final = 8
STOP: Final = 9
END: Final = 0x80

_FROM_INSTANCE: Final = frozenset((DATA, RESPONSE, ERROR, READY, FAILED, REFUSED))

_pack = HEADER.pack
_unpack = HEADER.unpack_from


class ProtocolViolation(Exception):
    """An instance sent what the protocol does not allow."""


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame. The payload must be at most MAX_PAYLOAD."""
    return _pack(len(payload), stream, kind) + payload


def encode_call(stream: int, head: bytes, body: bytes, end: bool) -> bytes:
    """REQUEST and as much of the body as there is, as one write."""
    if not body:
        return _pack(len(head), stream, REQUEST | END if end else REQUEST) + head
    if len(body) <= CHUNK:
        return b"".join((_pack(len(head), stream, REQUEST), head, _pack(len(body), stream, DATA | END if end else DATA), body))
    return _pack(len(head), stream, REQUEST) + head + encode_data(stream, body, end)


def encode_data(stream: int, body: bytes, end: bool) -> bytes:
    """A body in frames of at most CHUNK bytes."""
    if len(body) <= CHUNK:
        return _pack(len(body), stream, DATA | END if end else DATA) + body
    parts: list[bytes | memoryview] = []
    view = memoryview(body)
    for at in range(0, len(body), CHUNK):
        piece = view[at : at + CHUNK]
        last = at + CHUNK >= len(body)
        parts.append(_pack(len(piece), stream, DATA | END if end and last else DATA))
        parts.append(piece)
    return b"".join(parts)


class Parser:
    """Cuts a byte stream into frames. Keeps at most one frame of MAX_PAYLOAD bytes."""

    def __init__(self) -> None:
        self._buffer = b""

    def answer(self, data: bytes) -> tuple[int, bytes, bytes] | None:
        """Stream, head and body of an answer that came all at once and alone, which is how most come; None: feed it."""
        if self._buffer or len(data) < 2 * HEADER_SIZE:
            return None
        length, stream, kind = _unpack(data, 0)
        at = HEADER_SIZE + length
        start = at + HEADER_SIZE
        if kind != RESPONSE or length > MAX_HEAD or start > len(data):
            return None
        size, following, kind = _unpack(data, at)
        if kind != DATA | END or following != stream or size > MAX_PAYLOAD or start + size != len(data):
            return None
        return stream, data[HEADER_SIZE:at], data[start:]

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """All complete frames as (kind with end bit, stream, payload).

        Raises ProtocolViolation on a length over the limit or an unknown kind.
        """
        buffer = self._buffer + data if self._buffer else data
        frames = []
        at = 0
        size = len(buffer)
        while size - at >= HEADER_SIZE:
            length, stream, kind = _unpack(buffer, at)
            plain = kind & 0x7F
            if length > MAX_PAYLOAD or (plain != DATA and length > MAX_HEAD):
                raise ProtocolViolation(f"a frame of {length} bytes is over the limit")
            if plain not in _FROM_INSTANCE:
                raise ProtocolViolation(f"frame kind {plain} is not one an instance may send")
            start = at + HEADER_SIZE
            end = start + length
            if end > size:
                break
            frames.append((kind, stream, buffer[start:end]))
            at = end
        self._buffer = buffer[at:] if at else buffer
        return frames
