"""The HTTP protocol of a connection, installed as uvicorn's own: calls of functions leave it by the fast lane.

uvicorn's httptools protocol parses; at the end of a request's head this class decides. A route that a dialect marks as fast becomes an
`Exchange`: from there to the instance and back there are only callbacks, no task, no ASGI scope, no future. Everything else goes on
as uvicorn has it (the wide lane). Requests pipelined behind a fast one wait for their turn; a connection that mixes lanes while an
answer is under way is closed after that answer, so that answers can never be taken for each other's.

Clients that keep a connection mostly send the same head over and over, with another body. A request that repeats the last head of
its connection byte for byte, and is all there, is not parsed again (`_Known`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..dialects.hook import Head, Reply
from ..errors import BadInput, DayflyError, TooLarge
from ..outlet import Outlet
from .edge import Edge, Match, WrongMethod, problem
from .exchange import Exchange, bad_request

LINGER: Final = 2.0  # seconds
KNOWN_LIMIT: Final = 4096  # bytes of a head that is remembered


class HeaderFieldsTooLarge(TooLarge):
    """The head of the request is over its limit"""

    status = 431
    kind = "header-fields-too-large"


class _Known:
    """A head that came on this connection, and what it says. A head decides by itself how it is parsed, so the same bytes at the
    start of a message mean the same."""

    __slots__ = ("head", "headers", "identity", "match", "raw", "size")

    def __init__(self, raw: bytes, size: int, head: Head, headers: list[tuple[bytes, bytes]], match: Match) -> None:
        self.raw = raw
        self.size = size  # bytes of the whole request
        self.head = head
        self.headers = headers  # as they came: authentication takes some from `head`
        self.identity = head.identity
        self.match = match


class EdgeProtocol(HttpToolsProtocol):
    """One connection. `edge` is set on a subclass, one a listener: uvicorn makes the objects itself."""

    edge: ClassVar[Edge]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened = self.gone = False
        self.peer = ""  # as whose it counts
        self._exchanges: deque[Exchange] = deque()  # in order of arrival; the first is the one that writes
        self._receiving: Exchange | None = None
        self._wide = False  # the request being received is on the wide lane
        self._in_head = False  # a request's head is being received
        self._between = True  # every request that has begun is here whole
        self._known: _Known | None = None
        self._plain: tuple[int, Head, list[tuple[bytes, bytes]], Match] | None = None  # may become known, when it is whole
        self._blocked_since: float | None = None  # loop time since when the client takes nothing
        self._closing = False  # nothing more is accepted on this connection
        self._header_bytes = 0
        self._refusal: DayflyError | None = None
        self._since = 0.0  # loop time of the last progress of the client
        self._began = 0.0  # loop time when the head, then the body of the request began
        self._came = 0  # bytes of the body since then
        self._ending = 0.0  # loop time when it was first seen that the connection only waits for the client to take the rest
        self._date_source: object = None
        self._date = ""

    @property
    def date(self) -> str:
        """The date header, made by uvicorn once a second."""
        source = self.server_state.default_headers
        if source is not self._date_source:
            self._date_source = source
            self._date = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in source)
        return self._date

    # --- connection --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.opened = True
        self.write = Outlet(transport).write  # type: ignore[arg-type]  # uvloop's own class is no asyncio.Transport
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.edge.connections.leave(self.peer, self)
        super().connection_lost(exc)
        for exchange in self._exchanges:
            exchange.client_gone()
        self._exchanges.clear()

    @property
    def idle_since(self) -> float | None:
        """Loop time since when it waits for a request; None while anything is under way on it."""
        return self._since if self.opened and not self.gone and self._quiet() else None

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._since = self.loop.time()
        known = self._known
        if known is not None and len(data) == known.size and data.startswith(known.raw) and self._quiet():
            if self.timeout_keep_alive_task is not None:
                self._unset_keepalive_if_required()
            self._repeat(known, data)
            return
        alone = self._between
        super().data_received(data)
        if alone and self._plain is not None:
            self._remember(data, *self._plain)

    def _quiet(self) -> bool:
        """Whether no request and no answer is under way."""
        return self._between and not self._exchanges and (self.cycle is None or self.cycle.response_complete)

    def _repeat(self, known: _Known, data: bytes) -> None:
        known.head.headers = known.headers
        exchange = Exchange(self, known.head, known.match, True, "1.1")
        if not self.edge.asks_login:  # then only the head and the connection say who it is
            exchange.identity = known.identity
        exchange.current = True
        self._exchanges.append(exchange)
        exchange.call(data[len(known.raw) :])

    def _remember(self, data: bytes, length: int, head: Head, headers: list[tuple[bytes, bytes]], match: Match) -> None:
        """If this was one request and nothing else, know its head again. (The rest of several is longer than any one's body.)"""
        cut = data.find(b"\r\n\r\n") + 4
        if len(data) - cut == length and 4 <= cut <= KNOWN_LIMIT:
            self._known = _Known(data[:cut], len(data), head, headers, match)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._blocked_since = self.loop.time()
        if self._exchanges:
            self._exchanges[0].hold()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._blocked_since = None
        if self._exchanges:
            self._exchanges[0].unhold()

    def shutdown(self) -> None:
        if self._exchanges:
            for exchange in self._exchanges:
                exchange.keep_alive = False
        else:
            super().shutdown()

    def abort(self) -> None:
        """Break the connection off: the answer on it cannot be completed."""
        self._closing = True
        self.transport.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def hold_upload(self) -> None:
        self.flow.pause_reading()

    def release_upload(self) -> None:
        if not self.gone:
            self.flow.resume_reading()

    def check_pace(self, now: float) -> None:
        """Called about once a second: close a connection whose client is too slow (slowloris)."""
        limits = self.edge.limits
        if self.transport.is_closing():
            self._ending = self._ending or now
            if now - self._ending > limits.write_timeout_s:
                self.transport.abort()
            return
        waited = now - self._since
        busy = bool(self._exchanges) or (self.cycle is not None and not self.cycle.response_complete)
        if self._blocked_since is not None and now - self._blocked_since > limits.write_timeout_s:
            self.abort()
        elif self._wide or (self._receiving is not None and not self._receiving.complete):
            if self.flow.read_paused:  # who is slow is the function
                self._began, self._came = now, 0
                return
            late = limits.body_rate and now - self._began > limits.body_timeout_s + self._came / limits.body_rate
            if waited > limits.body_timeout_s or late:
                self._closing = True
                self.transport.close()
        elif self._in_head:
            if now - self._began > limits.head_timeout_s:
                self._refuse(_Slow("the head of the request did not come in time", hint="Send it faster."))
        elif not busy and waited > limits.idle_timeout_s:
            self.transport.close()

    # --- parser --------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._header_bytes = 0
        self._wide = False
        self._in_head = True
        self._began = self._since
        self._between = False
        self._plain = None

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.edge.limits.url_bytes:
            self._refusal = _UriTooLong(f"the URL is longer than {self.edge.limits.url_bytes} bytes")
            raise self._refusal

    def on_header(self, name: bytes, value: bytes) -> None:
        limits, headers = self.edge.limits, self.headers
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > limits.header_bytes or len(headers) >= limits.header_count:
            self._refusal = HeaderFieldsTooLarge(
                f"more than {limits.header_count} headers or {limits.header_bytes} bytes of them", hint="Send fewer."
            )
            raise self._refusal
        if self._in_head:  # trailers count, but they are no headers: who let the request in has not seen them
            headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._began, self._came = self._since, 0
        if self._closing:
            return
        if not self.parser.should_upgrade():
            method = self.parser.get_method().decode("ascii")
            path, _, query = self._target()
            host, hosts = "", 0
            length, chunked = 0, False
            for name, value in self.headers:
                if name == b"host":
                    host = value.decode("latin-1")
                    hosts += 1
                elif name == b"content-length":
                    length = int(value)
                elif name == b"transfer-encoding":
                    chunked = True
                elif name == b"expect":
                    self.expect_100_continue = value.lower() == b"100-continue"
            if hosts != 1 or not self.url.startswith(b"/"):
                self._check_host()
            head = Head(method, path, query, self.headers, host, self.scheme or "http", self.client[0] if self.client else "")
            match: Match | None
            try:
                match = self.edge.find(method, host, path)
            except WrongMethod as error:
                self._refuse(error, error.mount.dialect.fault(head, error))
                return
            if match is not None and match.route.fast:
                self._begin(head, match, length, chunked)
                return
        else:
            self._check_host()
        if self._exchanges:
            # Another lane behind an answer under way: its turn never comes on this connection.
            self._last()
            return
        self._wide = True
        url, headers = self.url, self.headers
        expect = self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        if self.parser.should_upgrade() and self.cycle is not None:
            self.cycle.keep_alive = False  # we switch to no other protocol, and what follows may be one

    def _target(self) -> tuple[str, str, str]:
        target = self.url.decode("latin-1")
        if not target.startswith("/") and "://" in target:
            target = "/" + target.partition("://")[2].partition("/")[2]  # absolute form (RFC 9112 section 3.2.2)
        return target.partition("#")[0].partition("?")

    def _begin(self, head: Head, match: Match, length: int, chunked: bool) -> None:
        version, keep_alive = self.parser.get_http_version(), self.parser.should_keep_alive()
        exchange = Exchange(self, head, match, keep_alive, version)
        if keep_alive and version == "1.1" and not chunked and not self.expect_100_continue:
            self._plain = length, head, self.headers, match
        if self.cycle is not None and not self.cycle.response_complete:
            self._closing = True  # behind an answer of the wide lane
            self.cycle.keep_alive = False
            return
        if len(self._exchanges) >= self.edge.limits.pipelined:
            self._last()
            return
        self._receiving = exchange
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.current = True
        if exchange.begin(length, chunked) and self.expect_100_continue and exchange.current:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _last(self) -> None:
        """Accept nothing more; close after the answers that are owed."""
        self._closing = True
        self._exchanges[-1].keep_alive = False

    def _check_host(self) -> None:
        """One Host, and the same one where the target names a host, too (RFC 9112 section 3.2): both lanes, a proxy before us and
        whoever looks at the log have to read the same."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            self._refusal = bad_request("a request has one Host header")
            raise self._refusal
        if not self.url.startswith((b"/", b"*")) and b"://" in self.url:
            named = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
            if not hosts or named.lower() != hosts[0].lower():
                self._refusal = bad_request("the target of the request names another host than its Host header")
                raise self._refusal

    def on_body(self, body: bytes) -> None:
        self._came += len(body)
        if self._receiving is not None:
            self._receiving.body(body)
        elif self._wide:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        exchange = self._receiving
        if exchange is not None:
            self._receiving = None
            exchange.end()
        elif self._wide:
            self._wide = False
            super().on_message_complete()

    def finished(self, exchange: Exchange) -> None:
        """The first exchange has written its whole answer; the next one's turn."""
        self.server_state.total_requests += 1
        if self._exchanges and self._exchanges[0] is exchange:
            self._exchanges.popleft()
        if not exchange.keep_alive:
            self._close(exchange.complete)
        elif self._exchanges:
            self._exchanges[0].turn()
        else:
            self._since = self.loop.time()

    # --- refusals --------------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this when the parser gives up; we say why in a problem document."""
        error = self._refusal or bad_request(f"this is not a valid HTTP request ({msg})")
        receiving, self._receiving = self._receiving, None
        if receiving is None:
            self._refuse(error)
        else:  # a body that makes no sense: its call ends with it
            self._closing = True
            receiving.broken(error)

    def _refuse(self, error: DayflyError, reply: Reply | None = None) -> None:
        if self._closing or self.gone:
            return
        if self._exchanges:
            self._last()  # what is owed goes out first
            return
        self._closing = True
        reply = reply or problem(error)
        lines = [f"HTTP/1.1 {reply.status} {error.title[:60]}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
        lines.append(f"content-length: {len(reply.body)}\r\nconnection: close\r\n{self.date}\r\n")
        self.transport.write("".join(lines).encode("latin-1", "replace") + reply.body)
        self._close(False)

    def _close(self, received: bool) -> None:
        """Close after an answer. While the client still sends, a plain close would reset the connection and take the answer
        with it (RFC 9112 section 9.6): so half-close, and drop what comes until the client is done or LINGER is over."""
        self._closing = True
        if received or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER, self.transport.close)

    def eof_received(self) -> None:
        if self._closing:
            self.transport.close()


class _Slow(BadInput):
    """The request came too slowly"""

    status = 408
    kind = "too-slow"


class _UriTooLong(BadInput):
    """The URL is over its limit"""

    status = 414
    kind = "uri-too-long"
