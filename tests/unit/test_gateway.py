"""The fast lane on a real socket: every test speaks HTTP byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from dayfly.api.calls import NATIVE_CALLS
from dayfly.auth.gate import Gate
from dayfly.calls.admission import Admission
from dayfly.calls.dispatcher import Dispatcher
from dayfly.clock import SystemClock
from dayfly.dialects.hook import Mount
from dayfly.errors import NotFound, Unauthenticated
from dayfly.gateway.edge import Edge
from dayfly.gateway.limits import EdgeLimits
from dayfly.gateway.listener import Listener
from dayfly.gateway.wide import WideLane
from dayfly.model.call import Invocation
from dayfly.model.function import Reservation, Revision
from dayfly.model.identity import LOCAL, STRANGER, Identity
from dayfly.model.profile import NATIVE, Profile
from dayfly.pool.pool import Limits, Pool
from dayfly.sandbox.port import ResponseHead
from tests.support.boxes import AutoBox, AutoSandbox, ScriptedSandbox, revision

pytestmark = pytest.mark.anyio


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """The wide lane's last resort in these tests."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"wide " + scope["path"].encode() + b" " + body})


class Site:
    """A listener on loopback with one event function `hello` and one HTTP function `web`."""

    def __init__(self, sandbox: ScriptedSandbox, limits: EdgeLimits, pool_limits: Limits) -> None:
        clock = SystemClock()
        self.sandbox = sandbox
        self.functions = {"hello": revision(), "web": revision("web", flavour="http"), "one": revision("one", max_instances=1)}
        self.records: list[Invocation] = []
        self.pool = Pool(sandbox, clock, lambda r: {}, pool_limits)
        self.dispatcher = Dispatcher(self, self.pool, self.records.append, clock)
        self.accepted: list[str] = []
        admission = Admission(self.dispatcher, self.accept, lambda invoke, identity: None, clock)
        mounts = [Mount(dialect=NATIVE_CALLS)]
        self.edge = Edge(mounts, admission, Gate(), limits, self.perform)
        self.listener = Listener(self.edge, WideLane(self.edge, plain), "127.0.0.1", 0, grace_s=1)

    reservations: dict[tuple[str, str], Reservation] = {}  # noqa: RUF012

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        if function not in self.functions:
            raise NotFound(f"there is no function {function!r}")
        return self.functions[function]

    def profile(self, name: str) -> Profile:
        return NATIVE

    async def accept(self, invoke: Any) -> str:
        self.accepted.append(invoke.invocation)
        return str(invoke.invocation)

    async def perform(self, action: object, identity: object) -> object:
        raise AssertionError("no dialect with control routes is mounted")

    async def send(self, data: bytes, until: bytes = b"") -> bytes:
        """Send bytes on a connection of their own and read to its end (or to `until`)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(data)
        if until:
            received = await asyncio.wait_for(reader.readuntil(until), 10)
        else:
            received = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return received


@asynccontextmanager
async def site(
    sandbox: ScriptedSandbox | None = None, limits: EdgeLimits | None = None, pool: Limits | None = None
) -> AsyncIterator[Site]:
    made = Site(sandbox or AutoSandbox(), limits or EdgeLimits(), pool or Limits())
    await made.listener.open()
    try:
        yield made
    finally:
        for call in list(made.dispatcher.active.values()):
            call.cancel()
        await made.listener.close()
        await made.pool.settle()


def request(path: str, body: bytes = b"", method: str = "POST", headers: str = "", close: bool = True) -> bytes:
    length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
    end = "connection: close\r\n" if close else ""
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}{headers}{end}\r\n".encode() + body


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), fields, body


async def test_an_event_goes_in_and_its_answer_comes_out_with_the_headers_promised() -> None:
    async with site() as s:
        status, headers, body = split(await s.send(request("/fn/default/hello", b'{"a": 1}')))
        assert (status, body) == (200, b'{"a": 1}')
        assert headers["content-type"] == "application/json"
        assert headers["dayfly-cold"] == "true"
        assert headers["dayfly-invocation-id"] == s.records[0].id
        assert [part.split(";")[0] for part in headers["server-timing"].split(", ")] == ["queue", "cold", "run"]
        assert "date" in headers
        status, headers, _ = split(await s.send(request("/fn/default/hello", b"[]")))
        assert headers["dayfly-cold"] == "false"


async def test_one_connection_carries_many_requests_of_both_lanes() -> None:
    async with site() as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port)
        for path, expected in [("/fn/default/hello", b'"x"'), ("/other", b'wide /other "x"'), ("/fn/default/hello", b'"x"')]:
            writer.write(request(path, b'"x"', close=False))
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                size = int(await reader.readline(), 16)
                assert await reader.readexactly(size) == expected
                assert await reader.readexactly(7) == b"\r\n0\r\n\r\n"
            else:
                assert await reader.readexactly(len(expected)) == expected
        writer.close()
        await writer.wait_closed()


async def test_pipelined_calls_are_answered_in_order() -> None:
    async with site() as s:
        data = b"".join(request("/fn/default/hello", b"%d" % n, close=n == 9) for n in range(10))
        answer = await s.send(data)
        assert [part.rpartition(b"\r\n\r\n")[2][:1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"%d" % n for n in range(10)
        ]


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer of a kept connection."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    if b"chunked" in head:
        piece = await reader.readexactly(int(await reader.readline(), 16))
        assert await reader.readexactly(7) == b"\r\n0\r\n\r\n"
        return piece
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


async def test_a_head_that_comes_again_means_the_same_however_its_bytes_arrive() -> None:
    async with site() as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port)

        def same(body: bytes) -> bytes:
            return request("/fn/default/hello", body, close=False)

        for body in (b"11", b"22", b"33"):
            writer.write(same(body))
            assert await one_answer(reader) == body
        writer.write(same(b"44")[:-1])  # the last byte is late
        await asyncio.sleep(0)
        writer.write(b"4")
        assert await one_answer(reader) == b"44"
        writer.write(same(b"55") + same(b"66") + same(b"7"))  # three in one packet
        assert [await one_answer(reader) for _ in range(3)] == [b"55", b"66", b"7"]
        writer.write(request("/other", b"88", close=False))  # the other lane between
        assert await one_answer(reader) == b"wide /other 88"
        writer.write(same(b"9"))
        assert await one_answer(reader) == b"9"
        writer.write(request("/fn/default/none", b"9", close=False) + same(b"9"))  # of equal length, and elsewhere
        assert b"not-found" in await one_answer(reader)
        assert await one_answer(reader) == b"9"
        assert len({record.id for record in s.records}) == len(s.records) == 9
        writer.close()
        await writer.wait_closed()


async def test_a_head_that_comes_again_is_authenticated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as s:
        shown: list[bytes] = []
        heads: list[dict[str, Any]] = []

        def authenticate(headers: Any, host: str, peer: str, method: str) -> Identity:
            shown.append(dict(headers)[b"authorization"])
            if len(shown) == 3:
                raise Unauthenticated("the token was revoked")
            return LOCAL

        s.edge.asks_login, s.edge.authenticate = True, authenticate
        monkeypatch.setattr(AutoBox, "answers", staticmethod(lambda head, body: heads.append(head) or b"1"))
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port)
        for expected in (b"1", b"1", b"revoked"):
            writer.write(request("/fn/default/web", b"x", headers="authorization: Bearer t\r\n", close=False))
            assert expected in await one_answer(reader)
        assert shown == [b"Bearer t"] * 3
        assert len(heads) == 2
        assert not [name for head in heads for name, _ in head["http"]["headers"] if name == "authorization"]
        writer.close()
        await writer.wait_closed()


async def test_a_token_that_becomes_known_while_the_head_comes_again_is_kept_from_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site() as s:
        heads: list[dict[str, Any]] = []
        known = iter([STRANGER, LOCAL])
        s.edge.asks_login, s.edge.authenticate = True, lambda *_: next(known)
        monkeypatch.setattr(AutoBox, "answers", staticmethod(lambda head, body: heads.append(head) or b"1"))
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port)
        for _ in range(2):
            writer.write(request("/fn/default/web", b"x", headers="authorization: Bearer t\r\n", close=False))
            assert await one_answer(reader) == b"1"
        seen = [[name for name, _ in head["http"]["headers"] if name == "authorization"] for head in heads]
        assert seen == [["authorization"], []]
        writer.close()
        await writer.wait_closed()


async def test_lanes_mixed_in_a_pipeline_never_swap_answers() -> None:
    async with site() as s:
        answer = await s.send(request("/fn/default/hello", b'"first"', close=False) + request("/other", b"x", close=False))
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b'"first"')
        answer = await s.send(request("/other", b"x", close=False) + request("/fn/default/hello", b'"second"', close=False))
        assert answer.count(b"HTTP/1.1") == 1
        assert b"wide" in answer


@pytest.mark.parametrize(
    ("data", "status", "problem"),
    [
        (request("/fn/default/hello", b"{"), 400, "bad-input"),
        (request("/fn/default/hello", b"x", headers="content-type: text/plain\r\n"), 415, "unsupported-media"),
        (request("/fn/default/missing", b"{}"), 404, "not-found"),
        (request("/fn/default/hello", b"x" * 2000), 413, "too-large"),
        (request("/fn/default/web", b"x" * 2000), 413, "too-large"),
        (b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n".replace(b"/ ", b"/fn/default/hello "), 403, "forbidden"),
        (request("/fn/default/hello", b"{}", headers="idempotency-key: " + "k" * 256 + "\r\n"), 400, "bad-input"),
        (request("/fn/default/hello", b"{}", headers="dayfly-timeout: soon\r\n"), 400, "bad-input"),
        (b"GARBAGE\r\n\r\n", 400, "bad-input"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414, "uri-too-long"),
        (request("/fn/default/hello", headers="".join(f"x-{n}: 1\r\n" for n in range(300))), 431, "header-fields-too-large"),
        (request("/fn/default/hello", headers="x: " + "1" * 70000 + "\r\n"), 431, "header-fields-too-large"),
        (b"POST /fn/default/hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400, ""),
        (
            b"POST /fn/default/hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "",
        ),
    ],
)
async def test_bad_requests_get_a_problem_and_reach_no_function(data: bytes, status: int, problem: str) -> None:
    async with site(limits=EdgeLimits(body_bytes=1000)) as s:
        got, headers, body = split(await s.send(data.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)))
        assert got == status
        assert headers["content-type"] == "application/problem+json"
        document = msgspec.json.decode(body)
        assert document["status"] == status
        assert problem in document["type"]
        assert document["detail"]
        assert s.sandbox.boxes == []
        assert split(await s.send(request("/fn/default/hello", b"1")))[0] == 200, "and the next client is served"


async def test_a_large_body_streams_to_an_http_function_without_being_collected() -> None:
    size = 3_000_000
    async with site() as s:
        answer = await s.send(request("/fn/default/web", b"z" * size))
        status, headers, body = split(answer)
        assert status == 200
        assert int(headers["content-length"]) == size
        assert body == b"z" * size


async def test_a_chunked_upload_over_the_limit_is_cut_off() -> None:
    async with site(limits=EdgeLimits(body_bytes=10_000)) as s:
        head = b"POST /fn/default/web HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        piece = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        status, headers, _ = split(await s.send(head + piece * 5))
        assert status == 413
        assert headers["connection"] == "close"


async def test_a_stream_is_chunked_and_a_broken_one_is_broken_off() -> None:
    async with site(ScriptedSandbox()) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port)
        writer.write(request("/fn/default/hello", b"{}", close=False))
        while not s.sandbox.boxes:
            await asyncio.sleep(0)
        [box] = s.sandbox.boxes
        box.ready()
        sink = box.calls.pop(1)[2]
        sink.on_response(ResponseHead(headers=(("content-type", "text/event-stream"),)), b"", False)
        sink.on_data(b"data: 1\n\n", False)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert await reader.readuntil(b"1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        box.calls[7] = ({}, b"", sink)
        box.die()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_leaves_the_queue_is_not_called_for() -> None:
    async with site(ScriptedSandbox()) as s:
        _, first = await asyncio.open_connection("127.0.0.1", s.listener.port)
        first.write(request("/fn/default/one", b"1", close=False))
        _, second = await asyncio.open_connection("127.0.0.1", s.listener.port)
        while len(s.dispatcher.active) < 1:
            await asyncio.sleep(0)
        second.write(request("/fn/default/one", b"2", close=False))
        while len(s.dispatcher.active) < 2:
            await asyncio.sleep(0)
        second.close()
        await second.wait_closed()
        while len(s.dispatcher.active) > 1:
            await asyncio.sleep(0)
        [box] = s.sandbox.boxes
        box.ready()
        assert box.calls[1][1] == b"1"
        box.answer()
        assert box.calls == {}
        first.close()
        await first.wait_closed()


async def test_async_calls_are_accepted_before_they_are_answered() -> None:
    async with site() as s:
        status, headers, body = split(await s.send(request("/fn/default/hello", b"{}", headers="prefer: respond-async\r\n")))
        assert status == 202
        assert msgspec.json.decode(body) == {"invocation": s.accepted[0]}
        assert headers["location"].endswith(s.accepted[0])
        status, _, _ = split(await s.send(request("/fn/default/hello", b"{", headers="prefer: respond-async\r\n")))
        assert status == 400


async def test_an_idempotency_key_makes_one_call_of_two() -> None:
    async with site() as s:
        answers = await asyncio.gather(
            *(s.send(request("/fn/default/hello", b"%d" % n, headers="idempotency-key: k1\r\n")) for n in range(3))
        )
        assert len({split(answer)[2] for answer in answers}) == 1
        assert len({split(answer)[1]["dayfly-invocation-id"] for answer in answers}) == 1
        assert len(s.records) == 1


async def test_head_http_1_0_and_expect() -> None:
    async with site() as s:
        status, headers, body = split(await s.send(request("/fn/default/web?x=1", method="HEAD")))
        assert (status, body) == (200, b"")
        status, headers, body = split(
            await s.send(b"POST /fn/default/hello HTTP/1.0\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n1")
        )
        assert (status, headers["connection"], body) == (200, "close", b"1")
        answer = await s.send(
            request("/fn/default/hello", b"", headers="expect: 100-continue\r\n").replace(
                b"content-length: 0", b"content-length: 9999999"
            )
        )
        assert answer.startswith(b"HTTP/1.1 413")


async def test_clients_cannot_speak_in_the_platforms_name_nor_functions_either() -> None:
    async with site() as s:
        seen: list[dict[str, Any]] = []

        def spy(head: dict[str, Any], body: bytes) -> bytes:
            seen.append(head)
            return b"1"

        original = s.sandbox.create

        def create(spec: Any, events: Any) -> Any:
            box = original(spec, events)
            type(box).answers = staticmethod(spy)
            return box

        s.sandbox.create = create  # type: ignore[method-assign]
        await s.send(
            request("/fn/default/web/a%20b?q=1&q=2", b"", headers="dayfly-invocation-id: forged\r\nx-a: 1\r\nx-a: 2\r\n")
        )
        http = seen[0]["http"]
        assert http["path"] == "/a%20b"
        assert http["query"] == "q=1&q=2"
        assert [value for name, value in http["headers"] if name == "x-a"] == ["1", "2"]
        assert not [name for name, _ in http["headers"] if name.startswith("dayfly-")]


async def test_slow_heads_and_idle_connections_are_closed_after_their_time() -> None:
    async with site(limits=EdgeLimits(head_timeout_s=0.0, idle_timeout_s=1000)) as s:
        answer = await s.send(b"POST /fn/default/hello HTTP/1.1\r\nhost: loc")
        assert answer.startswith(b"HTTP/1.1 408")
    async with site(limits=EdgeLimits(idle_timeout_s=0.0)) as s:
        assert await s.send(b"") == b""


async def test_a_long_answer_of_the_wide_lane_is_not_taken_for_a_slow_request() -> None:
    async with site(limits=EdgeLimits(head_timeout_s=0.0, body_timeout_s=0.0)) as s:
        release = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await plain(scope, receive, send)

        s.listener._server.config.loaded_app = slow
        asking = asyncio.ensure_future(s.send(request("/other", b"x")))
        for connection in await until_connected(s):
            connection.check_pace(connection.loop.time() + 1000)
        release.set()
        assert b" 200 " in await asking


async def until_connected(s: Site) -> list[Any]:
    connections = s.listener._server.server_state.connections
    while not any(connection.cycle is not None for connection in connections):
        await asyncio.sleep(0)
    return list(connections)


@pytest.mark.parametrize("path", ["/fn/default/hello", "/fn/default/web", "/other"])
async def test_a_body_that_does_not_come_is_not_waited_for(path: str) -> None:
    async with site(limits=EdgeLimits(body_timeout_s=0.0)) as s:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nonly this".encode()
        assert b" 200 " not in await s.send(head)


async def test_a_client_that_reads_nothing_is_let_go() -> None:
    async with site(ScriptedSandbox(), limits=EdgeLimits(write_timeout_s=0.0)) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.listener.port, limit=1)
        writer.write(request("/fn/default/hello", b"{}", close=False))
        while not s.sandbox.boxes:
            await asyncio.sleep(0)
        [box] = s.sandbox.boxes
        box.ready()
        sink = box.calls.pop(1)[2]
        sink.on_response(ResponseHead(), b"", False)
        while not box.held:
            sink.on_data(b"x" * (1 << 20), False)
            await asyncio.sleep(0)
        while s.dispatcher.active:
            await asyncio.sleep(0.01)
        assert isinstance(reader, asyncio.StreamReader)
        writer.close()
