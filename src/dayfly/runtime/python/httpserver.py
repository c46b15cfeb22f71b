"""As much of an HTTP/1.1 server as a Runtime API takes: one thread a connection, connections are kept.

The client is user code: heads and bodies are bounded, and what is malformed closes its connection.
"""

from __future__ import annotations

import json
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Dict, List, Sequence, Tuple

HEAD_LIMIT = 64 << 10  # bytes
PIECE = 64 << 10  # bytes received at a time
PRELUDE = "application/vnd.awslambda.http-integration-response"  # JSON of status and headers, 8 NULs, then the body


class Malformed(Exception):
    """The client does not speak HTTP."""


def accept(server: socket.socket, answer: Callable[[Exchange], None]) -> None:
    """Serve every connection in a thread of its own."""
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(sock, answer), daemon=True).start()


def _serve(sock: socket.socket, answer: Callable[[Exchange], None]) -> None:
    buffer = b""
    try:
        while True:
            while b"\r\n\r\n" not in buffer:
                if len(buffer) > HEAD_LIMIT:
                    raise Malformed
                data = sock.recv(PIECE)
                if not data:
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            exchange = Exchange(sock, head, buffer)
            answer(exchange)
            buffer = exchange.rest()
            if exchange.headers.get("connection", "").lower() == "close":
                return
    except (Malformed, OSError, ValueError):
        pass
    finally:
        sock.close()


class Exchange:
    """One request, and the way to answer it."""

    def __init__(self, sock: socket.socket, head: bytes, buffer: bytes) -> None:
        self._sock = sock
        self._buffer = buffer
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3:
            raise Malformed
        self.method, target, _ = words
        self.path = target.partition("?")[0]
        self.headers: Dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed
            self.headers[name.lower()] = value.strip()
        self.trailers: Dict[str, str] = {}
        self._done = "transfer-encoding" not in self.headers and int(self.headers.get("content-length", "0")) == 0
        if self.headers.get("expect", "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self._done:
            return
        if "transfer-encoding" in self.headers:
            while True:
                left = int(self._line().partition(b";")[0], 16)
                if left == 0:
                    break
                yield from self._sized(left)
                self._line()
            while True:
                line = self._line()
                if not line:
                    break
                name, _, value = line.decode("latin-1").partition(":")
                self.trailers[name.strip().lower()] = value.strip()
        else:
            yield from self._sized(int(self.headers["content-length"]))
        self._done = True

    def body(self, limit: int = 1 << 20) -> bytes:
        """All of it; one byte more than `limit` at most, the rest is read and dropped."""
        parts: List[bytes] = []
        size = 0
        for piece in self.pieces():
            if size <= limit:
                parts.append(piece)
            size += len(piece)
        return b"".join(parts)[: limit + 1]

    def rest(self) -> bytes:
        """What came after this request, its body read to the end."""
        for _ in self.pieces():
            pass
        return self._buffer

    def reply(self, status: int, body: bytes, headers: Sequence[Tuple[str, str]] = (), kind: str = "application/json") -> None:
        lines = ["HTTP/1.1 %d %s" % (status, "Accepted" if status == 202 else "OK"), "Content-Type: " + kind]
        lines += ["Content-Length: %d" % len(body)]
        lines += ["%s: %s" % (name, value.replace("\r", " ").replace("\n", " ")) for name, value in headers]
        self._sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + body)

    def refuse(self, status: int, kind: str, message: str) -> None:
        self.reply(status, json.dumps({"errorMessage": message, "errorType": kind}).encode())

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            if not self._buffer:
                self._more()
            piece, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(piece)
            yield piece

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_LIMIT:
                raise Malformed
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self._sock.recv(PIECE)
        if not data:
            raise Malformed
        self._buffer += data


def prelude(pieces: Iterator[bytes]) -> Tuple[Dict[str, Any], bytes]:
    """Status and headers of an HTTP response that streams, and what of its body came along."""
    data = b""
    for piece in pieces:
        data += piece
        if b"\0" * 8 in data or len(data) > HEAD_LIMIT:
            break
    text, _, first = data.partition(b"\0" * 8)
    told = json.loads(text or b"{}")
    headers = [[name.lower(), str(value)] for name, value in (told.get("headers") or {}).items()]
    if not any(name == "content-type" for name, _ in headers):
        headers.append(["content-type", "application/octet-stream"])
    headers += [["set-cookie", str(cookie)] for cookie in told.get("cookies") or ()]
    return {"status": int(told.get("statusCode", 200)), "headers": headers}, first
