"""The API client of the command line: one connection, kept alive, over TCP, TLS or a Unix socket.

Built on `http.client`, because a command that runs for 50 ms should not spend 70 of them importing an HTTP library.
An answer of the server that is a problem document is raised as `errors.Problem`; an answer that is not Dayfly's at all, or
none, as `errors.Unreachable`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from .errors import Failure, Problem, Unreachable

CONNECT_TIMEOUT = 5.0  # seconds
API_TIMEOUT = 60.0  # seconds without a byte of an answer
ANSWER_LIMIT = 64 << 20  # bytes of a JSON answer
CHUNK = 1 << 16
PAGE = 1000  # items the server gives at most at once
LOOPBACK = ("127.", "localhost", "::1")

Body = bytes | Iterable[bytes] | None
Query = Mapping[str, object]


class Answer:
    """An answer whose body has not been read yet. Use it as a context manager: leaving it frees the connection."""

    def __init__(self, raw: http.client.HTTPResponse, client: Client) -> None:
        self._raw = raw
        self._client = client
        self.status = raw.status
        self.headers = raw.headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not self._raw.isclosed():  # an unread rest would be taken for the next answer
            self._client.close()

    @property
    def media(self) -> str:
        return str(self.headers.get_content_type()) if "content-type" in self.headers else ""

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, each as soon as it has come."""
        with self._client.reaching():
            while piece := self._raw.read1(CHUNK):
                yield piece
            if self._raw.length:  # read1 does not notice an answer that stops short
                raise http.client.IncompleteRead(b"", self._raw.length)

    def read(self, limit: int = ANSWER_LIMIT) -> bytes:
        with self._client.reaching():
            body = self._raw.read(limit + 1)
        if len(body) > limit:
            raise Unreachable(f"The answer is larger than {limit >> 20} MiB.", hint="Ask for less with --limit or --since.")
        return body

    def json(self) -> Any:
        body = self.read()
        if not body:
            return None
        try:
            return json.loads(body)
        except ValueError:
            raise self.foreign() from None

    def foreign(self) -> Unreachable:
        what = f"HTTP {self.status} {self.media}".strip()
        return Unreachable(
            f"What answers at {self._client.url} is not Dayfly ({what}).",
            hint="Another program may have that port. Name the server with --url or DAYFLY_URL, "
            "or start one elsewhere: dayfly up --port 8001",
        )

    def problem(self) -> Problem | Unreachable:
        """The error this answer is."""
        if self.media not in ("application/problem+json", "application/json"):
            return self.foreign()
        document = self.json()
        return Problem(self.status, document) if isinstance(document, dict) else self.foreign()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CONNECT_TIMEOUT)
        self.sock.connect(self._path)


class Client:
    """Talks to one server. `url` is http://host:port, https://host:port or unix:/path/of/socket."""

    def __init__(self, url: str, *, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._headers = {"user-agent": "dayfly-cli", "accept": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._connection, self._prefix = _connection(self.url)

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        """Break off what another thread is reading: it gets Unreachable."""
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def open(
        self,
        method: str,
        path: str,
        *,
        body: Body = None,
        query: Query | None = None,
        headers: Iterable[tuple[str, str]] = (),
        timeout: float | None = API_TIMEOUT,
    ) -> Answer:
        """Send a request and return the head of the answer, whatever its status. `timeout` in seconds between two bytes;
        None waits for ever, for streams."""
        given = {name: value for name, value in (query or {}).items() if value}  # empty: the server's default
        target = self._prefix + path + (f"?{urlencode(given)}" if given else "")
        reused = self._connection.sock is not None
        with self.reaching():
            try:
                return self._send(method, target, body, headers, timeout)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # The server closes what has been idle for long. Only what may safely be done twice is repeated.
                if not reused or method == "POST":
                    raise
                self.close()
                return self._send(method, target, body, headers, timeout)

    def _send(self, method: str, target: str, body: Body, headers: Iterable[tuple[str, str]], timeout: float | None) -> Answer:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(timeout)
        given = list(headers)
        names = {name.lower() for name, _ in given}
        connection.putrequest(method, target, skip_accept_encoding=True, skip_host="host" in names)
        for name, value in (*((n, v) for n, v in self._headers.items() if n not in names), *given):
            connection.putheader(name, value)
        if isinstance(body, bytes) or (body is None and method in ("POST", "PUT", "PATCH")):
            connection.putheader("content-length", str(len(body or b"")))
            connection.endheaders(body or None)
        elif body is None:
            connection.endheaders()
        else:
            connection.putheader("transfer-encoding", "chunked")
            connection.endheaders(body, encode_chunked=True)
        return Answer(connection.getresponse(), self)

    @contextlib.contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what the network does into an error that teaches."""
        try:
            yield
        except (ConnectionRefusedError, FileNotFoundError, socket.gaierror) as error:
            self.close()
            raise Unreachable(f"Cannot reach Dayfly at {self.url} ({reason(error)}).", hint=self._start_hint()) from None
        except TimeoutError:
            self.close()
            raise Unreachable(
                f"Dayfly at {self.url} does not answer in time.", hint="Look at its log, or ask it: dayfly status"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(
                f"The connection to Dayfly at {self.url} broke ({reason(error)}).",
                hint="The server may have stopped. See: dayfly status",
            ) from None

    def _start_hint(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "unix" or (parts.hostname or "").startswith(LOOPBACK):
            port = parts.port or 8000
            return "Start it with: dayfly up" + (f" --port {port}" if port != 8000 else "")
        return "Check the address given by --url or DAYFLY_URL, and that the server listens there."

    def request(self, method: str, path: str, *, send: object = None, **options: Any) -> Any:
        """Send JSON (or, given `body`, bytes) and return the decoded answer. Raises Problem for a status of 400 or above."""
        if send is not None:
            options["body"] = json.dumps(send).encode()
            options["headers"] = (*options.get("headers", ()), ("content-type", "application/json"))
        with self.open(method, path, **options) as answer:
            if answer.status >= 400:
                raise answer.problem()
            return answer.json()

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.request("GET", path, query=query)

    def items(self, path: str, query: Query | None = None, *, limit: int = 0) -> Iterator[Any]:
        """All items of a list, page after page; at most `limit`, if one is given."""
        asked = dict(query or {})
        left = limit or None
        while True:
            page = self.get(path, {**asked, "limit": min(left or 0, PAGE)})
            found = page["items"] if isinstance(page, dict) and isinstance(page.get("items"), list) else []
            yield from found[:left]
            if left is not None:
                left -= len(found)
            if not found or not page.get("cursor") or (left is not None and left <= 0):
                return
            asked["cursor"] = page["cursor"]


def segment(text: str) -> str:
    """A name as one segment of a path. Raises Failure for an empty one."""
    if not text:
        raise Failure("A name is empty.", hint="Is the variable set that should hold it?")
    return quote(text, safe="@")


def reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise click.UsageError(f"{url!r} is not an address: {error}") from None
    if parts.scheme == "unix" and parts.path:
        return _UnixConnection(parts.path), ""
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise click.UsageError(f"{url!r} is not an address. It looks like http://127.0.0.1:8000 or unix:/run/dayfly.sock")
    return kinds[parts.scheme](parts.hostname, port, timeout=CONNECT_TIMEOUT), parts.path
