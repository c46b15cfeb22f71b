"""As much of an HTTP/1.1 client as it takes to speak with a server on the loopback interface of the same sandbox.

Bodies pass in pieces, in both directions. The server is user code: heads are bounded, and what is malformed raises BadServer.
"""

from __future__ import annotations

import re
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_LIMIT = 64 << 10  # bytes of status line and headers
HEADERS = 200  # of one answer
PIECE = 64 << 10  # bytes received at a time
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)


class BadServer(Exception):
    """The server did not answer as HTTP asks."""


class Response:
    """Head of an answer; `pieces` is its body as it comes."""

    def __init__(self, status: int, headers: list[tuple[str, str]], pieces: Iterator[bytes]) -> None:
        self.status = status
        self.headers = headers  # names in lower case, hop-by-hop headers and content-length left out
        self.pieces = pieces


class Client:
    """One connection. `reusable` tells whether another request may follow."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reusable = True
        self._buffer = b""

    def alive(self) -> bool:
        """Whether the server still keeps this idle connection open."""
        if not self.reusable:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # closed, or it speaks without being asked

    def close(self) -> None:
        self.reusable = False
        self.sock.close()

    def abort(self) -> None:
        """Break off from another thread; whoever reads or writes gets an error."""
        self.reusable = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        """Write a request whose body is complete, or the head of one whose pieces follow."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines.extend(f"{name}: {value}" for name, value in headers)
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body)

    def send_chunk(self, data: bytes) -> None:
        """One chunk of a chunked body; the empty one ends it."""
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def response(self, method: str) -> Response:
        """Wait for the head of the answer. Raises BadServer."""
        while True:
            status, version, headers = self._head()
            if status >= 200:
                break
            if status == 101:
                raise BadServer("it switched protocols, which nobody asked for")
        values = {name: value.strip().lower() for name, value in headers}
        tokens = [token.strip() for token in values.get("connection", "").split(",")]
        if "close" in tokens or (version == "HTTP/1.0" and "keep-alive" not in tokens):
            self.reusable = False
        if method == "HEAD" or status in (204, 304):
            pieces = iter(())  # type: Iterator[bytes]
        elif "transfer-encoding" in values:
            if values["transfer-encoding"] != "chunked":
                raise BadServer(f"it answered with the unknown transfer-encoding {values['transfer-encoding']!r:.80}")
            pieces = self._chunks()
        elif "content-length" in values:
            if not values["content-length"].isdigit():
                raise BadServer(f"it answered with the content-length {values['content-length']!r:.80}")
            pieces = self._sized(int(values["content-length"]))
        else:
            self.reusable = False
            pieces = self._until_closed()
        dropped = HOP_BY_HOP.union(tokens, ("content-length",))
        return Response(status, [pair for pair in headers if pair[0] not in dropped], pieces)

    def _more(self) -> None:
        data = self.sock.recv(PIECE)
        if not data:
            raise BadServer("it closed the connection in the middle of its answer")
        self._buffer += data

    def _head(self) -> tuple[int, str, list[tuple[str, str]]]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_LIMIT:
                raise BadServer(f"the headers of its answer are longer than {HEAD_LIMIT} bytes")
            data = self.sock.recv(PIECE)
            if not data:
                what = "in the middle of its headers" if self._buffer else "without an answer"
                raise BadServer(f"it closed the connection {what}")
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        version, _, tail = first.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not tail[:3].isdigit() or not 100 <= int(tail[:3]) <= 599:
            raise BadServer(f"its answer begins with {first!r:.80}, which is not HTTP/1.1")
        if len(rest) > HEADERS:
            raise BadServer(f"its answer has {len(rest)} headers; at most {HEADERS} are allowed")
        headers = []
        for line in rest:
            name, colon, value = line.partition(":")
            if not colon or not _TOKEN.match(name) or _UNPRINTABLE.search(value):
                raise BadServer(f"its answer has the malformed header {line!r:.80}")
            headers.append((name.lower(), value.strip()))
        return int(tail[:3]), version, headers

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
                raise BadServer("a chunk of its answer has an endless head")
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = self._line().partition(b";")[0].strip()
            try:
                length = int(size, 16) if size.isalnum() and len(size) <= 16 else -1
            except ValueError:
                length = -1
            if length < 0:
                raise BadServer(f"a chunk of its answer has the size {size!r:.40}")
            if length == 0:
                while self._line():  # trailers
                    pass
                return
            yield from self._sized(length)
            if self._line():
                raise BadServer("a chunk of its answer is longer than it said")

    def _until_closed(self) -> Iterator[bytes]:
        if self._buffer:
            yield self._buffer
            self._buffer = b""
        while True:
            data = self.sock.recv(PIECE)
            if not data:
                return
            yield data
