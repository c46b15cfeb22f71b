"""The guard gives the port's guarantees whatever the box behind it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dayfly.errors import DayflyError, InstanceDied
from dayfly.model.call import FunctionError
from dayfly.model.ids import new_id
from dayfly.sandbox.guard import Guarded
from dayfly.sandbox.port import BoxSpec, Exit, Ready, ResponseHead, Sink, Stats

pytestmark = pytest.mark.anyio

SPEC = BoxSpec(id=new_id(), namespace="n", function="f", revision=1, runtime="nodejs", handler="a.b")


class Careless:
    """A box that promises nothing: the test makes it say things twice, late, or never."""

    full = True

    def __init__(self) -> None:
        self.spec = SPEC
        self.sinks: list[Sink] = []
        self.did: list[str] = []
        self.busy = 0
        self.gate = asyncio.Event()

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        self.sinks.append(sink)
        return len(self.sinks)

    def send(self, stream: int, data: bytes, end: bool) -> None:
        self.did.append("send")

    def cancel(self, stream: int) -> None:
        self.did.append("cancel")

    def when_drained(self, callback: Callable[[], None]) -> None:
        self.did.append("when_drained")

    def hold(self) -> None:
        self.did.append("hold")

    def release(self) -> None:
        self.did.append("release")

    async def _work(self, what: str) -> None:
        self.busy += 1
        assert self.busy == 1, "two at the same time"
        await self.gate.wait()
        self.did.append(what)
        self.busy -= 1

    async def pause(self) -> None:
        await self._work("pause")

    async def resume(self) -> None:
        await self._work("resume")

    async def stats(self) -> Stats:
        return Stats(1, 2, 3)

    async def destroy(self) -> None:
        await self._work("destroy")


class Story:
    """Everything that is said, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.guard = Guarded(self, watch=lambda what, spec: self.said.append(f"({what})"))
        self.box = Careless()
        self.guard.wrap(self.box)
        self.said.clear()

    def on_ready(self, ready: Ready) -> None:
        self.said.append("ready")

    def on_exit(self, exit: Exit) -> None:
        self.said.append("exit")

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None:
        self.said.append(f"response{' end' if end else ''}")

    def on_data(self, data: bytes, end: bool) -> None:
        self.said.append(f"data{' end' if end else ''}")

    def on_error(self, error: FunctionError) -> None:
        self.said.append("error")

    def on_lost(self, error: DayflyError) -> None:
        self.said.append("lost")


async def test_a_sink_hears_one_ending_and_nothing_after_it() -> None:
    story = Story()
    story.guard.call(b"{}", b"", True, story)
    sink = story.box.sinks[0]
    sink.on_response(ResponseHead(), b"", False)
    sink.on_data(b"x", True)
    sink.on_data(b"x", True)
    sink.on_response(ResponseHead(), b"", True)
    sink.on_error(FunctionError(type="T", message=""))
    sink.on_lost(InstanceDied(""))
    assert story.said == ["response", "data end"]


async def test_open_calls_are_lost_before_the_exit_and_both_come_once() -> None:
    story = Story()
    for _ in range(2):
        story.guard.call(b"{}", b"", True, story)
    story.box.sinks[0].on_response(ResponseHead(), b"", True)
    for _ in range(2):
        story.guard.on_exit(Exit())
    assert story.said == ["response end", "lost", "(exited)", "exit"]


async def test_ready_comes_once_and_never_after_the_end() -> None:
    story = Story()
    story.guard.on_ready(Ready(0.1))
    story.guard.on_ready(Ready(0.1))
    assert story.said == ["(ready)", "ready"]
    late = Story()
    late.guard.on_exit(Exit())
    late.guard.on_ready(Ready(0.1))
    assert "ready" not in late.said


async def test_a_gone_box_is_never_touched() -> None:
    story = Story()
    reason = InstanceDied("out of memory")
    story.guard.on_exit(Exit(error=reason, cpu_us=7))
    guard = story.guard
    assert guard.call(b"{}", b"", True, story) == 0
    guard.send(1, b"", True)
    guard.cancel(1)
    guard.hold()
    guard.release()
    guard.when_drained(lambda: None)
    await guard.pause()
    await guard.resume()
    await guard.destroy()
    assert await guard.stats() == Stats(0, 7, 0)
    assert not guard.full
    assert story.box.did == []
    assert story.box.sinks == []
    assert story.said[-1] == "lost"


async def test_pause_resume_and_destroy_wait_for_each_other() -> None:
    story = Story()
    guard = story.guard
    tasks = [asyncio.ensure_future(step) for step in (guard.pause(), guard.pause(), guard.resume(), guard.destroy())]
    await asyncio.sleep(0)
    story.box.gate.set()
    await asyncio.gather(*tasks)
    assert story.box.did == ["pause", "resume", "destroy"]
