"""One instance of a node agent, as the server sees it.

Two parties tell of it. The channel says what the instance itself sends, or that it hung up; the agent says how it ended, which the
instance cannot forge. So when the channel breaks, the box waits for the agent's word before it reports, and if the instance only
pretended to end, the agent ends it after LINGER seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...clock import Clock, Timer
from ...errors import DayflyError, InitFailed, InstanceDied, Unavailable
from ..channel import Channel
from ..port import BoxEvents, BoxSpec, Exit, Ready, Stats
from . import messages as m

if TYPE_CHECKING:
    from .client import NodeSandbox

LINGER = 0.5  # seconds an instance has to end by itself after it failed to load or hung up
MAX_STOP = 2.0  # seconds that an instance may ask for to end in order


class NodeBox:
    """Raw: `guard.Guarded` stands before it."""

    def __init__(self, spec: BoxSpec, events: BoxEvents, sandbox: NodeSandbox, clock: Clock) -> None:
        self.spec = spec
        self._events = events
        self._sandbox = sandbox
        self._clock = clock
        self._channel = Channel(self, serial=spec.concurrency == 1)
        self.call = self._channel.call  # a hop less on the hot path
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connecting: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._last: Timer | None = None
        self._word: m.Exited | None = None  # what the agent said of its end
        self._ready = False
        self._stop_s = 0.0
        self._frozen = False
        self._error: DayflyError | None = None  # why it must end, if we know before the agent tells

    # --- the port ---------------------------------------------------------------------------------------------------

    def send(self, stream: int, data: bytes, end: bool) -> None:
        self._channel.send(stream, data, end)

    def cancel(self, stream: int) -> None:
        self._channel.cancel(stream)

    @property
    def full(self) -> bool:
        return self._channel.full

    def when_drained(self, callback: Callable[[], None]) -> None:
        self._channel.when_drained(callback)

    def hold(self) -> None:
        self._channel.hold()

    def release(self) -> None:
        self._channel.release()

    async def pause(self) -> None:
        self._frozen = True
        await self._sandbox.ask(lambda number: m.Pause(number, self.spec.id))

    async def resume(self) -> None:
        self._frozen = False
        await self._sandbox.ask(lambda number: m.Resume(number, self.spec.id))

    async def stats(self) -> Stats:
        reply = await self._sandbox.ask(lambda number: m.StatsRequest(number, self.spec.id))
        return Stats(reply.memory_kb, reply.cpu_us, reply.pids)

    async def destroy(self) -> None:
        if self._stop_s and self._channel.open:
            if self._frozen:
                self._sandbox.send(m.Resume(0, self.spec.id))
            self._channel.stop("timeout" if self._channel.busy else "spindown")
            self._sandbox.destroy(self.spec.id, self._stop_s)
        else:
            self._sandbox.destroy(self.spec.id)
        await asyncio.shield(self._exited)

    # --- what the agent says ----------------------------------------------------------------------------------------

    def created(self, socket: str, *, busy_s: float = 0.0) -> None:
        """Its socket stands. `busy_s`: for how long it may be at work for an earlier server."""
        limit = self.spec.init_timeout_s + busy_s
        self._timer = self._clock.call_later(limit, lambda: self._late(limit))
        self._connecting = asyncio.get_running_loop().create_task(self._channel.connect(socket))
        self._connecting.add_done_callback(self._connected)

    def exited(self, exited: m.Exited) -> None:
        """It is gone. What it sent before may still be on its way to us; the connection's end comes after it."""
        if self._exited.done() or self._word is not None:
            return
        self._word = exited
        asked = exited.reason == "asked" and not self._channel.busy  # what it still answered tells which call it had begun
        if asked or not (self._channel.open or self._connecting is not None):
            self._finish()
        else:
            self._last = self._clock.call_later(LINGER, self._finish)

    def _finish(self) -> None:
        """Tell everybody who waits, the calls first."""
        exited = self._word
        if self._exited.done() or exited is None:
            return
        self._settle()
        error = self._reason(exited)
        self._channel.close(error)
        self._sandbox.forget(self.spec.id)
        self._exited.set_result(None)
        self._events.on_exit(Exit(error=error, oom=exited.oom, peak_kb=exited.peak_kb, cpu_us=exited.cpu_us))

    def detach(self) -> None:
        """Let go of it without ending it: it waits for another server."""
        self._settle()
        self._channel.close(Unavailable("the server is stopping"))

    # --- what the instance says -------------------------------------------------------------------------------------

    def on_ready(self, ready: Ready) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ready = True
        self._stop_s = min(max(ready.stop_s, 0.0), MAX_STOP)
        self._events.on_ready(ready)

    def on_failed(self, error: DayflyError) -> None:
        self._error = self._error or error
        self._sandbox.destroy(self.spec.id, max(LINGER, self._stop_s))

    def on_broken(self, violation: str) -> None:
        if self._word is not None:
            self._finish()
            return
        connecting = self._connecting is not None  # then what broke is the connection, not the protocol
        if violation and not connecting:
            self._error = self._error or InstanceDied(f"the instance broke the protocol: {violation}")
            self._sandbox.destroy(self.spec.id)
        else:
            self._sandbox.destroy(self.spec.id, LINGER)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None

    def _late(self, limit: float) -> None:
        self._timer = None
        self._error = self._error or InitFailed(
            f"the code was not loaded within {limit:g} seconds",
            hint="Load less while the module is imported, or raise init_timeout_s.",
            init_timeout_s=limit,
        )
        self._sandbox.destroy(self.spec.id)

    def _settle(self) -> None:
        for timer in (self._timer, self._last):
            if timer is not None:
                timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()

    def _reason(self, exited: m.Exited) -> DayflyError | None:
        """Why it ended; None if it was told to."""
        if self._error is not None or exited.reason == "asked":
            return self._error
        if exited.reason == "start":
            return Unavailable(f"the instance cannot be started: {exited.detail}")
        if exited.reason == "agent":
            return InstanceDied(exited.detail)
        hint = "Raise its memory_mb." if exited.oom else "Its log may say more."
        ending: dict[str, Any] = {"oom": exited.oom, "exit_status": exited.status, "signal": exited.signal}
        if not self._ready:
            return InitFailed(f"the instance ended while it was loaded: {exited.detail}", hint=hint, **ending)
        return InstanceDied(f"the instance ended: {exited.detail}", hint=hint, **ending)
