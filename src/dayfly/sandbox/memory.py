"""Instances that are not processes: handlers run in this one. For tests, ours and our users'; it isolates nothing.

    sandbox = MemorySandbox()
    sandbox.register("code/hello", handler)       # what instances with a mount of that source run
    sandbox = MemorySandbox(packages=folder)      # or loads the package's own files

Async handlers run as tasks of the loop, plain ones in a thread each. How a handler is called and what it may return is the very code
that runs inside real sandboxes. What needs a process is not here: prints go where the process prints, limits are not enforced, and a
plain handler that never returns cannot be stopped: `destroy` forgets it, and its thread ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BadResponse, DayflyError, InitFailed, InstanceDied, Unavailable
from ..model.call import FunctionError
from ..runtime.python import contract, errors, reply
from .channel import check_headers
from .frames import ProtocolViolation
from .guard import Guarded
from .port import Box, BoxEvents, BoxSpec, Exit, JobResult, JobSpec, Ready, ResponseHead, Sink, Stats

Handler = Callable[[Any, Any], Any]
FULL = 1 << 20  # bytes of a request's body that wait for their end before the box says it is full

_decode_head = msgspec.json.Decoder(ResponseHead).decode
_IMPORTS = threading.Lock()  # sys.path and sys.modules are changed for the time of one load


class MemorySandbox:
    """The port without processes. `run_job` stands in for commands; without it they are refused."""

    name = "memory"

    def __init__(self, *, packages: Path | None = None, run_job: Callable[[JobSpec], JobResult] | None = None) -> None:
        self._packages = packages
        self._run_job = run_job
        self._handlers: dict[str, Handler] = {}
        self._boxes: dict[str, Guarded] = {}

    def register(self, source: str, handler: Handler) -> None:
        """Let instances with a mount of this source (or whose source ends in this digest) run this handler."""
        self._handlers[source.rpartition("/")[2]] = handler

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        for box in list(self._boxes.values()):
            await box.destroy()

    def create(self, spec: BoxSpec, events: BoxEvents) -> Box:
        guard = Guarded(events)
        roots = [str(self._packages / mount.source) for mount in spec.mounts] if self._packages is not None else []
        box = MemoryBox(spec, guard, lambda: self._load(spec, roots), lambda: self._boxes.pop(spec.id, None))
        box.root = roots[0] if roots else "/"
        guard.wrap(box)
        self._boxes[spec.id] = guard
        return guard

    async def adopt(self, claim: Callable[[BoxSpec], BoxEvents | None]) -> list[Box]:
        """Nothing survives: instances end with the process they run in."""
        return []

    async def flush_logs(self) -> None:
        """Handlers print where this process does."""

    async def run(self, job: JobSpec, on_output: Callable[[str], None] | None = None) -> JobResult:
        if self._run_job is None:
            raise Unavailable("the memory sandbox runs no commands", hint="Give MemorySandbox a run_job function.")
        result = self._run_job(job)
        if on_output is not None and result.output:
            on_output(result.output)
        return result

    def _load(self, spec: BoxSpec, roots: list[str]) -> contract.Entry:
        work = msgspec.to_builtins(spec)
        for mount in spec.mounts:
            handler = self._handlers.get(mount.source.rpartition("/")[2])
            if handler is not None:
                return _entry(handler, work)
        if not roots:
            raise errors.LoadFailed("no handler is registered for this code: call MemorySandbox.register first")
        return _load_files(work | {"task_root": roots[0]}, roots)


class MemoryBox:
    """One instance; `guard.Guarded` stands before it."""

    def __init__(
        self, spec: BoxSpec, events: BoxEvents, load: Callable[[], contract.Entry], on_gone: Callable[[], object]
    ) -> None:
        self.spec = spec
        self._events = events
        self._load = load
        self._on_gone = on_gone
        self.root = "/"  # of its code, to tell its own files from others in traces
        self._loop = asyncio.get_running_loop()
        self._entry: contract.Entry | None = None
        self._calls: dict[int, _Call] = {}
        self._next = 0
        self._paused = False
        self._held: deque[Callable[[], None]] | None = None
        self._drained: list[Callable[[], None]] = []
        self._gone = False
        self._loop.call_soon(self._start)

    def _start(self) -> None:
        if self._gone:
            return
        began = time.perf_counter()
        try:
            self._entry = self._load()
        except BaseException as error:
            said = errors.describe_load(error, self.root)
            self.end(
                InitFailed(
                    f"{said['type']}: {said['message']}",
                    error_type=said["type"],
                    file=said.get("file", ""),
                    line=said.get("line", 0),
                    trace=said["trace"],
                )
            )
            return
        self._events.on_ready(Ready(time.perf_counter() - began))
        for call in list(self._calls.values()):
            call.begin(self._entry)

    # --- the port ---------------------------------------------------------------------------------------------------

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        self._next += 1
        call = self._calls[self._next] = _Call(self, self._next, json.loads(head), sink)
        call.feed(body, end)
        if self._entry is not None:
            self._loop.call_soon(call.begin, self._entry)
        return self._next

    def send(self, stream: int, data: bytes, end: bool) -> None:
        if stream in self._calls:
            self._calls[stream].feed(data, end)
            if end:
                waiting, self._drained = self._drained, []
                for callback in waiting:
                    self._loop.call_soon(callback)
                if self._entry is not None:
                    self._loop.call_soon(self._calls[stream].begin, self._entry)

    def cancel(self, stream: int) -> None:
        if stream in self._calls:
            self._calls[stream].cancel()

    @property
    def full(self) -> bool:
        return any(call.waiting > FULL for call in self._calls.values())

    def when_drained(self, callback: Callable[[], None]) -> None:
        self._drained.append(callback)

    def hold(self) -> None:
        if self._held is None:
            self._held = deque()

    def release(self) -> None:
        held, self._held = self._held, None
        for deliver in held or ():
            deliver()

    async def pause(self) -> None:
        self.hold()

    async def resume(self) -> None:
        self.release()

    async def stats(self) -> Stats:
        return Stats(0, 0, 1)

    async def destroy(self) -> None:
        self.end(None)

    # --- for calls --------------------------------------------------------------------------------------------------

    def tell(self, deliver: Callable[[], None]) -> None:
        """Have something said to a sink, on the loop, in order. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: a thread outlived everybody it could tell
            self._loop.call_soon_threadsafe(self._tell, deliver)

    def _tell(self, deliver: Callable[[], None]) -> None:
        if self._held is not None:
            self._held.append(deliver)
        elif not self._gone:
            deliver()

    def forget(self, stream: int) -> None:
        self._calls.pop(stream, None)

    def end(self, error: DayflyError | None) -> None:
        """Stop everything; the guard loses the sinks."""
        if self._gone:
            return
        self._gone = True
        for call in list(self._calls.values()):
            call.abandon()
        self._calls.clear()
        self._on_gone()
        self._events.on_exit(Exit(error=error))


