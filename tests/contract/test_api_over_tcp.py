"""The control API behind a real server and a real socket: what only shows on the wire."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from dayfly import actions
from dayfly.model.log import LogLine
from tests.support.api_client import HELLO, NS, Client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served() -> AsyncIterator[tuple[Client, int]]:
    """The app on a port of its own."""
    api = Client()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(api.app, http="httptools", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    yield api, listener.getsockname()[1]
    await server.shutdown([listener])


async def exchange(port: int, head: str, body: bytes = b"") -> bytes:
    """Everything the server sends to a request that closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_an_encoded_slash_survives_the_server(served):
    api, port = served
    answer = await exchange(port, f"GET {NS}/functions/a%2Fb HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer
    assert api.platform.last == actions.GetFunction(name="a/b")


async def test_head_sends_no_body(served):
    api, port = served
    await api.deploy()
    answer = await exchange(port, f"HEAD {HELLO} HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 0" not in answer


async def test_a_chunked_body_is_read_to_its_end(served):
    _, port = served
    head = f"POST {NS}/packages HTTP/1.1\r\nContent-Type: application/zip\r\nTransfer-Encoding: chunked"
    answer = await exchange(port, head, b"100000\r\n" + b"x" * 0x100000 + b"\r\n4\r\nlast\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"size":1048580,' in answer


async def test_a_follower_gets_each_line_at_once_and_may_leave(served):
    api, port = served
    left = asyncio.Event()
    lines: asyncio.Queue[LogLine] = asyncio.Queue()

    class Source:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return await lines.get()

        async def aclose(self):
            left.set()

    api.platform.FollowLogs = lambda action: Source()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {NS}/logs HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-type: text/event-stream" in head
    for text in ("one", "two"):
        lines.put_nowait(api.platform.say(text))
        assert f'"text":"{text}"'.encode() in await reader.readuntil(b"\n\n")
    writer.close()
    await asyncio.wait_for(left.wait(), 10)
