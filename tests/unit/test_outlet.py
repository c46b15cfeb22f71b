"""Writing past the event loop's own buffer: nothing out of order, nothing lost, nothing into somebody else's socket."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvloop

from dayfly.outlet import Outlet


class Peer(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.paused = 0

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Outlet, asyncio.Transport, Peer, socket.socket]]:
    """An outlet, and the other end as a blocking socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    made, peer = await asyncio.get_running_loop().create_unix_connection(Peer, sock=ours)
    transport = cast(asyncio.Transport, made)
    with theirs:
        yield Outlet(transport), transport, peer, theirs
        transport.abort()
        await peer.lost


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def run(work: Any) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(work)

    return run


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_comes_out_in_order_however_slow_the_reader(run: Callable[[Any], Any], seed: int) -> None:
    chance = random.Random(seed)
    pieces = [chance.randbytes(chance.choice((0, 1, 100, 5_000, 300_000))) for _ in range(60)]
    whole = b"".join(pieces)

    async def work() -> None:
        async with connected() as (outlet, _, peer, theirs):
            received = asyncio.get_running_loop().run_in_executor(None, read, theirs, len(whole))
            for piece in pieces:
                outlet.write(piece)
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
            assert await received == whole
            assert peer.paused  # the transport's own flow control has seen it

    run(work())


def read(end: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += end.recv(65536)
    return bytes(data)


def test_it_leaves_before_the_loop_turns(run: Callable[[Any], Any]) -> None:
    async def work() -> None:
        async with connected() as (outlet, _, _, theirs):
            outlet.write(b"now")
            theirs.setblocking(False)
            assert theirs.recv(10) == b"now"

    run(work())


@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_closed_one_writes_into_no_other_socket_that_got_its_number(run: Callable[[Any], Any], end: str) -> None:
    async def work() -> None:
        async with connected() as (outlet, transport, peer, _):
            number = transport.get_extra_info("socket").fileno()
            getattr(transport, end)()
            outlet.write(b"late")
            await peer.lost
            reader, writer = os.pipe()
            if reader == number:
                reader = os.dup(reader)
            if writer != number:
                os.dup2(writer, number)
                os.close(writer)
            with suppress(RuntimeError):  # uvloop's transports say it when they are written to after their end
                outlet.write(b"later")
            os.close(number)
            with os.fdopen(reader, "rb") as rest:
                assert rest.read() == b""

    run(work())


def test_of_a_broken_connection_the_reader_hears_and_not_the_writer(run: Callable[[Any], Any]) -> None:
    async def work() -> None:
        async with connected() as (outlet, _, peer, theirs):
            theirs.close()
            outlet.write(b"nobody reads this")
            await peer.lost

    run(work())


def test_what_is_encrypted_goes_through_the_transport() -> None:
    class Encrypting:
        written = b""

        def get_extra_info(self, name: str) -> object:
            return {"sslcontext": object(), "socket": plain}[name]

        def get_write_buffer_size(self) -> int:
            return 0

        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            self.written += data

    plain, other = socket.socketpair()
    with plain, other:
        transport = Encrypting()
        Outlet(cast(asyncio.Transport, transport)).write(b"secret")
        assert transport.written == b"secret"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(10)
