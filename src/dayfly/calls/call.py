"""One call under way: a small state machine between the caller, the pool and the instance.

It is what the instance's channel reports to (`Sink`), what waits in the pool's queue (`Waiter`), and what the caller can feed and
cancel. It reports to the caller (`Client`) exactly one of: a result with its whole body; a result that streams, then data up to its
end; or a platform error. Then it gives back its slot, and last of all writes its record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ..actions import Invoke
from ..errors import BadResponse, Cancelled, DayflyError, InstanceDied, TimedOut, Unavailable
from ..model.call import FunctionError, Invocation, Mode, Result, Status, Timings
from ..model.function import Flavour, Revision
from ..model.instance import State
from ..model.profile import Profile
from ..sandbox.port import ResponseHead

if TYPE_CHECKING:
    from ..pool.group import Group
    from ..pool.instance import Instance
    from .dispatcher import Dispatcher

UPLOAD_HIGH: Final = 256 << 10  # bytes of a request body that wait for an instance before the client is held back
SPARE: Final = 5.0  # seconds beyond a call's own time: what is loaded within it ends with it
LIGHT: Final = 16 << 10  # bytes of the largest body that is sent ahead
_NONE: Final = Timings()
_EVENT: Final = Flavour.EVENT  # members of enumerations that every call asks for (see pool.group)
_SYNC: Final = Mode.SYNC
_OK: Final = Status.OK
_encode = msgspec.json.encode


class Client(Protocol):
    """Who asked. One ending: a result that is not streaming, data with end=True, or a failure."""

    def on_result(self, result: Result) -> None: ...

    def on_data(self, data: bytes, end: bool) -> None: ...

    def on_failure(self, error: DayflyError) -> None: ...


class Call:
    """See the module's text. Made by `Dispatcher.begin`."""

    __slots__ = (
        "_again",
        "_answer",
        "_assigned",
        "_body_done",
        "_cold",
        "_drained",
        "_http_status",
        "_queued",
        "_stream",
        "_upload",
        "ahead",
        "client",
        "deadline",
        "dispatcher",
        "done",
        "group",
        "instance",
        "invoke",
        "responded",
        "revision",
        "started",
        "timings",
        "usage",
        "whole",
    )

    def __init__(
        self, dispatcher: Dispatcher, invoke: Invoke, revision: Revision, group: Group, client: Client, body_done: bool
    ) -> None:
        self.dispatcher = dispatcher
        self.invoke = invoke
        self.revision = revision
        self.group = group
        self.client = client
        self.done = False
        self.responded = False
        self.instance: Instance | None = None
        self.timings = _NONE
        self.usage = (0, 0)  # cpu_us, rss_kb
        self._body_done = self.whole = body_done  # whole: the body came with the call
        self._upload: list[bytes] | None = None
        self._drained: Callable[[], None] | None = None
        self._http_status = 0
        self._answer = b""
        self._stream = 0
        self.ahead = False  # it was sent to an instance that has not begun it
        self._cold = False
        self._again = False  # its instance was not loaded in time, and is loaded within the call
        self._queued = dispatcher.clock.monotonic()
        self._assigned = 0.0
        self.started = dispatcher.clock.now()
        self.deadline = self._queued + dispatcher.pool.limits.queue_timeout_s  # monotonic; of the queue, then of the run

    # --- Waiter ------------------------------------------------------------------------------------------------

    def assigned(self, instance: Instance) -> None:
        """An instance takes the call."""
        self._begin(instance)
        self._send(instance)

    @property
    def light(self) -> bool:
        """Whether it may be sent ahead: all there, small, and called by nobody who waits for it while holding an instance."""
        return self.whole and len(self.invoke.body) <= LIGHT and not self.invoke.depth

    def sent_ahead(self, instance: Instance) -> None:
        """It goes to an instance that is busy still, and begins by itself there."""
        self.ahead = True
        self._send(instance)

    def begun(self) -> None:
        """What was before it on its instance has ended."""
        assert self.instance is not None
        self.ahead = False
        self._begin(self.instance)

    def taken_back(self) -> None:
        """It had not begun when its instance ended; it waits again."""
        assert self.instance is not None
        self.instance.calls -= 1
        self.instance, self.ahead = None, False

    def _begin(self, instance: Instance) -> None:
        self._assigned = now = instance.since
        self._cold = cold = instance.fresh and (self._again or instance.ready_mono >= self._queued)
        instance.fresh = False
        self.deadline = now + self._timeout()
        if self._again:
            self.timings = Timings(cold=now - self._queued)
        elif cold:
            started = max(instance.created_mono, self._queued)
            self.timings = Timings(started - self._queued, instance.ready_mono - started, instance.init_s)
        elif now - self._queued > 0.0005:
            self.timings = Timings(now - self._queued)

    def _timeout(self) -> float:
        timeout, shorter = self.revision.config.timeout_s, self.invoke.timeout_s
        return shorter if 0 < shorter < timeout else timeout

    def _send(self, instance: Instance) -> None:
        self.instance = instance
        instance.calls += 1
        body = self.invoke.body
        if self._upload is not None:  # what came while it waited: if that is all, the call ends with it, not before
            body += b"".join(self._upload)
        self._stream = instance.box.call(self._head(), body, self._body_done, self)
        if self._upload is not None:
            self._upload = None
            if self._drained is not None:
                self._drained()
                self._drained = None

    def refused(self, error: DayflyError) -> None:
        late = "init_timeout_s" in error.members and not self._again
        if late and self.dispatcher.routes.profile(self.revision.profile).loads_again:
            self._again = True
            if self.group.start_with(self, self._timeout() + SPARE):
                return
        self._fail(error)

    def _head(self) -> bytes:
        invoke = self.invoke
        until = self.dispatcher.clock.now() + self._timeout()
        if self.revision.config.flavour is _EVENT and not (
            invoke.trace_parent or invoke.client or invoke.cause or invoke.depth
        ):
            # A deadline in milliseconds is a whole number to format, and the same number to whoever reads it.
            return b'{"id":"%b","deadline":%de-3,"attempt":%d}' % (invoke.invocation.encode(), until * 1000, invoke.attempt)
        head: dict[str, object] = {"id": invoke.invocation, "deadline": until, "attempt": invoke.attempt}
        if self.revision.config.flavour is Flavour.HTTP:
            http = invoke.http
            head["http"] = http if http is not None else {
                "method": "POST", "path": "/", "query": "", "headers": (("content-type", invoke.content_type),),
            }  # fmt: skip
        if invoke.trace_parent:
            head["trace"] = invoke.trace_parent
        if invoke.cause:
            head["cause"] = invoke.cause
        if invoke.depth:
            head["depth"] = invoke.depth
        if invoke.client:
            head["client"] = invoke.client
        return _encode(head)

    # --- the caller's side -----------------------------------------------------------------------------------------

    def feed(self, data: bytes, end: bool) -> None:
        """More of the request's body."""
        self._body_done = end
        if self.done:
            return
        if self.instance is None:
            if self._upload is None:
                self._upload = []
            self._upload.append(data)
        else:
            self.instance.box.send(self._stream, data, end)

    @property
    def running(self) -> bool:
        """Whether an instance has taken the call, or has it before it."""
        return self.instance is not None

    @property
    def full(self) -> bool:
        """Whether the caller should stop sending body for now."""
        if self.instance is None:
            return self._upload is not None and sum(map(len, self._upload)) > UPLOAD_HIGH
        return not self.done and self.instance.box.full

    def when_drained(self, callback: Callable[[], None]) -> None:
        if self.instance is None:
            self._drained = callback
        else:
            self.instance.box.when_drained(callback)

    def hold(self) -> None:
        """The caller is slow to take the answer. With other calls on the instance it may not hold those up."""
        if self.instance is not None and not self.done and self.instance.slots == 1 and not self.ahead:
            self.instance.box.hold()

    def unhold(self) -> None:
        if self.instance is not None and not self.done and self.instance.slots == 1:
            self.instance.box.release()

    def cancel(self, error: DayflyError | None = None) -> None:
        """Stop the call and what it started. The client is told with `error`, by default Cancelled."""
        self._abort(error or Cancelled("the call was cancelled", invocation=self.invoke.invocation))

    def expire(self) -> None:
        """The deadline has passed."""
        identifier = self.invoke.invocation
        if self.instance is None or self.ahead:
            waited = self.dispatcher.pool.limits.queue_timeout_s
            self._abort(
                Unavailable(
                    f"no instance became free within {waited:g} s ({len(self.group.instances)} are running, "
                    f"{len(self.group.waiting)} calls are waiting)",
                    hint="Try again later, or raise --max or --concurrency of the function.",
                    invocation=identifier,
                    retry_after=1.0,
                )
            )
            return
        seconds = self.deadline - self._assigned
        what = "the code was not loaded" if self.instance.state is State.STARTING else "the function did not answer"
        self._abort(
            TimedOut(
                f"{what} within {seconds:g} s and was stopped, with everything it had started",
                hint="Make it faster, or deploy it with a longer --timeout.",
                invocation=identifier,
                timeout_s=round(seconds, 3),
            )
        )

    def _abort(self, error: DayflyError) -> None:
        if self.done:
            return
        instance = self.instance
        self._fail(error)
        if instance is None:
            self.group.forsake()
            return
        if self.ahead:  # those before it go on; the instance is ended when it is this one's turn
            self.group.load.add(-1, self.dispatcher.clock.monotonic())
            return
        if instance.slots == 1:
            self.group.load.add(-1, self.dispatcher.clock.monotonic())
            self.group.kill(instance)
        else:
            # Others run beside it: it gets no new call and ends with them; this call is asked to stop.
            instance.box.cancel(self._stream)
            self.group.retire(instance)
            self.group.release(instance)
        self.group.start_for_waiting()

    # --- Sink ----------------------------------------------------------------------------------------------------------

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None:
        if self.done:
            self._too_late(end)
            return
        self.usage = (head.cpu_us, head.rss_kb)
        self.responded = True
        self._http_status = head.status
        run = self.dispatcher.clock.monotonic() - self._assigned
        before = self.timings
        timings = Timings(before.queue, before.cold, before.init, run)
        result = Result(
            invocation=self.invoke.invocation,
            revision=self.revision.number,
            cold=self._cold,
            status=head.status,
            headers=head.headers,
            body=body,
            timings=timings,
            streaming=not end,
            log=head.log,
            rss_kb=head.rss_kb,
        )
        self.client.on_result(result)
        if end:
            self._answer = body
            self._finish(_OK, timings, head.status)
        else:
            self.group.pressure.streams()

    def on_data(self, data: bytes, end: bool) -> None:
        if not self.done:
            self.client.on_data(data, end)  # which may cancel the call, e.g. for its length
        if self.done:
            self._too_late(end)
        elif end:
            self._finish(_OK, self._ran(), self._http_status)

    def on_error(self, error: FunctionError) -> None:
        if self.done:
            self._too_late(True)
            return
        timings = self._ran()
        if error.rss_kb:
            self.usage = (error.cpu_us, error.rss_kb)
        if self.responded:
            self.client.on_failure(
                BadResponse(
                    f"the function raised {error.type} in the middle of its answer: {error.message}"[:8192],
                    invocation=self.invoke.invocation,
                    error_type=error.type,
                    error_message=error.message,
                )
            )
        else:
            self.client.on_result(
                Result(
                    invocation=self.invoke.invocation,
                    revision=self.revision.number,
                    cold=self._cold,
                    status=500,
                    error=error,
                    timings=timings,
                    log=error.log,
                    rss_kb=self.usage[1],
                )
            )
        self._finish(Status.ERROR, timings, 500, error.type, error.message)

    def on_lost(self, error: DayflyError) -> None:
        if self.done or (self.ahead and not isinstance(error, Unavailable)):
            return  # the latter: its group takes it back as soon as the instance's end is reported
        if isinstance(error, BadResponse) and self.instance is not None:
            # The instance is well; only the answer was not.
            self._tell(error)
            self._finish(Status.ERROR, self._ran(), error.status, error.kind, error.detail)
            return
        if not error.invocation:
            error = self._named(error)
        self._fail(error)
        if self.instance is not None:
            self.group.load.add(-1, self.dispatcher.clock.monotonic())

    def _too_late(self, end: bool) -> None:
        """An answer to a call that was given up: its instance, which is being ended, has gone on to the next."""
        if end and self.instance is not None:
            self.group.moves_on(self.instance)

    def _named(self, error: DayflyError) -> DayflyError:
        detail = error.detail
        if isinstance(error, InstanceDied) and "error_type" not in error.members:
            detail = f"{detail}, while it ran this call"
        named = type(error)(
            detail, hint=error.hint, invocation=self.invoke.invocation, retry_after=error.retry_after, **error.members
        )
        named.instance = error.instance
        return named

    # --- endings ---------------------------------------------------------------------------------------------------------

    def _ran(self) -> Timings:
        before = self.timings
        run = self.dispatcher.clock.monotonic() - self._assigned if self._assigned else 0.0
        if not self._assigned:
            return Timings(self.dispatcher.clock.monotonic() - self._queued)
        return Timings(before.queue, before.cold, before.init, run)

    def _tell(self, error: DayflyError) -> None:
        if not error.invocation:
            error.invocation = self.invoke.invocation
        self.client.on_failure(error)

    def _fail(self, error: DayflyError) -> None:
        """End without an answer of the function; the slot is the caller's business."""
        self.done = True
        status = self.dispatcher.status_of(error)
        self._tell(error if not error.invocation or error.invocation == self.invoke.invocation else self._named(error))
        self.dispatcher.ended(self)
        self._record(status, self._ran(), error.status, error.kind, error.detail, error.instance)

    def _finish(self, status: Status, timings: Timings, http_status: int, kind: str = "", message: str = "") -> None:
        """End with an answer: give back the slot, then write the record."""
        self.done = True
        assert self.instance is not None
        self.dispatcher.ended(self)
        self.group.release(self.instance, timings.run, self.usage[0])
        self._record(status, timings, http_status, kind, message)

    def _record(
        self, status: Status, timings: Timings, http_status: int, kind: str = "", message: str = "", failed: str = ""
    ) -> None:
        """`failed`: the instance that never got as far as the call."""
        invoke = self.invoke
        instance = self.instance
        revision = self.revision
        if invoke.mode is _SYNC:
            self.dispatcher.keep(invoke, status, revision.config.keep_inputs, self.whole)
        cpu_us, peak_kb = self.usage
        profile = self.dispatcher.routes.profile(revision.profile)
        self.dispatcher.record(
            Invocation(
                invoke.invocation,
                invoke.owner or invoke.namespace,
                invoke.function,
                revision.number,
                invoke.mode,
                status,
                self._cold,
                self.started,
                timings,
                math.ceil(timings.run * 1000),  # billed
                revision.config.memory_mb,
                peak_kb,
                cpu_us,
                invoke.cause,
                instance.id if instance is not None and not self.ahead else failed,
                invoke.attempt,
                http_status,
                kind,
                message[:1024] if message else "",
                kept_answer(self._answer, profile) if profile.keep_answers else "",
                invoke.note,
            )
        )


def kept_answer(body: bytes, profile: Profile) -> str:
    """What the record keeps of an answer."""
    return body.decode("utf-8", "replace") if profile.keep_answers and len(body) <= profile.response_limit else ""
