"""The port of a source: what makes events for a trigger.

    start(checkpoint)        begin where the checkpoint says; None: there is none yet
    stop() -> checkpoint     end, and say where to begin the next time; None: nothing is to be kept. May be called at any time, and twice
    wait()                   return when it has come to its end (few do), raise what it failed of

A source gives events to its outlet, and tells the foreign system that they have arrived only after `emit` has returned: then they are on
our disk. So an event may come twice where a crash falls between the two, and none is lost. Where the checkpoint goes along with the
events, both are written in one transaction, and there is no "between".

A source holds a bounded number of events: it asks for more when those before are on the disk. `emit` that has to wait, because too much
waits for delivery already, holds the source back.

Implementations: one folder each, listed in `kinds`. The runner restarts one that fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from ..clock import Clock
from ..errors import BadInput, DayflyError, Throttled
from ..events.leases import Fence
from ..model.event import Event
from ..model.ids import new_id
from ..model.trigger import Trigger

STOP_AGAIN: Final = 10.0  # seconds
STOP_GRACE: Final = 5.0  # seconds
MAX_BATCH: Final = 100  # events that a source reads in one go


class SourceFailed(DayflyError):
    """A source of events cannot work"""

    status = 502
    kind = "source-failed"


class Outlet(Protocol):
    """Where a source puts what it has."""

    async def emit(
        self, events: Sequence[Event], checkpoint: bytes | None = None, *, once: str = "", once_s: float = 0.0
    ) -> int:
        """Return once they are on disk. Raises DayflyError if they cannot be: then none of them is.

        `once`: what is accepted once within so many seconds, also over a restart. -> how many were not, because they had been
        """
        ...


class Context(Struct, frozen=True, kw_only=True):
    """What a source is made with. Its settings are checked, and secrets in them resolved."""

    trigger: Trigger
    outlet: Outlet
    clock: Clock
    since: float  # seconds since the epoch at which the trigger got its present settings
    ready: Callable[[], None] = lambda: None  # to be called when it is connected
    announce: Callable[[float], None] = lambda _: None  # the moment at which it will emit next, where that is known

    @property
    def source(self) -> str:
        """The `source` of its events, if they have none of their own."""
        return f"/namespaces/{self.trigger.namespace}/triggers/{self.trigger.name}"


class Source(Protocol):
    async def start(self, checkpoint: bytes | None) -> None: ...

    async def stop(self) -> bytes | None: ...

    async def wait(self) -> None: ...


class Loop:
    """A source that is one task: `run` is to be written. It keeps what it has come to in `checkpoint`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.checkpoint: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, checkpoint: bytes | None) -> None:
        self.checkpoint = checkpoint
        self._task = asyncio.create_task(self.run())

    async def stop(self) -> bytes | None:
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again, should a library have swallowed it
            await asyncio.wait({self._task}, timeout=STOP_AGAIN)
        return self.checkpoint

    async def wait(self) -> None:
        assert self._task is not None
        await asyncio.shield(self._task)

    async def run(self) -> None:
        raise NotImplementedError

    def _refused(self, event: Event, error: BadInput) -> Event:
        told = {"reason": error.detail, "id": event.id[:256], "bytes": len(event.data or b"")}
        return Event(
            id=new_id(),
            source=self.context.source,
            type="dayfly.source.refused",
            datacontenttype="application/json",
            data=msgspec.json.encode(told),
        )

    async def deliver(self, events: Sequence[Event], confirm: Callable[[], Awaitable[object]]) -> None:
        """Emit, then tell the foreign system. A stop that falls in the middle waits for both, or events would come twice."""

        async def both() -> None:
            await self.emit(events)
            await confirm()

        task = asyncio.ensure_future(both())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=STOP_GRACE)
            task.cancel()
            raise

    async def emit(self, events: Sequence[Event], checkpoint: bytes | None = None) -> None:
        """Give events to the outlet; where too much waits for delivery already, wait until it takes them.

        A message that cannot be an event (too large, say) must not hold up those behind it: in its place goes an event that says so.
        """
        while True:
            try:
                await self.context.outlet.emit(events, checkpoint)
                break
            except Throttled as full:
                await self.context.clock.sleep(full.retry_after or 1.0)
            except BadInput as error:
                if len(events) == 1:
                    events = [self._refused(events[0], error)]
                    continue
                for event in events:
                    await self.emit([event])
                events = []
        if checkpoint is not None:
            self.checkpoint = checkpoint


def guessed(data: bytes) -> str:
    """The content type of data that came without one."""
    try:
        msgspec.json.decode(data)
        return "application/json"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        data.decode()
        return "text/plain"
    except UnicodeDecodeError:
        return "application/octet-stream"


class Emit(Protocol):
    """See events.broker.Brokers.emit."""

    async def __call__(
        self,
        namespace: str,
        trigger: str,
        events: Sequence[Event],
        checkpoint: bytes | None = None,
        *,
        once: str = "",
        once_s: float = 0.0,
        fence: Fence | None = None,
    ) -> int: ...
