"""From zero to load and back to zero, with the clock in the test's hand."""

from __future__ import annotations

import asyncio

import pytest

from dayfly.actions import Invoke
from dayfly.calls.dispatcher import Dispatcher
from dayfly.model.function import Reservation, Revision
from dayfly.model.profile import NATIVE, Profile
from dayfly.pool.pool import Limits, Pool
from dayfly.pool.warm import warm
from dayfly.scaler.loop import ScaleLoop
from dayfly.testing.clock import FakeClock, settle
from tests.support.boxes import ScriptedBox, ScriptedSandbox, Waiting, revision

pytestmark = pytest.mark.anyio


class ReadySandbox(ScriptedSandbox):
    """Its boxes are ready one millisecond after they were made."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def create(self, spec, events):  # type: ignore[no-untyped-def]
        box = super().create(spec, events)
        self.clock.call_later(0.001, lambda: None if box.destroyed else box.ready())
        return box


class World:
    def __init__(self, target: Revision, limits: Limits | None = None) -> None:
        self.target = target
        self.clock = FakeClock()
        self.sandbox = ReadySandbox(self.clock)
        self.pool = Pool(self.sandbox, self.clock, lambda r: {}, limits or Limits())
        self.loop = ScaleLoop(self.pool, self.clock)
        self.dispatcher = Dispatcher(self, self.pool, lambda record: None, self.clock)
        self.clients: list[Waiting] = []

    reservations: dict[tuple[str, str], Reservation] = {}  # noqa: RUF012

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        return self.target

    def profile(self, name: str) -> Profile:
        return NATIVE

    def call(self, seconds: float) -> None:
        """A call that takes so long once an instance has it."""
        client = Waiting()
        self.clients.append(client)
        self.dispatcher.begin(Invoke(namespace="default", function="hello", body=b"{}"), client)
        self.clock.call_later(0.002 + seconds, self._answer)

    def _answer(self) -> None:
        for box in self.sandbox.boxes:
            if box.calls:
                box.answer()
                return

    async def run(self, seconds: int, rate: int = 0, service: float = 0.0) -> None:
        for _ in range(seconds):
            for _ in range(rate):
                self.call(service)
            await self.clock.pass_time(1.0)

    @property
    def alive(self) -> list[ScriptedBox]:
        return self.sandbox.alive


async def test_load_brings_instances_silence_takes_them_and_the_next_call_brings_one_back() -> None:
    world = World(revision(max_instances=20))
    world.loop.start()
    await world.run(1)
    assert world.alive == []
    await world.run(30, rate=8, service=0.9)
    assert 8 <= len(world.alive) <= 20
    await world.run(80)
    assert len(world.alive) <= 2, "the burst is over"
    await world.run(900)
    assert world.alive == []
    assert world.pool.instances == 0
    assert world.pool.groups == {}, "an idle function costs the pool nothing"
    world.call(0.01)
    await world.run(1)
    assert len(world.alive) == 1
    assert all(client.endings == 1 for client in world.clients)


async def test_the_reserve_follows_the_load_before_calls_have_to_wait() -> None:
    world = World(revision(max_instances=50))
    world.loop.start()
    await world.run(60, rate=7, service=0.99)
    assert len(world.alive) >= 10, "seven calls in flight at a target of 70 % want ten"


async def test_what_a_first_burst_of_short_calls_started_too_many_goes_under_load() -> None:
    world = World(revision(max_instances=50))
    for _ in range(30):  # nobody knows yet that they are short
        world.call(0.0)
    await world.run(1)
    assert len(world.alive) > 10
    world.pool.group(world.target).pressure.ended(0.0002)  # the sandbox here answers after whole milliseconds only
    world.call(1.5)
    world.call(1.5)
    await world.clock.pass_time(0.5)
    world.loop.tick()
    await settle()
    assert 2 <= len(world.alive) <= 6
    await world.run(2)
    assert all(client.endings == 1 for client in world.clients)


async def test_instances_that_are_too_many_go_though_none_of_them_is_ever_idle() -> None:
    """Given six instances that compute on two processors, all of them always at work, then all but two end with their last calls."""
    world = World(revision(max_instances=50), Limits(processors=2))
    for _ in range(6):
        world.call(1.5)
    await world.clock.pass_time(0.5)
    assert len(world.pool.group(world.target).busy) == 6
    world.pool.group(world.target).pressure.ended(0.0003, cpu_us=200)
    world.loop.tick()
    assert len(world.pool.group(world.target).busy) == 2  # nothing is known to end: one, and one in between
    await world.run(2)
    assert len(world.alive) == 2
    assert all(client.endings == 1 for client in world.clients)


async def test_the_minimum_is_kept_for_ever_and_the_maximum_never_passed() -> None:
    world = World(revision(min_instances=2, max_instances=3))
    world.loop.start()
    world.pool.group(world.target).reserve(2)
    await world.run(5, rate=10, service=0.5)
    assert len(world.alive) == 3
    await world.run(1000)
    assert len(world.alive) == 2


async def test_a_superseded_revision_goes_as_soon_as_it_is_idle() -> None:
    world = World(revision(min_instances=2, max_instances=3))
    world.loop.start()
    world.pool.group(world.target).reserve(2)
    await world.run(2)
    world.pool.group(world.target).reach(False)
    await settle()
    assert world.alive == []
    await world.run(10)
    assert world.alive == []


async def test_a_dear_start_is_kept_warm_for_longer_than_a_cheap_one() -> None:
    spans = []
    for cost in (0.005, 0.5):
        world = World(revision())
        world.loop.start()
        group = world.pool.group(world.target)
        world.call(0.01)
        await world.run(1)
        group.cold_cost_s = cost
        seconds = 0
        while world.alive:
            await world.run(1)
            seconds += 1
        spans.append(seconds)
    assert 30 <= spans[0] <= 100
    assert spans[1] > 2 * spans[0]


async def test_warming_leaves_a_free_instance_and_the_next_call_is_not_cold() -> None:
    world = World(revision())
    task = asyncio.ensure_future(warm(world.pool, world.target))
    await world.run(1)
    await task
    world.call(0.01)
    await world.run(1)
    assert world.clients[0].results[0].cold is False
    assert world.pool.group(world.target).load.level == 0


async def test_a_daily_habit_is_learnt_across_the_instances_that_come_and_go() -> None:
    world = World(revision())
    world.loop.start()
    for _ in range(8):
        world.call(0.01)
        await world.run(1)
        world.pool.group(world.target).cold_cost_s = 2.0
        await world.run(1799)
    assert world.loop._habits["default/hello"].seen.count >= 6
    starts = len(world.sandbox.boxes)
    world.call(0.01)
    await world.run(1)
    assert len(world.sandbox.boxes) == starts, "an instance was there already"
    assert world.clients[-1].endings == 1
    assert world.clients[-1].results[0].timings.cold == 0.0


async def test_what_was_evicted_does_not_come_back_by_itself() -> None:
    world = World(revision())
    world.loop.start()
    world.call(0.01)
    await world.run(45)
    [box] = world.alive
    world.pool.group(world.target).retire(world.pool.group(world.target).idle[0])
    await world.run(5)
    assert box.destroyed
    assert world.alive == []
