"""Several calls at a time in one instance: a thread for each call of a plain handler.

The gateway counts; it never has more calls open than the revision's concurrency allows. A thread cannot be stopped: when a cancelled call
must end, the gateway destroys the instance.
"""

from __future__ import annotations

import contextvars
import queue
import socket
import threading

from .frames import CANCEL, DATA, END, REQUEST, Connection, loads
from .output import NO_CALL, Tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Optional, Union

    from .bridge import Exchanges
    from .call import Calls

    Runner = Union[Calls, Exchanges]
    Pieces = queue.SimpleQueue[Optional[bytes]]  # of a body; b"" is its end, None that it broke off

BROKEN_OFF = "the client went away before the body of its request was complete"
current: contextvars.ContextVar[str] = contextvars.ContextVar("dayfly_call")


class ContextTag(Tag):
    """The call that the running thread or task belongs to."""

    fallback = ""  # until the first call comes

    @property
    def id(self) -> str:  # type: ignore[override]
        return current.get(ContextTag.fallback)


class _Locked(Connection):
    """A connection that several threads send on."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock:
            super().send(data)


class Threads:
    """Plain handlers: a thread a call, kept for the next one, at most `limit`."""

    def __init__(self, calls: Runner, limit: int) -> None:
        self._calls = calls
        self._limit = limit
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def serve(self, plain: Connection) -> None:
        """Read until the gateway goes; calls that still run then have nobody to answer to."""
        ContextTag.fallback = NO_CALL
        conn = _Locked(plain.sock)
        bodies: dict[int, Pieces] = {}
        frame = conn.frame()
        while frame is not None:
            kind, stream, payload = frame
            plain_kind = kind & 0x7F
            frame = None
            if plain_kind == REQUEST:
                head, body, rest = loads(payload), b"", None
                if not kind & END:
                    frame = conn.take()  # most bodies came along with the head
                    if frame is not None and frame[0] == DATA | END and frame[1] == stream:
                        body, frame = frame[2], None
                    else:
                        pieces: Pieces = queue.SimpleQueue()
                        bodies[stream] = pieces
                        rest = _reader(pieces)
                self._submit((conn, stream, head, body, rest, _run_alone), bodies)
            else:
                if plain_kind == CANCEL:
                    self._calls.cancel(stream)
                waiting = bodies.get(stream)
                if waiting is not None:
                    if plain_kind == DATA and payload:
                        waiting.put(payload)
                    if kind & END or plain_kind == CANCEL:
                        bodies.pop(stream, None)
                        waiting.put(None if plain_kind == CANCEL else b"")
            if frame is None:
                frame = conn.frame()
        for waiting in list(bodies.values()):
            waiting.put(None)
        plain.open = False

    def _submit(self, job: Any, bodies: dict[int, Pieces]) -> None:
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            threading.Thread(target=self._work, name=f"call-{self._started}", daemon=True).start()
        self._jobs.put((job, bodies))

    def _work(self) -> None:
        while True:
            job, bodies = self._jobs.get()
            current.set(job[2]["id"])
            self._calls.run(*job)
            current.set(NO_CALL)
            unread = bodies.pop(job[1], None)
            if unread is not None:
                unread.put(None)  # for whoever still waits for more of the body
            del job, bodies, unread
            self._idle.release()


def _reader(pieces: Pieces) -> Any:
    ended = False

    def rest() -> bytes:
        nonlocal ended
        if ended:
            return b""
        data = pieces.get()
        if data is None:
            raise ConnectionResetError(BROKEN_OFF)
        ended = not data
        return data

    return rest


def _run_alone(awaitable: Awaitable[Any]) -> Any:
    """Run an awaitable that a plain handler returned, in this thread."""

    import asyncio  # the bridge never comes here

    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())
