"""The instance's end of the frame protocol (see `sandbox/frames.py` for the wire format).

A `Connection` reads into one buffer that is made once, and cuts frames out of it: a small call costs one `recv` and its answer
one `send`. The gateway is trusted; what it sends is not checked again here.

It waits in `poll`, not in `recv`: the kernel wakes whoever sleeps in a Unix socket's `recv` for room to write as well, so that the
gateway's taking of an answer would wake the instance that has just gone to sleep, each time, for nothing.
"""

from __future__ import annotations

import json
import select
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = struct.Struct("<IIB")
HEADER_SIZE = HEADER.size
BUFFER = 64 << 10  # bytes; larger frames get a larger buffer for as long as they last
CHUNK = 256 << 10  # bytes of a DATA frame that we send

REQUEST = 1
DATA = 2
RESPONSE = 3
ERROR = 4
CANCEL = 5
READY = 6
FAILED = 7
REFUSED = 8
STOP = 9
END = 0x80

_pack = HEADER.pack
_unpack_from = HEADER.unpack_from
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def loads(head: bytes) -> dict[str, Any]:
    """The head of a call. The gateway writes its JSON without space around it."""
    return _scan(head.decode("utf-8"), 0)[0]  # type: ignore[no-any-return]


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _pack(len(payload), stream, kind) + payload


class Connection:
    """One connection with the gateway. Not safe for several readers; `send` is one write and needs a lock of the caller's
    if several threads send."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.open = True
        self._recv_into = sock.recv_into
        waiting = select.poll()
        waiting.register(sock, select.POLLIN)
        self._poll = waiting.poll
        self._sendall = sock.sendall
        self._reset(BUFFER)

    def _reset(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._at = 0
        self._end = 0

    def fill(self) -> bool:
        """Receive once. False when the gateway has gone."""
        at, end = self._at, self._end
        if at == end:
            if len(self._buffer) > BUFFER:
                self._reset(BUFFER)
            self._at = self._end = end = 0
        else:
            rest = bytes(self._view[at:end])
            size = len(self._buffer)
            if len(rest) >= HEADER_SIZE:
                size = max(BUFFER, HEADER_SIZE + _unpack_from(rest, 0)[0])
            if size != len(self._buffer):
                self._reset(size)
            self._view[: len(rest)] = rest
            self._at = 0
            self._end = end = len(rest)
        try:
            self._poll()
            count = self._recv_into(self._view[end:] if end else self._view)
        except OSError:
            count = 0
        self._end = end + count
        if not count:
            self.open = False
        return count > 0

    def take(self) -> tuple[int, int, bytes] | None:
        """The next frame that has arrived in full, as (kind with end bit, stream, payload), or None."""
        start = self._at + HEADER_SIZE
        if start > self._end:
            return None
        length, stream, kind = _unpack_from(self._buffer, self._at)
        stop = start + length
        if stop > self._end:
            return None
        self._at = stop
        return kind, stream, bytes(self._view[start:stop])

    def frame(self) -> tuple[int, int, bytes] | None:
        """Wait for the next frame. None when the gateway has gone."""
        while True:
            start = self._at + HEADER_SIZE
            if start <= self._end:  # as in `take`, which a call would cost more than its work
                length, stream, kind = _unpack_from(self._buffer, self._at)
                stop = start + length
                if stop <= self._end:
                    self._at = stop
                    return kind, stream, bytes(self._view[start:stop])
            if not self.fill():
                return None

    def send(self, data: bytes) -> None:
        """Write all of it. A gateway that has gone is noticed by the reader, not here."""
        try:
            self._sendall(data)
        except OSError:
            self.open = False

    def send_answer(self, stream: int, head: bytes, body: bytes) -> None:
        """A whole answer: one write, unless the body is longer than a frame."""
        if len(body) <= CHUNK:
            if body:
                self.send(b"".join((_pack(len(head), stream, RESPONSE), head, _pack(len(body), stream, DATA | END), body)))
            else:
                self.send(_pack(len(head), stream, RESPONSE | END) + head)
            return
        self.send(_pack(len(head), stream, RESPONSE) + head)
        self.send_data(stream, body, True)

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Body in frames of at most CHUNK bytes."""
        size = len(data)
        if size <= CHUNK:
            self.send(_pack(size, stream, DATA | END if end else DATA) + data)
            return
        view = memoryview(data)
        for at in range(0, size, CHUNK):
            piece = view[at : at + CHUNK]
            last = end and at + CHUNK >= size
            self.send(b"".join((_pack(len(piece), stream, DATA | END if last else DATA), piece)))

    def close(self) -> None:
        self.open = False
        try:
            self.sock.close()
        except OSError:
            pass
