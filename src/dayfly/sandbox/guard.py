"""A wrapper that makes any Box safe to use.

Boxes end at any moment: killed, out of memory, their node gone. Whoever holds one should not have to ask first. So the guard stands on
both sides of a box, as the Box its owner holds and as the BoxEvents the box reports to, and gives the port's guarantees whatever the
implementation does: every sink gets exactly one ending, and gets it before `on_exit`; `on_ready` comes at most once and `on_exit`
exactly once; pause, resume and destroy never overlap; everything is harmless on a box that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import DayflyError, InstanceDied
from ..model.call import FunctionError
from .port import Box, BoxEvents, BoxSpec, Exit, Ready, ResponseHead, Sink, Stats

Watch = Callable[[str, BoxSpec], None]  # created, ready, paused, resumed, destroyed, exited


class _Once:
    """A sink that ends once; after that it is deaf."""

    __slots__ = ("_open", "_sink")

    def __init__(self, sink: Sink, open_: set[_Once]) -> None:
        self._sink: Sink | None = sink
        self._open = open_
        open_.add(self)

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None:
        sink = self._end() if end else self._sink
        if sink is not None:
            sink.on_response(head, body, end)

    def on_data(self, data: bytes, end: bool) -> None:
        sink = self._end() if end else self._sink
        if sink is not None:
            sink.on_data(data, end)

    def on_error(self, error: FunctionError) -> None:
        sink = self._end()
        if sink is not None:
            sink.on_error(error)

    def on_lost(self, error: DayflyError) -> None:
        sink = self._end()
        if sink is not None:
            sink.on_lost(error)

    def _end(self) -> Sink | None:
        sink, self._sink = self._sink, None
        self._open.discard(self)
        return sink


class Guarded:
    """`guard = Guarded(events); guard.wrap(SomeBox(spec, guard))`. The guard is the Box to hand out."""

    __slots__ = ("_box", "_events", "_exit", "_lock", "_open", "_paused", "_ready", "_sinks", "_watch", "spec")

    spec: BoxSpec
    _box: Box

    def __init__(self, events: BoxEvents, watch: Watch | None = None, *, sinks: bool = True) -> None:
        """`sinks`: whether to see to it that a sink ends once; not needed where the box does (`Channel`)."""
        self._events = events
        self._sinks = sinks
        self._watch = watch
        self._open: set[_Once] = set()
        self._lock = asyncio.Lock()
        self._exit: Exit | None = None
        self._ready = False
        self._paused = False

    def wrap(self, box: Box) -> None:
        """Set the box this guard stands for; once, before it is used."""
        self._box = box
        self.spec = box.spec
        self._emit("created")

    # --- as the box -----------------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        return self._exit is not None

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        if self._exit is not None:
            sink.on_lost(self._exit.error or InstanceDied("the instance is gone"))
            return 0
        return self._box.call(head, body, end, _Once(sink, self._open) if self._sinks else sink)

    def send(self, stream: int, data: bytes, end: bool) -> None:
        if self._exit is None:
            self._box.send(stream, data, end)

    def cancel(self, stream: int) -> None:
        if self._exit is None:
            self._box.cancel(stream)

    @property
    def full(self) -> bool:
        return self._exit is None and self._box.full

    def when_drained(self, callback: Callable[[], None]) -> None:
        if self._exit is None:
            self._box.when_drained(callback)

    def hold(self) -> None:
        if self._exit is None:
            self._box.hold()

    def release(self) -> None:
        if self._exit is None:
            self._box.release()

    async def pause(self) -> None:
        async with self._lock:
            if self._exit is None and not self._paused:
                await self._box.pause()
                self._paused = True
                self._emit("paused")

    async def resume(self) -> None:
        async with self._lock:
            if self._exit is None and self._paused:
                await self._box.resume()
                self._paused = False
                self._emit("resumed")

    async def stats(self) -> Stats:
        if self._exit is not None:
            return Stats(0, self._exit.cpu_us, 0)
        return await self._box.stats()

    async def destroy(self) -> None:
        async with self._lock:
            if self._exit is None:
                await self._box.destroy()
                self._emit("destroyed")

    # --- as the listener ------------------------------------------------------------------------------------------

    def on_ready(self, ready: Ready) -> None:
        if not self._ready and self._exit is None:
            self._ready = True
            self._emit("ready")
            self._events.on_ready(ready)

    def on_exit(self, exit: Exit) -> None:
        if self._exit is not None:
            return
        self._exit = exit
        error = exit.error or InstanceDied("the instance was stopped")
        for once in list(self._open):
            once.on_lost(error)
        self._emit("exited")
        self._events.on_exit(exit)

    def _emit(self, what: str) -> None:
        if self._watch is not None:
            self._watch(what, self.spec)
