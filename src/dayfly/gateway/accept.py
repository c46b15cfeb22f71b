"""The door of a listener: who comes is counted before anything is made for them, a TLS handshake included.

uvicorn's own servers would count a connection only when its handshake is done, and cannot refuse one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final

from ..errors import DayflyError, Unavailable
from .connections import peer_of
from .edge import Edge, problem
from .protocol import EdgeProtocol

BURST: Final = 64  # connections accepted in one go, before those that are there have their turn
PAUSE: Final = 0.1  # seconds that nothing is accepted while the process has no descriptors
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts on one socket that listens, until it is closed."""

    def __init__(self, listening: socket.socket, edge: Edge, tls: ssl.SSLContext | None) -> None:
        self._socket = listening
        self._edge = edge
        self._tls = tls
        self._greeting: set[asyncio.Task[None]] = set()
        self._refusal = _answer(
            Unavailable("too many connections", hint="Close those you do not need, or try again later.", retry_after=1.0)
        )

    def open(self, make: Callable[[], EdgeProtocol]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._resume()

    def close(self) -> None:
        self._open = False
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for task in self._greeting:
            task.cancel()

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(self._socket)
                    self._loop.call_later(PAUSE, self._resume)
                return  # or else the connection is gone already
            sock.setblocking(False)
            peer = peer_of(address[0])
            if self._edge.connections.admit(peer):
                task = self._loop.create_task(self._greet(sock, peer))
                self._greeting.add(task)
                task.add_done_callback(self._greeting.discard)
            else:
                self._refuse(sock)

    async def _greet(self, sock: socket.socket, peer: str) -> None:
        connection = self._make()
        connection.peer = peer
        self._edge.connections.join(peer, connection)
        timeout = self._edge.limits.handshake_timeout_s if self._tls else None
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=timeout)
        except OSError:  # gone meanwhile, or no TLS
            pass
        finally:
            if not connection.opened:
                self._edge.connections.leave(peer, connection)

    def _refuse(self, sock: socket.socket) -> None:
        """Say why, as far as it can be said without waiting."""
        with contextlib.suppress(OSError):
            if self._tls is None:
                sock.send(self._refusal)
                sock.shutdown(socket.SHUT_WR)
        sock.close()


def _answer(error: DayflyError) -> bytes:
    reply = problem(error)
    lines = [f"HTTP/1.1 {reply.status} Service Unavailable", *(f"{name}: {value}" for name, value in reply.headers)]
    lines += [f"content-length: {len(reply.body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + reply.body