class _Call:
    """One call under way."""

    def __init__(self, box: MemoryBox, stream: int, head: dict[str, Any], sink: Sink) -> None:
        self._box = box
        self._stream = stream
        self._head = head
        self._sink = sink
        self._body = bytearray()
        self._whole = False
        self._begun = False
        self._running = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return 0 if self._whole else len(self._body)

    def feed(self, data: bytes, end: bool) -> None:
        self._body += data
        self._whole = self._whole or end

    def begin(self, entry: contract.Entry) -> None:
        """Run, once the body is there."""
        if self._begun or not self._whole:
            return
        self._begun = True
        if entry.is_async:
            self._task = asyncio.get_running_loop().create_task(self._run(entry))
        else:
            threading.Thread(target=lambda: asyncio.run(self._run(entry)), daemon=True).start()

    def cancel(self) -> None:
        """Stop it if it can be stopped: a thread cannot."""
        if self._running:
            self.abandon()
        else:
            self._begun = True
            self.abandon()
            self._cancelled()

    def abandon(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _cancelled(self) -> None:
        error = FunctionError(type="Cancelled", message="the call was cancelled")
        self._end(lambda: self._sink.on_error(error))

    async def _run(self, entry: contract.Entry) -> None:
        box, sink = self._box, self._sink
        self._running = True
        try:
            result = entry.invoke(self._head, bytes(self._body), None)
            if isinstance(result, Awaitable):
                result = await result
            fields, data, pieces = reply.prepare(result, entry.http)
            if pieces is None:
                head = _head(fields)
                self._end(lambda: sink.on_response(head, data, True))
            else:
                await self._stream_out(pieces)
        except (reply.Refused, reply.Unencodable, ProtocolViolation) as error:
            refused = BadResponse(str(error))
            self._end(lambda: sink.on_lost(refused))
        except contract.BadEvent as error:
            problem = json.dumps({"status": 400, "title": "The request cannot be understood", "detail": str(error)})
            bad = ResponseHead(400, (("content-type", "application/problem+json"),))
            self._end(lambda: sink.on_response(bad, problem.encode(), True))
        except asyncio.CancelledError:
            self._cancelled()
        except SystemExit as stop:
            died = InstanceDied(f"the instance ended: exit status {stop.code or 0}")
            box.tell(lambda: box.end(died))
        except BaseException as error:
            said = errors.describe(error, box.root)
            raised = FunctionError(type=said["type"], message=said["message"], trace=tuple(said["trace"]))
            self._end(lambda: sink.on_error(raised))

    async def _stream_out(self, pieces: reply.Stream) -> None:
        box, sink = self._box, self._sink
        fields = pieces.fields
        items: AsyncIterator[Any] = pieces.items if pieces.is_async else _plain(pieces.items)
        if fields is not None:
            first = _head(fields)
            box.tell(lambda: sink.on_response(first, b"", False))
        async for item in items:
            if fields is None:
                fields, data = pieces.first(item)
                head = _head(fields)
                box.tell(lambda head=head, data=data: sink.on_response(head, data, False))  # type: ignore[misc]
            elif data := pieces.piece(item):
                box.tell(lambda data=data: sink.on_data(data, False))  # type: ignore[misc]
        if fields is None:
            empty = _head(reply.BYTES)
            box.tell(lambda: sink.on_response(empty, b"", False))
        self._end(lambda: sink.on_data(b"", True))

    def _end(self, deliver: Callable[[], None]) -> None:
        def last() -> None:
            self._box.forget(self._stream)
            deliver()

        self._box.tell(last)


async def _plain(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _head(fields: bytes) -> ResponseHead:
    head = _decode_head(b"{" + fields.rstrip(b",") + b"}")
    return ResponseHead(head.status, check_headers(head.headers)) if head.headers else head


def _entry(handler: Handler, work: dict[str, Any]) -> contract.Entry:
    """A registered callable under the function's contract, by way of a module that holds nothing else."""
    name = f"_dayfly_registered_{work['id']}"
    module: Any = type(sys)(name)
    module.handler = handler
    with _IMPORTS:
        sys.modules[name] = module
        try:
            return contract.load(work | {"handler": f"{name}.handler", "task_root": "/"})
        finally:
            del sys.modules[name]


def _load_files(work: dict[str, Any], roots: list[str]) -> contract.Entry:
    """Load a package's own files. Its modules are forgotten afterwards: another package may have the same names."""
    with _IMPORTS:
        before = set(sys.modules)
        sys.path[:0] = roots
        try:
            return contract.load(work)
        finally:
            del sys.path[: len(roots)]
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "") or "").startswith(tuple(roots)):
                    del sys.modules[name]
