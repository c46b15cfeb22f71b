"""A sandbox whose boxes do only what the test says: for the pool and the calls, where the order of events is the point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from dayfly.errors import DayflyError, InstanceDied
from dayfly.model.call import FunctionError, Result
from dayfly.model.function import Artifact, Config, Mount, Revision
from dayfly.sandbox.port import Box, BoxEvents, BoxSpec, Exit, JobResult, JobSpec, Ready, ResponseHead, Sink, Stats


class ScriptedBox:
    def __init__(self, spec: BoxSpec, events: BoxEvents) -> None:
        self.spec = spec
        self.events = events
        self.calls: dict[int, tuple[dict[str, object], bytes, Sink]] = {}
        self.cancelled: list[int] = []
        self.destroyed = False
        self.full = False
        self.held = False
        self.frozen = False
        self._next = 0
        self.ended: set[int] = set()  # calls whose body is whole

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        self._next += 1
        self.calls[self._next] = (msgspec.json.decode(head), body, sink)
        if end:
            self.ended.add(self._next)
        return self._next

    def send(self, stream: int, data: bytes, end: bool) -> None:
        assert stream not in self.ended, "the instance was told that the body is whole"
        head, body, sink = self.calls[stream]
        self.calls[stream] = (head, body + data, sink)
        if end:
            self.ended.add(stream)

    def cancel(self, stream: int) -> None:
        self.cancelled.append(stream)

    def when_drained(self, callback: Callable[[], None]) -> None:
        callback()

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    async def pause(self) -> None:
        self.frozen = True

    async def resume(self) -> None:
        self.frozen = False

    async def stats(self) -> Stats:
        return Stats(1000, 0, 1)

    async def destroy(self) -> None:
        if not self.destroyed:
            self.destroyed = True
            self.lose(InstanceDied("stopped"))
            self.events.on_exit(Exit())

    # what the test makes happen

    def ready(self, init_s: float = 0.001, *, freezes: bool = False, ahead: int = 0) -> None:
        self.events.on_ready(Ready(init_s, freezes=freezes, ahead=ahead))

    def answer(self, body: bytes = b'"ok"', stream: int | None = None, status: int = 200) -> None:
        number = stream or min(self.calls)
        _, _, sink = self.calls.pop(number)
        sink.on_response(ResponseHead(status=status, cpu_us=100, rss_kb=2000), body, True)

    def fail(self, message: str = "boom") -> None:
        _, _, sink = self.calls.pop(min(self.calls))
        sink.on_error(FunctionError(type="ValueError", message=message))

    def lose(self, error: DayflyError) -> None:
        calls, self.calls = self.calls, {}
        for _, _, sink in calls.values():
            sink.on_lost(error)

    def die(self, error: DayflyError | None = None) -> None:
        error = error or InstanceDied("exit status 3")
        self.lose(error)
        self.events.on_exit(Exit(error=error))


class ScriptedSandbox:
    """Makes ScriptedBoxes and keeps them in order of their making."""

    name = "scripted"

    def __init__(self) -> None:
        self.boxes: list[ScriptedBox] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def create(self, spec: BoxSpec, events: BoxEvents) -> ScriptedBox:
        box = ScriptedBox(spec, events)
        self.boxes.append(box)
        return box

    async def adopt(self, claim: Callable[[BoxSpec], BoxEvents | None]) -> list[Box]:
        return []

    async def flush_logs(self) -> None:
        """Nothing prints."""

    async def run(self, job: JobSpec, on_output: Callable[[str], None] | None = None) -> JobResult:
        return JobResult(0, "")

    @property
    def alive(self) -> list[ScriptedBox]:
        return [box for box in self.boxes if not box.destroyed]


class Waiting:
    """A client that remembers what it was told."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.data: list[tuple[bytes, bool]] = []
        self.failures: list[DayflyError] = []

    def on_result(self, result: Result) -> None:
        self.results.append(result)

    def on_data(self, data: bytes, end: bool) -> None:
        self.data.append((data, end))

    def on_failure(self, error: DayflyError) -> None:
        self.failures.append(error)

    @property
    def endings(self) -> int:
        whole = sum(1 for result in self.results if not result.streaming)
        return whole + len(self.failures) + sum(1 for _, end in self.data if end)


def revision(name: str = "hello", number: int = 1, **config: object) -> Revision:
    """A revision that no build has seen."""
    return Revision(
        namespace="default",
        function=name,
        number=number,
        config=msgspec.convert({"runtime": "python3.11", **config}, Config),
        artifact=Artifact(digest="0" * 64, mounts=(Mount("code/0", "/var/task"),)),
        digest=f"{number:064x}",
        created=0.0,
    )


class AutoBox(ScriptedBox):
    """Is ready at once and answers every call with what `answer` makes of head and body."""

    answers: Callable[[dict[str, object], bytes], bytes] = staticmethod(lambda head, body: body)

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        stream = super().call(head, body, end, sink)
        if end:
            self._soon(stream)
        return stream

    def send(self, stream: int, data: bytes, end: bool) -> None:
        super().send(stream, data, end)
        if end:
            self._soon(stream)

    def _soon(self, stream: int) -> None:
        asyncio.get_running_loop().call_soon(self._reply, stream)

    def _reply(self, stream: int) -> None:
        if stream in self.calls:
            head, body, sink = self.calls.pop(stream)
            sink.on_response(ResponseHead(), type(self).answers(head, body), True)


class AutoSandbox(ScriptedSandbox):
    def create(self, spec: BoxSpec, events: BoxEvents) -> AutoBox:
        box = AutoBox(spec, events)
        self.boxes.append(box)
        asyncio.get_running_loop().call_soon(box.ready)
        return box
