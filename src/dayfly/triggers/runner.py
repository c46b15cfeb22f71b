"""Runs the sources of triggers: starts one when its trigger appears or is resumed, stops it when that is paused, changed or deleted,
restarts it when it fails, later each time, and tells how it is.

Where several cells share a store, one of them runs a source, by a lease; the others wait for it to be free.

A checkpoint belongs to the settings that it was made under: with other settings a source begins anew, from now.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from ..clock import Clock, Timer
from ..errors import Conflict, DayflyError, NotFound
from ..events.leases import KEEP_EVERY, Fence, Leases
from ..model.event import Event
from ..model.trigger import Source as SourceSpec
from ..model.trigger import SourceHealth, Trigger
from . import kinds
from .port import Context, Emit, Source

FIRST_RETRY: Final = 1.0  # seconds
LAST_RETRY: Final = 60.0
STEADY: Final = 120.0  # seconds of work after which earlier failures are forgotten
MARK: Final = 16  # bytes of a checkpoint that tell the settings it belongs to

log = logging.getLogger("dayfly.triggers")

Key = tuple[str, str]  # namespace, trigger


class Runner:
    """`emit` and `checkpoint` are those of events.broker.Brokers; `secret(namespace, name)` is the value of a secret. `lead(trigger)`
    tells how many seconds ahead of a known moment `prewarm(trigger)` is to be called."""

    def __init__(
        self,
        emit: Emit,
        checkpoint: Callable[[str, str], Awaitable[bytes | None]],
        secret: Callable[[str, str], str | None],
        clock: Clock,
        leases: Leases,
        *,
        lead: Callable[[Trigger], float] = lambda _: 0.0,
        prewarm: Callable[[Trigger], None] = lambda _: None,
    ) -> None:
        self._emit = emit
        self._checkpoint = checkpoint
        self._secret = secret
        self._clock = clock
        self._leases = leases
        self._keeper: asyncio.Task[None] | None = None
        self._lead = lead
        self._prewarm = prewarm
        self._running: dict[Key, _Run] = {}
        self._ending: dict[Key, asyncio.Task[None]] = {}
        self._open = False

    def check(self, trigger: Trigger) -> None:
        """Raises BadInput if the trigger's source does not exist or its settings are wrong."""
        assert trigger.source is not None
        kinds.keep_secret(trigger.source.settings)
        kinds.settings_of(trigger, lambda name: self._secret(trigger.namespace, name))

    def open(self, triggers: Sequence[Trigger]) -> None:
        """Begin: start the sources of these triggers."""
        self._open = True
        self._keeper = asyncio.create_task(self._keep())
        for trigger in triggers:
            self.changed(trigger.namespace, trigger.name, trigger)

    async def close(self) -> None:
        """Stop all sources; what they have come to is on disk."""
        self._open = False
        for key in list(self._running):
            self._end(key)
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            await self._leases.clock.sleep(KEEP_EVERY)
            try:
                await self._leases.keep()
            except DayflyError as error:
                log.warning("leases of sources cannot be kept for now: %s", error)

    def heard(self, kind: str, namespace: str, name: str, noun: object) -> None:
        """A watcher of events.catalog.Catalog."""
        if kind == "trigger":
            self.changed(namespace, name, noun if isinstance(noun, Trigger) else None)

    def changed(self, namespace: str, name: str, trigger: Trigger | None) -> None:
        """A trigger is new, was changed, or is gone (None)."""
        if not self._open:
            return
        key = (namespace, name)
        wanted = trigger is not None and trigger.source is not None and trigger.source.kind != "queue" and not trigger.paused
        run = self._running.get(key)
        if run is not None:
            if wanted and trigger is not None and trigger.source == run.trigger.source:
                run.trigger = trigger
                return
            self._end(key)
        if wanted and trigger is not None:
            self._running[key] = run = _Run(trigger, self._clock.now())
            run.task = asyncio.create_task(self._supervise(run, self._ending.get(key)))

    def secret_changed(self, namespace: str, name: str) -> None:
        """Sources that use this secret start again, with its new value."""
        for key, run in list(self._running.items()):
            if key[0] == namespace and run.trigger.source is not None and _mentions(run.trigger.source, name):
                self._end(key)
                self.changed(*key, run.trigger)

    def health(self, namespace: str, name: str) -> SourceHealth | None:
        """How the source of a trigger is; None: it has none that runs here."""
        run = self._running.get((namespace, name))
        return run.health if run is not None else None

    def source(self, namespace: str, name: str) -> Source | None:
        """The source itself, for those that are called from outside."""
        run = self._running.get((namespace, name))
        return run.source if run is not None else None

    def _end(self, key: Key) -> None:
        run = self._running.pop(key)
        before = self._ending.get(key)

        async def end() -> None:
            if before is not None:
                await asyncio.gather(before, return_exceptions=True)
            await run.end()

        task = self._ending[key] = asyncio.create_task(end())
        task.add_done_callback(lambda done: self._ending.pop(key, None) if self._ending.get(key) is done else None)

    # --- one source ---------------------------------------------------------------------------------------------------

    async def _supervise(self, run: _Run, before: asyncio.Task[None] | None) -> None:
        if before is not None:  # the one that it replaces has the checkpoint
            await asyncio.gather(before, return_exceptions=True)
        while True:
            begun = self._clock.monotonic()
            try:
                await self._once(run)
            except Exception as error:
                known = isinstance(error, DayflyError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                failures = 1 if self._clock.monotonic() - begun > STEADY else run.health.failures + 1
                run.set("failing", self._clock.now(), error=text[:500], failures=failures)
                log.warning("the source of %s/%s fails: %s", *run.key, text, exc_info=None if known else error)
                await self._clock.sleep(min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures - 1, 10)))
            else:
                run.set("ended", self._clock.now())
                return

    async def _once(self, run: _Run) -> None:
        """From start to end, or failure; what it has come to is written down."""
        kind = kinds.KINDS.get(run.trigger.source.kind) if run.trigger.source is not None else None
        leased = kind is not None and not kind.everywhere
        while leased and not await self._leases.take(run.key):
            run.set("elsewhere", self._clock.now())
            await self._leases.clock.sleep(KEEP_EVERY)
        try:
            await self._held(run, self._leases.fence if leased else None)
        finally:
            if leased:
                await self._leases.give(run.key)

    async def _held(self, run: _Run, fence: Callable[[Key], Fence] | None) -> None:
        run.set("starting", self._clock.now(), failures=run.health.failures, error=run.health.error)
        mark = _mark(run.trigger.source)
        found = await self._checkpoint(*run.key)
        checkpoint = found[MARK:] if found is not None and found[:MARK] == mark else None
        outlet = _Outlet(self._emit, run.key, mark, fence)
        context = Context(
            trigger=run.trigger,
            outlet=outlet,
            clock=self._clock,
            since=run.trigger.updated,
            ready=lambda: run.set("running", self._clock.now()),
            announce=lambda moment: self._announce(run, moment),
        )
        run.source = source = kinds.make(context, lambda name: self._secret(run.key[0], name))
        try:
            await source.start(checkpoint)
            await source.wait()
        finally:
            run.source = None
            last = await source.stop()
            if last is not None and last != (outlet.checkpoint or checkpoint):
                try:
                    await outlet.emit((), last)
                except (NotFound, Conflict):
                    pass  # the trigger is gone, and its checkpoint with it; or another cell has both

    def _announce(self, run: _Run, moment: float) -> None:
        run.health = msgspec.structs.replace(run.health, next=moment)
        if run.timer is not None:
            run.timer.cancel()
        lead = self._lead(run.trigger)
        wait = moment - lead - self._clock.now()
        run.timer = self._clock.call_later(wait, lambda: self._prewarm(run.trigger)) if lead > 0 and wait > 0 else None


