"""One listening address: uvicorn with our protocol class, run inside the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from ..errors import Conflict
from .accept import Acceptor
from .edge import Edge
from .protocol import EdgeProtocol

BACKLOG = 4096


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers and with our own way to accept; once a second it looks for clients that are too slow."""

    def __init__(self, config: uvicorn.Config, protocol: type[EdgeProtocol], acceptor: Acceptor) -> None:
        super().__init__(config)
        self.protocol = protocol
        self.acceptor = acceptor
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        self.acceptor.open(self._protocol)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.acceptor.close()
        await super().shutdown(sockets)

    def _protocol(self) -> EdgeProtocol:
        return self.protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            connections = [one for one in self.server_state.connections if isinstance(one, EdgeProtocol)]
            for connection in connections:
                connection.check_pace(now)
            self.protocol.edge.connections.look(now)
        return await super().on_tick(counter)


class Listener:
    """Accepts connections for one edge until it is closed."""

    def __init__(
        self,
        edge: Edge,
        app: Any,
        host: str,
        port: int,
        *,
        grace_s: float = 10.0,
        tls: tuple[Path, Path] | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        """Binds at once; raises Conflict if the address is taken. `port` 0 takes a free one (see `port`).

        `tls` are the files of a certificate and its key. Without, it is plain HTTP. `listening` is bound already, and is used instead.
        """
        self._socket = listening or _bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        protocol = type("EdgeProtocolOfListener", (EdgeProtocol,), {"edge": edge})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,  # it would write a line for each bad request
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(edge.limits.idle_timeout_s),
            timeout_graceful_shutdown=int(grace_s) or 1,
        )
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
        self._server = _Server(config, protocol, Acceptor(self._socket, edge, context))
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Accept connections from now on."""
        await self._server.on_tick(0)
        self._task = asyncio.ensure_future(self._server.serve())
        await self._server.listening.wait()

    async def close(self) -> None:
        """Accept nothing more, let answers under way go out, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Conflict(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="Something else uses the port: choose another one with --port, or stop it.",
        ) from error
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening
