"""Time put forward: everything that waits for a moment gets it, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.events.eventing import Eventing
from dayfly.events.forward import ForwardClock
from dayfly.events.queue import AsyncQueue
from dayfly.events.retry import of_profile
from dayfly.model.call import FunctionError, Result
from dayfly.model.function import Flavour
from dayfly.model.profile import Profile
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

PROFILE = Profile(name="p", async_retries=2, async_delays=(60.0, 3600.0), async_max_age=86400.0)


async def test_timers_fire_in_their_order_each_at_its_own_time() -> None:
    base = FakeClock()
    clock = ForwardClock(base)
    began = clock.now()
    seen: list[tuple[str, float]] = []
    clock.call_later(30.0, lambda: seen.append(("b", clock.now() - began)))

    def again() -> None:
        seen.append(("a", clock.now() - began))
        clock.call_later(10.0, again)

    clock.call_later(10.0, again)
    clock.call_later(5.0, lambda: seen.append(("never", 0.0))).cancel()

    async def settled() -> None: ...

    assert await clock.forward(31.0, settled, patience=1.0) == (4, 0.0)
    assert seen == [("a", 10.0), ("a", 20.0), ("b", 30.0), ("a", 30.0)]
    assert clock.now() - began == 31.0
    base.advance(9.0)  # time goes on by itself, too
    assert seen[-1] == ("a", 40.0)


async def test_a_long_time_passes_in_parts_and_loses_no_timer() -> None:
    base = FakeClock()
    clock = ForwardClock(base)
    began = clock.now()
    seen: list[float] = []

    def tick() -> None:
        seen.append(clock.now() - began)
        clock.call_later(60.0, tick)

    clock.call_later(60.0, tick)

    async def settled() -> None:  # what a timer starts takes a while
        base.advance(0.25 if seen else 0.0)

    left, parts = 3600.0, 0
    while left:
        _, left = await clock.forward(left, settled, patience=5.0)
        parts += 1
        assert len(clock._timers) == 1
    assert parts >= 3
    assert seen == [60.0 * (number + 1) for number in range(60)]
    assert clock.now() - began >= 3600.0


class World:
    def __init__(self, store: SqliteStore) -> None:
        self.clock = ForwardClock(FakeClock())
        self.began = self.clock.now()
        self.seen: list[tuple[str, int, float]] = []
        self.queue = AsyncQueue(store, self.clock)
        self.eventing = Eventing(
            self.queue,
            self.clock,
            run=self.run,
            policy_of=lambda _: msgspec.structs.replace(of_profile(PROFILE), jitter=0.0),
            flavour_of=lambda *_: Flavour.EVENT,
            exists=lambda _: True,
            require_function=lambda *_: None,
        )

    async def run(self, call: Invoke) -> Result:
        self.seen.append((call.body.decode(), call.attempt, round(self.clock.now() - self.began, 3)))
        failed = FunctionError(type="E", message="no") if call.body == b"bad" else None
        return Result(invocation=call.invocation, error=failed)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = SqliteStore(None)
    await store.open()
    world = World(store)
    await world.eventing.open()
    yield world
    await world.eventing.close(0.0)
    await store.close()


async def test_a_day_of_retries_and_delays_passes_at_once(world: World) -> None:
    for body, delay in ((b"late", 7200.0), (b"bad", 0.0), (b"soon", 61.0)):
        await world.queue.enqueue(Invoke(namespace="default", function="f", body=body, delay_s=delay))
    advanced = await world.eventing.advance(a.AdvanceTime(seconds=86400.0))
    assert world.seen == [("bad", 1, 0.0), ("bad", 2, 60.0), ("soon", 1, 61.0), ("bad", 3, 3660.0), ("late", 1, 7200.0)]
    assert advanced.now == world.began + 86400.0
    [dead] = (await world.eventing.letters.page(a.ListDead())).items
    assert dead.attempts == 3


async def test_elsewhere_time_goes_as_time_does(world: World) -> None:
    world.eventing._clock = FakeClock()
    with pytest.raises(errors.Conflict, match="no development server"):
        await world.eventing.advance(a.AdvanceTime(seconds=1.0))