class _Run:
    """A source that is to run."""

    def __init__(self, trigger: Trigger, now: float) -> None:
        self.trigger = trigger
        self.key = (trigger.namespace, trigger.name)
        self.health = SourceHealth(state="starting", since=now)
        self.source: Source | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None

    def set(self, state: str, now: float, *, error: str = "", failures: int = 0) -> None:
        self.health = SourceHealth(state=state, error=error, failures=failures, since=now)

    async def end(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


class _Outlet:
    def __init__(self, emit: Emit, key: Key, mark: bytes, fence: Callable[[Key], Fence] | None) -> None:
        self._emit = emit
        self._key = key
        self._mark = mark
        self._fence = fence
        self.checkpoint: bytes | None = None  # the last one written

    async def emit(
        self, events: Sequence[Event], checkpoint: bytes | None = None, *, once: str = "", once_s: float = 0.0
    ) -> int:
        marked = self._mark + checkpoint if checkpoint is not None else None
        fence = self._fence(self._key) if self._fence is not None else None
        repeated = await self._emit(*self._key, events, marked, once=once, once_s=once_s, fence=fence)
        if checkpoint is not None:
            self.checkpoint = checkpoint
        return repeated


def _mark(source: SourceSpec | None) -> bytes:
    return hashlib.sha256(msgspec.json.encode(source, order="deterministic")).digest()[:MARK]


def _mentions(source: SourceSpec, secret: str) -> bool:
    """Whether a setting stands for this secret."""
    return msgspec.json.encode(kinds.SECRET + secret) in msgspec.json.encode(source.settings)
