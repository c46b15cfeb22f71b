"""Several cells on one store: each source runs in one of them, and in another when that is gone."""

from __future__ import annotations

import pytest

from dayfly import actions as a
from dayfly.errors import Conflict
from dayfly.events.leases import LEASE, Leases
from dayfly.testing.clock import FakeClock
from dayfly.triggers.runner import Runner
from tests.support.sources import Sourced
from tests.unit.test_timers import NOON, pass_time, times

pytestmark = pytest.mark.anyio


def another_cell(world: Sourced) -> Runner:
    """A second runner on the same store."""
    brokers = world.eventing.brokers
    runner = Runner(brokers.emit, brokers.checkpoint, lambda *_: None, world.clock, Leases(world.store, world.clock, "two"))
    world.eventing.catalog.watchers.append(runner.heard)
    runner.open(())
    return runner


def state(runner: Runner) -> str:
    health = runner.health("default", "t")
    return health.state if health is not None else ""


async def test_one_of_two_cells_runs_a_timer_and_the_other_takes_over_when_it_stops() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        other = another_cell(world)
        await world.trigger("timer", schedule="* * * * *")
        await world.until(lambda: {state(world.runner), state(other)} == {"running", "elsewhere"})
        await pass_time(world, 300)
        assert len(await times(world)) == 5
        first = world.runner if state(world.runner) == "running" else other
        second = other if first is world.runner else world.runner
        await first.close()
        await pass_time(world, 60)
        assert state(second) == "running"
        assert len(set(await times(world))) == len(await times(world)) == 6
        await other.close()


async def test_a_cell_that_was_frozen_past_its_lease_writes_nothing_any_more() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="* * * * *")
        await world.running()
        assert world.runner._keeper is not None
        world.runner._keeper.cancel()  # the cell is frozen: it keeps its lease no longer
        await pass_time(world, LEASE + 1, step=1.0)
        other = another_cell(world)
        other.changed("default", "t", await world.perform(a.GetTrigger(name="t")))
        await world.until(lambda: state(other) == "running")
        await pass_time(world, 120)  # both think that they run it
        assert len(set(await times(world))) == len(await times(world)) == 2
        assert state(world.runner) in ("failing", "elsewhere")
        await other.close()


async def test_what_comes_without_a_lease_is_not_written() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="@yearly")
        await world.running()
        stranger = Leases(world.store, world.clock, "two")
        assert not await stranger.take(("default", "t"))
        with pytest.raises(Conflict, match="another cell"):
            await world.eventing.brokers.emit("default", "t", [], b"at", fence=stranger.fence(("default", "t")))
        assert await world.eventing.brokers.checkpoint("default", "t") != b"at"


async def test_whoever_is_called_from_outside_runs_everywhere() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        other = another_cell(world)
        await world.trigger("webhook", signature="none")
        await world.until(lambda: state(world.runner) == state(other) == "running")
        await other.close()
