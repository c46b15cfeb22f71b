"""From an Invoke action to a call on an instance: find the revision, admit, acquire, watch the deadline.

`begin` is the hot path and synchronous; everybody who can wait uses `invoke`. Deadlines are not timers, one a call, but one sweep over
the calls under way every SWEEP seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from ..actions import Invoke
from ..clock import Clock, Timer
from ..errors import Cancelled, DayflyError, InitFailed, Throttled, TimedOut, TooLarge, Unavailable
from ..model.call import Invocation, Mode, Result, Status, Timings
from ..model.function import Flavour, Keep, Reservation, Revision
from ..model.ids import new_id
from ..model.profile import Profile
from ..model.quota import Quota
from ..pool.pool import Pool
from ..workflows.engine import Run
from .body import event_body
from .call import Call, Client

_EVENT: Final = Flavour.EVENT  # see pool.group

SWEEP: Final = 0.05  # seconds between looks at the deadlines: what a timeout may be late


class Routes(Protocol):
    """Who knows what is deployed."""

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        """The revision that takes this call; raises NotFound."""
        ...

    @property
    def reservations(self) -> Mapping[tuple[str, str], Reservation]:
        """How many calls a function may have at the same time, for those that have such a bound, by (namespace, function)."""
        ...

    def profile(self, name: str) -> Profile: ...


class Compositions(Protocol):
    """Who runs workflows: `workflows.engine.Workflows`."""

    def begin(self, invoke: Invoke, revision: Revision, client: Client) -> Run: ...

    def cancel(self, identifier: str) -> bool: ...


COLLECT: Final = 64 << 20  # bytes of an answer that `Dispatcher.invoke` collects in memory

_STATUS: Final[dict[type[DayflyError], Status]] = {
    TimedOut: Status.TIMED_OUT,
    Cancelled: Status.CANCELLED,
    InitFailed: Status.INIT_FAILED,
    Throttled: Status.REJECTED,
    Unavailable: Status.REJECTED,
}


class Dispatcher:
    """All calls of this cell."""

    def __init__(self, routes: Routes, pool: Pool, record: Callable[[Invocation], None], clock: Clock) -> None:
        self.routes = routes
        self.pool = pool
        self.record = record
        self.clock = clock
        self.keep: Callable[[Invoke, Status, Keep, bool], None] = lambda *_: None  # inputs of synchronous calls: observe.inputs
        self.active: dict[str, Call] = {}  # by invocation id
        self._under_way: dict[str, int] = {}  # how many of them, by namespace
        self._reserved: dict[tuple[str, str], dict[int, int]] = {}  # likewise, by revision, of functions with a reservation
        self.quotas: Mapping[str, Quota] = {}  # by namespace
        self._sweeper: Timer | None = None
        self.workflows: Compositions | None = None  # who runs functions that are made of others

    def begin(self, invoke: Invoke, client: Client, *, body_done: bool = True, alone: bool = False) -> Call | Run:
        """Start a call; the client is told the rest. With `body_done` False, `Call.feed` brings the body. `alone`: the code of
        a conductor itself, not the workflow that it conducts.

        Raises NotFound, BadInput, UnsupportedMedia, TooLarge, Throttled or Unavailable before anything has happened.
        """
        revision = self.routes.resolve(invoke.namespace, invoke.function, invoke.qualifier)
        if not invoke.invocation:
            invoke.invocation = new_id()
        if revision.config.flavour is _EVENT:
            event_body(invoke)
        if (revision.config.steps or revision.config.conductor) and not alone and self.workflows is not None:
            return self.workflows.begin(invoke, revision, client)
        group = self.pool.group(revision)
        call = Call(self, invoke, revision, group, client, body_done)
        identifier = invoke.invocation
        self.active[identifier] = call
        self._under_way[invoke.namespace] = self._under_way.get(invoke.namespace, 0) + 1
        try:
            if self.routes.reservations or self._reserved:
                self._check_reserved(call)
            if self.quotas:
                self._check_quota(invoke.namespace)
            instance = group.acquire(call)
        except DayflyError as error:
            error.invocation = identifier
            self.ended(call)
            if invoke.mode is Mode.SYNC:
                self.keep(invoke, Status.REJECTED, revision.config.keep_inputs, body_done)
            self.record(rejected(invoke, revision, error, self.clock.now()))
            raise
        if instance is not None:
            call.assigned(instance)
        if self._sweeper is None:
            self._sweeper = self.clock.call_later(SWEEP, self._sweep)
        return call

    def _check_quota(self, namespace: str) -> None:
        quota = self.quotas.get(namespace)
        if quota is None or not quota.concurrent_calls:
            return
        calls = self.running(namespace)
        if calls > quota.concurrent_calls:  # this one is among them
            raise Throttled(
                f"the namespace {namespace} may have {quota.concurrent_calls} calls at the same time: its quota concurrent_calls",
                hint="Try again later, or ask the operator of this server for more.",
                retry_after=1.0,
                quota="concurrent_calls",
                limit=quota.concurrent_calls,
            )

    def running(self, namespace: str) -> int:
        """Calls of a namespace that wait or run."""
        return self._under_way.get(namespace, 0)

    def _check_reserved(self, begun: Call) -> None:
        invoke, number = begun.invoke, begun.revision.number
        key = invoke.namespace, invoke.function
        reservation = self.routes.reservations.get(key)
        if reservation is None:
            self._reserved.pop(key, None)
            return
        calls = self._reserved.get(key)
        if calls is None:  # the first call since it has a reservation
            calls = self._reserved[key] = {}
            for call in self.active.values():
                if (call.invoke.namespace, call.invoke.function) == key:
                    calls[call.revision.number] = calls.get(call.revision.number, 0) + 1
        else:
            calls[number] = calls.get(number, 0) + 1
        if not reservation.allows(calls):  # this one is among them
            raise Throttled(
                f"{invoke.namespace}/{invoke.function} may have {reservation.limit} calls at the same time, and it has them",
                hint="Try again later, or reserve more for it.",
                retry_after=1.0,
                bound="reserved",
            )

    async def invoke(self, invoke: Invoke, *, alone: bool = False) -> Result:
        """Make the call and wait for its whole answer. Raises what went wrong on the platform's side."""
        client = Collector(COLLECT)
        call = self.begin(invoke, client, alone=alone)
        client.call = call
        try:
            return await client.future
        except asyncio.CancelledError:
            call.cancel()
            raise

    def cancel(self, identifier: str) -> bool:
        """Cancel a call that is waiting or running; False if there is none of that id."""
        call = self.active.get(identifier)
        if call is None:
            return self.workflows is not None and self.workflows.cancel(identifier)
        call.cancel()
        return True

    def ended(self, call: Call) -> None:
        """To be told once of every call that `begin` has made."""
        self.active.pop(call.invoke.invocation, None)
        namespace = call.invoke.namespace
        if self._reserved:
            calls = self._reserved.get((namespace, call.invoke.function))
            if calls is not None:
                number = call.revision.number
                calls[number] = calls.get(number, 0) - 1
                if calls[number] <= 0:
                    del calls[number]
        left = self._under_way[namespace] - 1
        if left:
            self._under_way[namespace] = left
        else:
            del self._under_way[namespace]

    def status_of(self, error: DayflyError) -> Status:
        """How the record calls this failure."""
        return _STATUS.get(type(error), Status.CRASHED)

    def _sweep(self) -> None:
        now = self.clock.monotonic()
        for call in [call for call in self.active.values() if call.deadline <= now]:
            call.expire()
        self._sweeper = self.clock.call_later(SWEEP, self._sweep) if self.active else None

    async def drain(self, seconds: float) -> None:
        """Wait until no call is under way, but no longer than this."""
        until = self.clock.monotonic() + seconds
        while self.active and self.clock.monotonic() < until:
            await self.clock.sleep(SWEEP)


