"""Answers what callers ask about calls: records, answers of asynchronous ones, cancellation, usage, instances.

A call is looked for where it is now: under way, in the queue, or written down.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec.structs import replace

from ..actions import (
    CancelInvocation,
    FollowLogs,
    GetInvocation,
    GetResult,
    GetUsage,
    ListInstances,
    ListInvocations,
    Page,
    Performers,
    ReadLogs,
    Record,
)
from ..errors import DayflyError, NotFound
from ..events.queue import AsyncQueue, Entry
from ..events.retry import State
from ..model.call import Invocation, Mode, Result, Status, Timings
from ..model.ids import id_time
from ..model.instance import InstanceInfo
from ..model.log import LogLine
from ..model.usage import PriceSheet, Usage
from ..observe.logs import LogStore
from ..observe.recorder import Recorder
from ..observe.records import PAGE_LIMIT, Filter
from ..pool.pool import Pool
from .call import Call
from .dispatcher import Dispatcher


class History:
    """Performs the reading actions on calls, and CancelInvocation."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        recorder: Recorder,
        logs: LogStore,
        queue: AsyncQueue,
        pool: Pool,
        prices: PriceSheet,
        flush_logs: Callable[[], Awaitable[None]],
    ) -> None:
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._logs = logs
        self._queue = queue
        self._pool = pool
        self._prices = prices
        self._flush_logs = flush_logs
        self.firing: Callable[[str], Awaitable[Invocation | None]] = _no_firing  # of an event's record, from what is on disk

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            CancelInvocation: self.cancel,
            Record: self.note,
            GetInvocation: self.get,
            GetResult: self.result,
            ListInvocations: self.list,
            ReadLogs: self.read_logs,
            FollowLogs: self.follow_logs,
            GetUsage: self.usage,
            ListInstances: self.instances,
        }

    async def get(self, action: GetInvocation) -> Invocation:
        """The call as it stands now. Raises NotFound, also for a call of another namespace."""
        call = self._dispatcher.active.get(action.id)
        if call is not None and call.invoke.namespace == action.namespace:
            return running(call)
        entry = await self._queue.status(action.id)
        if entry is not None and entry.namespace != action.namespace:
            entry = None
        record = await self._recorder.get(action.id)
        if record is None and entry is None:
            record = await self.firing(action.id)
        if record is not None and record.namespace != action.namespace:
            record = None
        if entry is not None and (entry.open or record is None):
            return await self._of_queue(entry)
        if record is None:
            raise self._missing(action.namespace, action.id)
        if entry is not None and entry.state is not State.DONE:
            return replace(record, status=entry.invocation().status, error_message=record.error_message or entry.last_error)
        return record

    async def _of_queue(self, entry: Entry) -> Invocation:
        """What the queue knows of a call without a record. A crash may have taken that along; what became of the call is on disk."""
        known = entry.invocation()
        if entry.open:
            return known
        try:
            result = await self._queue.result(entry.id)
        except NotFound:  # it ended without an answer
            return known
        error = result.error
        return replace(
            known,
            revision=result.revision,
            cold=result.cold,
            timings=result.timings,
            http_status=result.status,
            error_type=error.type if error else "",
            error_message=known.error_message or (error.message if error else ""),
            answer=result.body.decode("utf-8", "replace"),
            note=result.note,
        )

    @staticmethod
    def _missing(namespace: str, identifier: str) -> NotFound:
        return NotFound(
            f"there is no invocation {identifier[:80]!r} in {namespace}",
            hint="Records are kept for a time and up to a number; see: dayfly invocations",
        )

    async def note(self, action: Record) -> None:
        self._recorder.record(
            Invocation(
                id=action.id,
                namespace=action.namespace,
                function=action.name,
                revision=0,
                mode=Mode.EVENT,
                status=Status.OK,
                cold=False,
                started=id_time(action.id),
                timings=Timings(),
                billed_ms=0,
                memory_mb=0,
                answer=action.answer,
                note=action.note,
            )
        )

    async def result(self, action: GetResult) -> Result:
        entry = await self._queue.status(action.id)
        if entry is None or entry.namespace != action.namespace:
            raise NotFound(
                f"no answer is kept for the invocation {action.id[:80]!r} in {action.namespace}",
                hint="Answers are kept of asynchronous calls only, for a day.",
            )
        return await self._queue.result(action.id)

    async def list(self, action: ListInvocations) -> Page[Invocation]:
        wanted = Filter(action.namespace, action.function, action.status, action.since, action.until, action.cursor)
        waiting = await self._queue.listed(wanted, max(1, min(action.limit, PAGE_LIMIT)) + 1)
        active = self._dispatcher.active
        unrecorded = [running(call) for call in active.values() if call.invoke.namespace == action.namespace]
        unrecorded += [entry.invocation() for entry in waiting if entry.id not in active]
        items, cursor = await self._recorder.list(wanted, action.limit, unrecorded)
        return Page(items=tuple(items), cursor=cursor)

    async def cancel(self, action: CancelInvocation) -> Invocation | None:
        """Cancels in the queue and on the instance. None if the call had ended already."""
        call = self._dispatcher.active.get(action.id)
        mine = call is not None and call.invoke.namespace == action.namespace
        entry = await self._queue.status(action.id)
        if entry is not None and entry.namespace != action.namespace:
            entry = None
        if entry is None and not mine:
            await self.get(GetInvocation(namespace=action.namespace, id=action.id))  # raises if it never was
            return None
        cancelled = await self._queue.cancel(action.id) if entry is not None else None
        stopped = self._dispatcher.cancel(action.id) if mine else False
        if cancelled is None and not stopped:
            return None
        return await self.get(GetInvocation(namespace=action.namespace, id=action.id))

    async def read_logs(self, action: ReadLogs) -> Page[LogLine]:
        if action.invocation:  # of a call that has ended, all that it printed
            with contextlib.suppress(DayflyError):
                await self._flush_logs()
        lines, cursor = await self._logs.read(
            action.namespace,
            action.function,
            action.invocation,
            since=action.since,
            limit=action.limit,
            cursor=action.cursor,
        )
        return Page(items=tuple(lines), cursor=cursor)

    async def follow_logs(self, action: FollowLogs) -> AsyncIterator[LogLine]:
        return self._logs.follow(action.namespace, action.function, action.invocation, since=action.since)

    async def usage(self, action: GetUsage) -> Usage:
        return await self._recorder.usage(
            action.namespace, action.function, since=action.since, until=action.until, sheet=self._prices
        )

    async def instances(self, action: ListInstances) -> Page[InstanceInfo]:
        found = [
            info for info in self._pool.infos() if info.namespace == action.namespace and action.function in ("", info.function)
        ]
        return Page(items=tuple(sorted(found, key=lambda info: (info.function, info.created))))


async def _no_firing(_: str) -> None:
    return None


def running(call: Call) -> Invocation:
    """A call under way in the shape of a record."""
    invoke = call.invoke
    return Invocation(
        id=invoke.invocation,
        namespace=invoke.namespace,
        function=invoke.function,
        revision=call.revision.number,
        mode=invoke.mode,
        status=Status.RUNNING if call.running else Status.QUEUED,
        cold=False,
        started=call.started,
        timings=Timings(),
        billed_ms=0,
        memory_mb=call.revision.config.memory_mb,
        cause=invoke.cause,
        instance=call.instance.id if call.instance is not None else "",
        attempt=invoke.attempt,
    )
