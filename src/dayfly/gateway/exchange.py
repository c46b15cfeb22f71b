"""One request and its answer on the fast lane: collects or passes on the body, begins the call, writes what comes back."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from ..actions import Invoke
from ..dialects.hook import Head, Reply
from ..errors import BadInput, BadResponse, DayflyError, Internal, TooLarge, Unavailable
from ..model.call import Mode, Result
from ..model.identity import Identity
from .edge import CallHandle, Match

if TYPE_CHECKING:
    from .protocol import EdgeProtocol


def _status_line(status: int) -> str:
    try:
        return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
    except ValueError:
        return f"HTTP/1.1 {status} \r\n"


_SYNC: Final = Mode.SYNC  # see pool.group
_STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}


FREE: Final = 16 << 10  # bytes of a body that nobody counts


class Exchange:
    """Made at the end of a request's head. `write` goes out only when it is the connection's turn (pipelining)."""

    __slots__ = (
        "_body",
        "_call",
        "_chunked",
        "_counted",
        "_early",
        "_head_sent",
        "_invoke",
        "_partial",
        "_size",
        "_timer",
        "answered",
        "complete",
        "current",
        "head",
        "identity",
        "keep_alive",
        "match",
        "protocol",
        "version",
    )

    def __init__(self, protocol: EdgeProtocol, head: Head, match: Match, keep_alive: bool, version: str) -> None:
        self.protocol = protocol
        self.head = head
        self.match = match
        self.keep_alive = keep_alive
        self.version = version
        self.answered = False  # the answer is whole
        self.complete = False  # the request is whole
        self.current = False  # it is this exchange's turn to write
        self._early: list[bytes] | None = None  # written before its turn
        self._body: list[bytes] | None = None
        self._size = 0
        self._counted = 0  # bytes that count among `edge.collected`
        self._call: CallHandle | None = None
        self._invoke: Invoke | None = None
        self.identity: Identity | None = None
        self._chunked = False
        self._head_sent = False
        self._timer: asyncio.TimerHandle | None = None  # how long the client wants to wait

    # --- the request ----------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """Bytes that the body may have."""
        return min(self.protocol.edge.limits.body_bytes, self.match.mount.dialect.profile.payload_limit)

    def begin(self, length: int, chunked: bool) -> bool:
        """The head is there. Refuses, or begins a call whose body streams; True if the body is wanted."""
        try:
            if length > self.limit:
                raise self._too_large()
            streams = self.match.route.streams and (chunked or length > self.protocol.edge.limits.buffered_body)
            if streams or self.match.mount.dialect.authenticate is None:  # who signs a request signs its body, too
                self._identify(None)
            unknown = self.identity is not None and not self.identity.id
            if streams or (unknown and self.match.route.streams):
                invoke = self._decode(b"")
                assert self.identity is not None
                dispatch = self.protocol.edge.dispatch
                dispatch.check(invoke, self.identity)  # nobody unknown makes us read a body
                if streams and invoke.mode is _SYNC and not invoke.idempotency_key and dispatch.streams(invoke):
                    self._invoke = invoke
                    self._call = dispatch.begin(invoke, self, self.identity, False)
        except DayflyError as error:
            self.on_failure(error)
            return False
        return True

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self.limit} bytes",
            hint="Send less, or raise the body limit of the server (--body-limit).",
            limit=self.limit,
        )

    def _identify(self, body: bytes | None) -> None:
        head = self.head
        identity = self.protocol.edge.identify_caller(self.match.mount, head, body)
        if identity is not head.identity:
            head.kept = None  # a function sees other headers of somebody known
        self.identity = head.identity = identity

    def _decode(self, body: bytes) -> Invoke:
        decode = self.match.route.decode
        assert decode is not None
        invoke: Invoke = decode(self.head, self.match.params, body)
        return invoke

    def body(self, data: bytes) -> None:
        """A piece of the body."""
        self._size += len(data)
        if self.answered:
            return
        if self._size > self.limit:
            if self._call is not None:
                self._call.cancel(self._too_large())
            else:
                self.on_failure(self._too_large())
            return
        call = self._call
        if call is None:
            if self._body is None:
                self._body = [data]
            else:
                self._body.append(data)
            if self._size > FREE:
                self._count()
            return
        call.feed(data, False)
        if call.full:
            self.protocol.hold_upload()
            call.when_drained(self.protocol.release_upload)

    def broken(self, error: DayflyError) -> None:
        """The rest of the request cannot be read."""
        if self._call is not None:
            self._call.cancel(error)
        else:
            self.on_failure(error)

    def _count(self) -> None:
        """A body of some size is kept until it is whole; of all of them together there is room for so much."""
        edge = self.protocol.edge
        edge.collected += self._size - self._counted
        self._counted = self._size
        if edge.collected > edge.limits.collected_bytes:
            self._uncount()  # what is refused is not kept
            self.on_failure(Unavailable("too much is being sent to this server at once", hint="Try again.", retry_after=1.0))

    def _uncount(self) -> None:
        self.protocol.edge.collected -= self._counted
        self._counted = 0
        self._body = None

    def end(self) -> None:
        """The request is whole: call the function, unless that began with the head."""
        self.complete = True
        if self.answered:
            return
        if self._call is not None:
            self._call.feed(b"", True)
            return
        body = b"".join(self._body) if self._body else b""
        if self._counted:
            self._uncount()
        self.call(body)

    def call(self, body: bytes) -> None:
        """Call the function with the whole body, which is known to be within its limit."""
        self.complete = True
        dispatch = self.protocol.edge.dispatch
        try:
            if self.identity is None:
                self._identify(body)
            decode = self.match.route.decode
            assert decode is not None
            assert self.identity is not None
            invoke: Invoke = decode(self.head, self.match.params, body)
            if type(invoke) is not Invoke:
                self.protocol.spawn(self._perform(invoke, self.identity))
                return
            self._invoke = invoke
            if invoke.mode is _SYNC and not invoke.idempotency_key:
                self._call = dispatch.begin(invoke, self, self.identity, True)
                if invoke.wait_s and not self.answered:
                    self._timer = asyncio.get_running_loop().call_later(invoke.wait_s, self._waited, invoke)
            else:
                self.protocol.spawn(self._slowly(invoke, self.identity))
        except DayflyError as error:
            self.on_failure(error)
        except Exception as error:  # a fault of ours must not take the connection's parser down
            self.protocol.logger.exception("a call could not be begun")
            self.on_failure(Internal(f"{type(error).__name__} while the call was begun"))

    def _waited(self, invoke: Invoke) -> None:
        """The caller has waited long enough. The call goes on; what becomes of it is in its record."""
        if not self._head_sent:
            self.on_result(Result(invocation=invoke.invocation, status=202))

    async def _slowly(self, invoke: Invoke, identity: Identity) -> None:
        """Calls that go to the disk first: asynchronous ones, and those with an idempotency key."""
        dispatch = self.protocol.edge.dispatch
        limit = self.match.mount.dialect.profile.async_payload_limit
        try:
            if invoke.mode is _SYNC:
                self.on_result(await dispatch.once(invoke, identity))
            elif len(invoke.body) > limit:
                raise TooLarge(f"the body of an asynchronous call is larger than {limit} bytes", hint="Send less.", limit=limit)
            else:
                self.on_result(Result(invocation=await dispatch.enqueue(invoke, identity), status=202))
        except DayflyError as error:
            self.on_failure(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.protocol.logger.exception("a call could not be accepted")
            self.on_failure(Internal(f"{type(error).__name__} while the call was accepted"))

    async def _perform(self, action: object, identity: Identity) -> None:
        """Another action than a call that is worth the fast lane, such as publishing an event."""
        encode = self.match.route.encode
        assert encode is not None
        try:
            outcome = await self.protocol.edge.perform(action, identity)
            if not self.answered and not self.protocol.gone:
                self._whole(encode(self.head, action, outcome))
        except DayflyError as error:
            self.on_failure(error)
        except Exception as error:
            self.protocol.logger.exception("an action could not be performed")
            self.on_failure(Internal(f"{type(error).__name__} while {type(action).__name__} was performed"))

    # --- the answer: calls.call.Client --------------------------------------------------------------------------------

    def on_result(self, result: Result) -> None:
        if self.answered or self.protocol.gone:
            return
        route = self.match.route
        if result.streaming and route.whole is not None and route.whole(result):
            self._partial, self._body, self._size = result, [], 0
            self._gather(result.body, False)
            return
        encode = route.encode
        assert encode is not None
        reply = encode(self.head, self._invoke, result)
        if not result.streaming:
            self._whole(reply)
            return
        bodyless = self.head.method == "HEAD" or reply.status in (204, 304)
        self._chunked = self.version == "1.1" and not bodyless
        if not self._chunked and not bodyless:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        self._write(self._head(reply, None))
        if result.body:
            self.on_data(result.body, False)

    def on_data(self, data: bytes, end: bool) -> None:
        if self.answered or self.protocol.gone:
            return
        if not self._head_sent:
            self._gather(data, end)
            return
        frame = self.match.route.frame
        if frame is not None:
            data = frame(data, end, None)
        if self.head.method == "HEAD":
            data = b""
        self._piece(data, end)

    def _gather(self, data: bytes, end: bool) -> None:
        """A piece of an answer whose head depends on its whole body."""
        assert self._body is not None
        self._size += len(data)
        self._body.append(data)
        call, limit = self._call, self.match.mount.dialect.profile.response_limit
        if self._size > limit:
            told = f"the function's answer is larger than {limit} bytes"
            self.on_failure(BadResponse(told, invocation=self._partial.invocation))
        elif self._size > FREE:
            self._count()
        if self.answered:
            if call is not None:
                call.cancel()
        elif end:
            result = self._partial
            result.body, result.streaming = b"".join(self._body), False
            self._uncount()
            self.on_result(result)

    def _piece(self, data: bytes, end: bool) -> None:
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._write(piece + b"0\r\n\r\n" if end else piece)
        elif data:
            self._write(data)
        if end:
            self._done()

    def on_failure(self, error: DayflyError) -> None:
        if self.answered or self.protocol.gone:
            return
        if self._counted:
            self._uncount()
        if self._head_sent:
            frame = self.match.route.frame
            if frame is not None:
                self._piece(frame(b"", True, error), True)
                return
            # The head is out already: a broken-off answer is all that is left to tell it.
            self.answered = True
            self.protocol.abort()
            return
        explain, invoke = self.match.route.explain, self._invoke
        if explain is not None and invoke is not None:
            self._invoke = None  # it is asked once
            explained = explain(self.head, invoke, error, self.protocol.edge.perform_own)
            if explained is not None:
                self.protocol.spawn(self._explained(explained))
                return
        self._whole(self.match.mount.dialect.fault(self.head, error))

    async def _explained(self, explained: Awaitable[Reply]) -> None:
        try:
            reply = await explained
        except DayflyError as error:
            self.on_failure(error)
        except Exception as error:
            self.protocol.logger.exception("a failure could not be explained")
            self.on_failure(Internal(f"{type(error).__name__} while a failure was explained"))
        else:
            if not self.answered and not self.protocol.gone:
                self._whole(reply)

    def _whole(self, reply: Reply) -> None:
        head = self._head(reply, len(reply.body))
        bodyless = self.head.method == "HEAD" or reply.status in (204, 304)
        self._write(head if bodyless else head + reply.body)
        self._done()

    def _head(self, reply: Reply, length: int | None) -> bytes:
        self._head_sent = True
        if not self.complete:
            self.keep_alive = False  # the rest of the body would be read as the next request
        status, lines = reply.status, reply.lines
        if reply.headers:
            lines += "".join([f"{name}: {value}\r\n" for name, value in reply.headers])
        if length is not None:
            if status not in (204, 304):
                lines += f"content-length: {length}\r\n"
        elif self._chunked:
            lines += "transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            lines += "connection: close\r\n"
        elif self.version == "1.0":
            lines += "connection: keep-alive\r\n"
        return f"{_STATUS_LINES[status]}{lines}{self.protocol.date}\r\n".encode("latin-1", "replace")

    def _write(self, data: bytes) -> None:
        if self.current:
            self.protocol.write(data)
        elif self._early is None:
            self._early = [data]
        else:
            self._early.append(data)

    def _done(self) -> None:
        self.answered = True
        if self._timer is not None:
            self._timer.cancel()
        self._call = None  # it knows us: a cycle, and the garbage collector would be all that frees either
        if self.current:
            self.protocol.finished(self)

    def turn(self) -> None:
        """The answers before this one are out: write what has come so far."""
        self.current = True
        if self._early:
            self.protocol.write(b"".join(self._early))
            self._early = None
        if self.answered:
            self.protocol.finished(self)

    # --- the connection ---------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        if self._call is not None and not self.answered:
            self._call.hold()

    def unhold(self) -> None:
        if self._call is not None and not self.answered:
            self._call.unhold()

    def client_gone(self) -> None:
        """The client has left. A call that waits or streams ends; one that runs is let finish, its answer dropped:
        it may have effects, and its instance stays warm."""
        if self._counted:
            self._uncount()
        call = self._call
        if call is not None and not self.answered and (self._head_sent or not self.complete or not call.running):
            call.cancel()


def bad_request(detail: str) -> BadInput:
    return BadInput(detail, hint="Send HTTP/1.1 as RFC 9112 describes it.")
