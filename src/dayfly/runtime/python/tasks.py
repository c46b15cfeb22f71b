"""Several calls at a time in one instance: a task for each call of an async handler, on one event loop in the main thread.

A call begins when its body is complete, because a task cannot wait for the connection that its own loop reads. A cancelled call's task
is cancelled.
"""

from __future__ import annotations

import asyncio

from .call import cancelled_frame
from .frames import CANCEL, DATA, END, REQUEST, Connection, loads
from .output import NO_CALL
from .threads import ContextTag, current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Calls


class Tasks:
    """Async handlers: the main thread is an event loop that lasts as long as the instance."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._open: dict[int, asyncio.Task[None]] = {}
        self._bodies: dict[int, tuple[dict[str, Any], list[bytes]]] = {}
        self._cancelled: set[int] = set()

    def serve(self, plain: Connection) -> None:
        """Run the loop until the gateway goes; then stop what is still running."""
        ContextTag.fallback = NO_CALL
        self._loop.add_reader(plain.sock, self._readable, plain)
        self._loop.run_forever()
        for task in self._open.values():
            task.cancel()
        self._open.clear()
        self._bodies.clear()

    def _readable(self, conn: Connection) -> None:
        if not conn.fill():
            self._loop.remove_reader(conn.sock)
            self._loop.stop()
            return
        while True:
            frame = conn.take()
            if frame is None:
                return
            kind, stream, payload = frame
            plain_kind = kind & 0x7F
            if plain_kind == REQUEST:
                head = loads(payload)
                if kind & END:
                    self._begin(conn, stream, head, b"")
                else:
                    self._bodies[stream] = (head, [])
            elif plain_kind == DATA and stream in self._bodies:
                self._bodies[stream][1].append(payload)
                if kind & END:
                    head, pieces = self._bodies.pop(stream)
                    self._begin(conn, stream, head, b"".join(pieces))
            elif plain_kind == CANCEL:
                self._cancel(conn, stream)

    def _begin(self, conn: Connection, stream: int, head: dict[str, Any], body: bytes) -> None:
        token = current.set(head["id"])  # the task copies the context
        task = self._loop.create_task(self._calls.run_async(conn, stream, head, body, self._cancelled))
        current.reset(token)
        self._open[stream] = task
        task.add_done_callback(lambda done: self._done(conn, stream, done))

    def _done(self, conn: Connection, stream: int, task: Any) -> None:
        if self._open.get(stream) is task:
            del self._open[stream]
        self._cancelled.discard(stream)
        if task.cancelled():  # before it began
            conn.send(cancelled_frame(stream))

    def _cancel(self, conn: Connection, stream: int) -> None:
        if self._bodies.pop(stream, None) is not None:
            conn.send(cancelled_frame(stream))
        elif stream in self._open:
            self._cancelled.add(stream)
            self._open[stream].cancel()
