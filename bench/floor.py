"""The raw two-hop floor: what HTTP in, a hop to another process and back, and HTTP out cost on this machine with nothing else.

A bare asyncio protocol on httptools and uvloop hands each request over a Unix socket to one of a few blocking workers, separate
processes that decode the JSON, call a function and encode its answer. Frames are a length of 4 bytes and the body. No routing,
limits, deadlines, records or isolation: what a platform adds is what it costs above this.

    python -m bench.floor PORT WORKERS hello|echo
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httptools
import uvloop

from .site import free_port

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


# --- the worker: blocking -----------------------------------------------------------------------------------------------


def hello(event: dict[str, Any]) -> object:
    return {"hello": event.get("name", "world")}


def echo(event: dict[str, Any]) -> object:
    return event


def work(fd: int, function: str) -> None:
    """Serve frames until the other side closes."""
    call = {"hello": hello, "echo": echo}[function]
    sock = socket.socket(fileno=fd)
    with contextlib.suppress(ConnectionError):
        while head := sock.recv(4, socket.MSG_WAITALL):
            (size,) = struct.unpack("<I", head)
            body = json.dumps(call(json.loads(sock.recv(size, socket.MSG_WAITALL)))).encode()
            sock.sendall(struct.pack("<I", len(body)) + body)


# --- the gateway: callbacks only ------------------------------------------------------------------------------------------


class Worker(asyncio.Protocol):
    """The gateway's end of one worker."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.client: Client | None = None
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def serve(self, client: Client, body: bytes) -> None:
        self.client = client
        self.transport.write(struct.pack("<I", len(body)) + body)

    def data_received(self, data: bytes) -> None:
        received = self.received = self.received + data if self.received else data
        if len(received) < 4 or len(received) - 4 < int.from_bytes(received[:4], "little"):
            return
        client, self.client, self.received = self.client, None, b""
        gateway = self.gateway
        if gateway.waiting:
            self.serve(*gateway.waiting.popleft())
        else:
            gateway.idle.append(self)
        if client is not None and client.transport is not None:
            client.transport.write(HEAD % (len(received) - 4, received[4:]))


class Client(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        gateway = self.gateway
        if gateway.idle:
            gateway.idle.pop().serve(self, self.body)
        else:
            gateway.waiting.append((self, self.body))


class Gateway:
    def __init__(self) -> None:
        self.idle: list[Worker] = []
        self.waiting: deque[tuple[Client, bytes]] = deque()


async def gateway(port: int, workers: int, function: str) -> None:
    loop = asyncio.get_running_loop()
    shared = Gateway()
    for _ in range(workers):
        mine, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        command = [sys.executable, "-m", "bench.floor", "worker", str(theirs.fileno()), function]
        subprocess.Popen(command, pass_fds=(theirs.fileno(),))  # noqa: ASYNC220 - before anything is served
        theirs.close()
        _, worker = await loop.create_unix_connection(lambda: Worker(shared), sock=mine)
        shared.idle.append(worker)
    server = await loop.create_server(lambda: Client(shared), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


@contextmanager
def running(workers: int, function: str) -> Iterator[tuple[str, int]]:
    """A floor that listens: its URL and process id. It ends with the block, its workers with it."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.floor", str(port), str(workers), function])
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}/", process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], limit: float = 30.0) -> None:
    """Until somebody listens there. Raises RuntimeError if the process ends or the seconds pass."""
    until = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"nothing listens on port {port}") from None
            time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        work(int(sys.argv[2]), sys.argv[3])
    else:
        uvloop.run(gateway(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
