"""What is worse than death: a full disk, a clock that jumps, a server that sleeps past its leases, a record torn in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.events.delivery import RENEW_EVERY
from dayfly.events.eventing import Eventing
from dayfly.events.queue import AsyncQueue
from dayfly.events.retry import of_profile
from dayfly.model.call import FunctionError, Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.event import Event
from dayfly.model.function import Flavour
from dayfly.model.profile import NATIVE
from dayfly.model.trigger import Message
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle
from tests.crash.storm import Sink, prepare
from tests.support.process import Process

pytestmark = pytest.mark.anyio


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.calls: list[str] = []
        self.fails = 0
        self.gate: asyncio.Event | None = None

    async def open(self) -> None:
        self.store = SqliteStore(self.path)
        await self.store.open()
        self.eventing = Eventing(
            AsyncQueue(self.store, self.clock),
            self.clock,
            run=self.run,
            policy_of=lambda _: of_profile(NATIVE),
            flavour_of=lambda *_: Flavour.EVENT,
            exists=lambda _: True,
            require_function=lambda *_: None,
        )
        await self.eventing.open()

    async def close(self) -> None:
        await self.eventing.close(0.0)
        await self.store.close()

    async def run(self, call: Invoke) -> Result:
        self.calls.append(call.cause)
        if self.gate is not None:
            await self.gate.wait()
        self.fails -= 1
        failed = FunctionError(type="E", message="no") if self.fails >= 0 else None
        return Result(invocation=call.invocation, error=failed)

    async def perform(self, action: a.Action) -> Any:
        return await self.eventing.performers()[type(action)](action)

    async def trigger(self, **delivery: float) -> None:
        to = Destination(kind="function", name="f")
        await self.perform(a.PutTrigger(name="t", target=to, delivery=Policy(jitter=0.0, **delivery)))  # type: ignore[arg-type]

    async def publish(self, *ids: str, size: int = 2000) -> None:
        events = tuple(Event(id=id, source="/s", type="t", data=b"x" * size) for id in ids)
        await self.perform(a.PublishEvents(events=events))

    async def until(self, calls: int) -> None:
        while len(self.calls) < calls:
            await self.quiet()

    async def quiet(self) -> None:
        for _ in range(5):
            await self.store.commit()
            await settle()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "dayfly.db")
    await world.open()
    yield world
    await world.close()


async def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(world: World) -> None:
    await world.trigger()
    await world.perform(a.PauseTrigger(name="t"))
    connection = world.store._connections[0]
    [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")  # what a full disk looks like to SQLite
    accepted: list[str] = []
    refused = None
    while refused is None:
        try:
            await world.publish(str(len(accepted)))
            accepted.append(str(len(accepted)))
        except errors.Unavailable as error:
            refused = error
    assert "full" in refused.detail
    assert accepted
    connection.execute("PRAGMA max_page_count = 1000000")
    await world.publish("after")  # the same server goes on
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(len(accepted) + 1)
    await world.quiet()
    assert sorted(world.calls) == sorted([*accepted, "after"])


async def test_what_ended_while_the_disk_was_full_is_written_when_there_is_space_and_runs_once(world: World) -> None:
    await world.perform(a.PutQueue(name="done", max_bytes=1 << 20))
    world.gate = asyncio.Event()
    tell = Destination(kind="queue", name="done")  # the end comes with a record of the event: that needs space
    to = Destination(kind="function", name="f")
    await world.perform(a.PutTrigger(name="t", target=to, delivery=Policy(on_success=tell, jitter=0.0)))
    await world.publish("1", size=100_000)
    await world.until(1)
    connection = world.store._connections[0]
    [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    world.gate.set()
    for _ in range(90):  # much longer than a lease
        await world.quiet()
        world.clock.advance(1.0)
    stats = await world.perform(a.GetTriggerStats(name="t"))
    assert (stats.running, stats.waiting) == (1, 0)
    connection.execute("PRAGMA max_page_count = 1000000")
    for _ in range(3):  # a try that met the full disk may be under way still
        world.clock.advance(1.0)
        await world.quiet()
    assert (await world.perform(a.GetTriggerStats(name="t"))).running == 0
    assert (await world.perform(a.GetQueueStats(name="done"))).waiting == 1
    assert world.calls == ["1"]


async def test_a_server_that_stops_while_the_disk_is_full_does_not_wait_for_space(world: World) -> None:
    await world.perform(a.PutQueue(name="done", max_bytes=1 << 20))
    to, tell = Destination(kind="function", name="f"), Destination(kind="queue", name="done")
    await world.perform(a.PutTrigger(name="t", target=to, delivery=Policy(on_success=tell, jitter=0.0)))
    world.gate = asyncio.Event()
    await world.publish("1", size=100_000)
    await world.until(1)
    connection = world.store._connections[0]
    [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    world.gate.set()
    await world.quiet()
    await world.close()
    await world.open()
    await world.until(2)  # at least once


async def test_a_torn_record_at_the_end_of_the_log_costs_nothing_that_was_acknowledged(world: World, tmp_path: Path) -> None:
    await world.trigger()
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish("1")
    await world.publish("2")
    log = Path(f"{world.path}-wal")
    files = {path: path.read_bytes() for path in (world.path, log)}
    await world.close()
    torn = tmp_path / "torn"  # as a crash leaves it that came while the next record was being written
    torn.mkdir()
    (torn / "dayfly.db").write_bytes(files[world.path])
    (torn / "dayfly.db-wal").write_bytes(files[log] + os.urandom(3000))
    world.path = torn / "dayfly.db"
    await world.open()
    await world.publish("3")
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(3)
    assert sorted(world.calls) == ["1", "2", "3"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_when_the_clock_jumps_an_hour_what_waits_waits_as_long_as_it_would_have(world: World, jump: float) -> None:
    await world.trigger(delay_s=100.0)
    await world.perform(a.PutQueue(name="q"))
    await world.perform(a.SendMessages(name="q", messages=(Message(body=b"m"),)))
    world.fails = 1
    await world.publish("1")
    await world.until(1)
    [held] = await world.perform(a.ReceiveMessages(name="q", visibility_s=100.0))  # type: ignore[misc]
    await world.quiet()
    world.clock._epoch += jump
    world.clock.advance(RENEW_EVERY)  # so soon it is noticed
    await world.quiet()
    world.clock.advance(80.0 - RENEW_EVERY)
    await world.quiet()
    assert world.calls == ["1"]
    assert await world.perform(a.ReceiveMessages(name="q")) == ()
    world.clock.advance(25.0)
    await world.until(2)
    [again] = await world.perform(a.ReceiveMessages(name="q"))  # type: ignore[misc]
    assert again.id == held.id


def test_a_server_that_is_stopped_for_a_while_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGSTOP in the middle of deliveries, and SIGCONT. (Past a lease, while another takes over: tests/unit/test_delivery.py.)"""
    sink = Sink()
    server = Process(tmp_path / "data", allow_targets=("127.0.0.0/8",))
    server.start()
    try:
        prepare(server, sink)
        assert server.process is not None
        for n in range(40):
            event = {"specversion": "1.0", "id": str(n), "source": "/s", "type": "t", "partitionkey": "k"}
            status, _, _ = server.request("POST", "/events/default", event, content_type="application/cloudevents+json")
            assert status == 202
            if n == 20:
                os.kill(server.process.pid, signal.SIGSTOP)
                time.sleep(1.0)  # nothing to wait for: it stands still
                os.kill(server.process.pid, signal.SIGCONT)
        until = time.monotonic() + 60
        while len({came.id for came in sink.came}) < 40 and time.monotonic() < until:
            time.sleep(0.05)
        assert [came.id for came in sink.came] == [str(n) for n in range(40)]
    finally:
        server.stop()
        sink.server.shutdown()
        sink.server.server_close()