def rejected(invoke: Invoke, revision: Revision, error: DayflyError, now: float) -> Invocation:
    """The record of a call that user code never saw."""
    return Invocation(
        id=invoke.invocation,
        namespace=invoke.owner or invoke.namespace,
        function=invoke.function,
        revision=revision.number,
        mode=invoke.mode,
        status=Status.REJECTED,
        cold=False,
        started=now,
        timings=Timings(),
        billed_ms=0,
        memory_mb=revision.config.memory_mb,
        cause=invoke.cause,
        attempt=invoke.attempt,
        http_status=error.status,
        error_type=error.kind,
        error_message=error.detail[:1024],
        note=invoke.note,
    )


class Collector:
    """A client that collects the whole answer in memory."""

    def __init__(self, limit: int) -> None:
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.call: Call | Run | None = None
        self._limit = limit
        self._size = 0
        self._parts: list[bytes] = []
        self._result: Result | None = None

    def on_result(self, result: Result) -> None:
        if result.streaming:
            self._result = result
            self._take(result.body)
        elif not self.future.done():
            self.future.set_result(result)

    def on_data(self, data: bytes, end: bool) -> None:
        self._take(data)
        if end and not self.future.done():
            assert self._result is not None
            self._result.body = b"".join(self._parts)
            self._result.streaming = False
            self.future.set_result(self._result)

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._limit:
            self._parts.append(data)
        elif self.call is not None:
            self.call.cancel(
                TooLarge(f"the answer is larger than {self._limit} bytes", hint="Stream it to the caller: call it over HTTP.")
            )

    def on_failure(self, error: DayflyError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
