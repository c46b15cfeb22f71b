"""Attack 39: clients that are slow, idle, endless or many. Limits are settings; here they are small, so that nobody waits."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dayfly.gateway.limits import EdgeLimits
from tests.attacks.raw import SPY, answers, post, send
from tests.support.neighbour import neighbour
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

LATER = 10_000.0  # seconds: more than any limit


@asynccontextmanager
async def limited(folder: Any, **limits: Any) -> AsyncIterator[Site]:
    async with running(folder, edge=EdgeLimits(**limits)) as site:
        await site.deploy("spy", SPY, flavour="http")
        await site.deploy("echo", "def handler(event, context):\n    return event\n")
        yield site


def connections(site: Site) -> list[Any]:
    """Those of the server, without the idle ones of our own client."""
    return [one for one in site.server.listeners[""]._server.server_state.connections if not (one._quiet() and one._known)]


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


SLOW = {
    "a head that never ends": b"POST /fn/default/echo HTTP/1.1\r\nhost: localhost\r\nx: ",
    "a head of many lines": b"POST /fn/default/echo HTTP/1.1\r\nhost: localhost\r\na: b\r\n",
    "a request line": b"PO",
    "a body of an event": b"POST /fn/default/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n1",
    "a body that streams": b"POST /fn/default/spy HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n1",
    "chunks": b"POST /fn/default/spy HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
    "a chunk's extension": b"POST /fn/default/spy HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;x",
    "trailers": b"POST /fn/default/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nx: y\r\n",
    "a body of the control API": b"PUT /v1/namespaces/default/secrets/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{",
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
async def test_39_a_request_that_comes_drop_by_drop_is_ended(site: Site, data: bytes) -> None:
    """Not only one that stops: a byte just before each deadline must not move it for ever."""
    before = set(site.server.listeners[""]._server.server_state.connections)
    async with neighbour(site):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        writer.write(data)
        found: list[Any] = []

        def arrived() -> bool:
            found[:] = [
                one for one in site.server.listeners[""]._server.server_state.connections if one not in before and one._began
            ]
            return any(one.client and one.client[1] == writer.get_extra_info("sockname")[1] for one in found)

        await until(arrived)
        [mine] = [one for one in found if one.client[1] == writer.get_extra_info("sockname")[1]]
        now = mine._since
        for step in range(1, 100):  # a drop every 9 seconds, as the server's clock would see it
            mine._since = now + 9 * step - 0.001
            mine.check_pace(now + 9 * step)
            if mine._closing or mine.transport.is_closing():
                break
        assert step * 9 < 120, "within two minutes it was ended"
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def test_39_bodies_without_end_are_cut_off_at_the_limit(site: Site) -> None:
    async with neighbour(site):
        for name in ("echo39", "spy39"):
            await site.deploy(name, SPY, flavour="http" if name == "spy39" else "event")
            head = f"POST /fn/default/{name} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
            got = answers(await send(site, head, *[piece] * 200))
            assert [answer.status for answer in got] in ([413], []), "refused; a reset may take the answer along"
            tiny = answers(await send(site, head, b"1\r\n \r\n" * 1000 + b"X"))
            assert [answer.status for answer in tiny] == [400]
        big = answers(
            await send(site, b"POST /fn/default/echo39 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000000000\r\n\r\n")
        )
        assert [answer.status for answer in big] == [413], "said at once, before a byte of it"


async def test_39_ten_thousand_headers(site: Site) -> None:
    async with neighbour(site):
        many = "".join(f"x-{number}: 1\r\n" for number in range(10_000))
        assert [answer.status for answer in answers(await send(site, post("/fn/default/neighbour", b"1", many)))] in ([431], [])
        one = "x: " + "y" * 100_000 + "\r\n"
        assert [answer.status for answer in answers(await send(site, post("/fn/default/neighbour", b"1", one)))] in ([431], [])
        trailers = (
            b"POST /fn/default/neighbour HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n"
            + many.encode()
        )
        assert all(answer.status >= 400 for answer in answers(await send(site, trailers)))


BOMBS = {
    "depth": b"[" * 100_000,
    "closed depth": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000,
    "not a number": b"NaN",
    "infinite": b"[Infinity]",
    "half a character": b'"\\ud800',
    "not UTF-8": b'"\xff"',
    "two values": b"1 2",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_39_json_bombs(site: Site, bomb: bytes) -> None:
    async with neighbour(site):
        for path in ("/fn/default/neighbour", "/v1/namespaces/default/tokens"):
            [answer] = answers(await send(site, post(path, bomb, "content-type: application/json\r\n")))
            assert answer.status == 400
            assert len(answer.body) < 2000


async def test_39_numbers_as_long_as_a_book_and_names_that_come_twice(site: Site) -> None:
    async with neighbour(site):
        for body in (b"9" * 1_000_000, b"1e999999999", b'{"a": 1, "a": 2}'):
            [answer] = answers(await send(site, post("/fn/default/neighbour", body, "content-type: application/json\r\n")))
            assert answer.status in (200, 400, 500, 502), "whatever becomes of it, it is the function's own affair"
            assert len(answer.body) < 2000


async def test_39_nothing_is_decompressed(site: Site) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    async with neighbour(site):
        for path in ("/fn/default/neighbour", "/v1/namespaces/default/tokens"):
            headers = "content-type: application/json\r\ncontent-encoding: gzip\r\n"
            [answer] = answers(await send(site, post(path, bomb, headers)))
            assert answer.status in (400, 415)


UPGRADES = {
    "websocket": "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\nsec-websocket-version: 13\r\n",
    "h2c": "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
}


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
async def test_39_upgrades_are_answered_as_plain_requests_and_hold_nothing(site: Site, upgrade: str) -> None:
    async with neighbour(site):
        before = site.server.listeners[""].connections
        for path in ("/fn/default/neighbour", "/v1/namespaces"):
            request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n".encode()
            pending = [asyncio.ensure_future(send(site, request, b"\xff" * 1000)) for _ in range(100)]
            for data in await asyncio.gather(*pending):
                assert b"101" not in data.split(b"\r\n", 1)[0]
        await until(lambda: site.server.listeners[""].connections <= before + 2)


async def test_39_pipelines_are_bounded_and_answers_keep_their_order(site: Site) -> None:
    async with neighbour(site):
        requests = b"".join(post("/fn/default/neighbour", str(number).encode(), close=False) for number in range(1000))
        got = answers(await send(site, requests))
        assert 1 <= len(got) <= 1000
        assert [answer.json() for answer in got] == list(range(len(got)))


async def test_39_who_reads_nothing_holds_no_more_than_a_buffer_and_is_let_go(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with limited(tmp_path_factory.mktemp("r"), write_timeout_s=0.0) as site, neighbour(site):
        source = "def handler(request, context):\n    while True:\n        yield b'x' * 65536\n"
        await site.deploy("endless", source, flavour="http", timeout_s=60)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port, limit=1)
        writer.write(post("/fn/default/endless"))
        await until(lambda: "endless" in {call.invoke.function for call in site.server.dispatcher.active.values()})
        await until(lambda: "endless" not in {call.invoke.function for call in site.server.dispatcher.active.values()})
        assert isinstance(reader, asyncio.StreamReader)
        writer.close()


async def test_39_bodies_that_wait_to_be_whole_have_a_bound_over_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with limited(tmp_path_factory.mktemp("c"), collected_bytes=4 << 20) as site, neighbour(site):
        head = b"POST /fn/default/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
        pairs = [await asyncio.open_connection("127.0.0.1", site.server.port) for _ in range(20)]
        for _, writer in pairs:
            writer.write(head + b" " * 900_000)
        first = [asyncio.ensure_future(reader.readline()) for reader, _ in pairs]
        await until(lambda: sum(task.done() for task in first) >= 10)
        assert {task.result().split()[1] for task in first if task.done()} == {b"503"}
        edge = site.server.listeners[""]._server.config.http_protocol_class.edge
        assert edge.collected <= 5 << 20
        for _, writer in pairs:
            writer.close()
        await until(lambda: edge.collected == 0)
        assert (await site.call("echo", {"n": 1})).status_code == 200
        for task in first:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)


IDLE = 2_000  # connections; 100,000 need more descriptors than most machines give to a test. DAYFLY_IDLE sets another number


async def test_39_idle_connections_are_cheap_and_the_oldest_make_room(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Many more than the listener takes: it stays at its limit, whoever has work gets in, and each costs little."""
    wanted = int(os.environ.get("DAYFLY_IDLE", IDLE))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * wanted + 1000
    if hard < need:
        pytest.skip(f"{wanted} connections take {need} descriptors, and there are {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    limit = wanted // 2
    try:
        async with limited(tmp_path_factory.mktemp("i"), connections=limit) as site, neighbour(site):
            listener = site.server.listeners[""]
            held, before = [], _resident_kb()
            for _ in range(wanted // 100):
                held += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", site.server.port) for _ in range(100)))
                await asyncio.sleep(0)
                await listener._server.on_tick(0)
                assert listener.connections <= limit
            each = (_resident_kb() - before) / wanted
            assert each < 64, f"{each:.1f} KiB a connection, the client's side included"
            for _, writer in held:
                writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _resident_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


async def test_39_bad_requests_write_no_lines_to_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"GET /v1 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    for data in (b"GARBAGE\r\n\r\n", b"\x00", upgrade):
        await send(site, data + b"X")
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_the_limits_are_settings_with_sane_defaults() -> None:
    limits = EdgeLimits()
    assert json.loads(json.dumps({name: getattr(limits, name) for name in limits.__struct_fields__}))
    assert all(getattr(limits, name) > 0 for name in limits.__struct_fields__)
