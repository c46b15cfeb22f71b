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
from dayfly.model.delivery import Backoff, Destination, Policy
from dayfly.model.event import Event
from dayfly.model.function import Flavour
from dayfly.model.profile import Profile
from dayfly.model.trigger import Source
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock
from tests.support.sources import Sourced

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


class Week(Sourced):
    """Everything that waits for a moment, and what came of it: function, ids, and when it ran."""

    def __init__(self) -> None:
        base = FakeClock(1_767_225_600.0)  # the first of a year, 0:00
        super().__init__(clock=ForwardClock(base), housekeeping=base)
        self.began = self.clock.now()
        self.seen: list[tuple[float, str, object]] = []

    async def _run(self, call: Invoke) -> Result:
        body = msgspec.json.decode(call.body)
        if isinstance(body, list):
            what: object = [one["id"] for one in body]
        else:
            what = body.get("id", "") if call.function != "tick" else body["data"]["scheduled"]
        self.seen.append((round(self.clock.now() - self.began, 3), call.function, what))
        failed = FunctionError(type="E", message="no") if call.function == "flaky" and call.attempt < 4 else None
        return Result(invocation=call.invocation, error=failed, body=b"{}")


async def lives_a_week() -> list[tuple[float, str, object]]:
    async with Week() as week:
        order = Event(id="o", source="/shop", type="order.placed")
        to = {name: Destination(kind="function", name=name) for name in ("tick", "flaky", "many")}
        hourly = Source(kind="timer", settings={"schedule": "0 */6 * * *", "timezone": "UTC"})
        daily = Policy(max_attempts=5, backoff=Backoff.FIXED, delay_s=86_400.0, max_age_s=30 * 86_400.0, jitter=0.0)
        windows = Policy(batch=10, batch_window_s=300.0, jitter=0.0)
        await week.perform(a.PutTrigger(name="tick", target=to["tick"], source=hourly, delivery=Policy(jitter=0.0)))
        await week.perform(a.PutTrigger(name="flaky", target=to["flaky"], delivery=daily))
        await week.perform(a.PutTrigger(name="many", target=to["many"], delivery=windows))
        for day in (3, 1, 2):
            await week.eventing.queue.enqueue(
                Invoke(namespace="default", function="late", body=b'{"id":"d%d"}' % day, delay_s=day * 86_400.0 + 1.0)
            )
        await week.perform(a.PublishEvents(events=(order, msgspec.structs.replace(order, id="p"))))
        advanced = await week.eventing.advance(a.AdvanceTime(seconds=7 * 86_400.0))
        assert advanced.left == 0.0
        return week.seen


async def test_a_week_of_timers_retries_delays_and_windows_passes_in_one_order() -> None:
    first = await lives_a_week()
    assert first == await lives_a_week()  # whenever it is lived
    assert [at for at, _, _ in first] == sorted(at for at, _, _ in first)
    of = {name: [(at, what) for at, function, what in first if function == name] for name in ("tick", "flaky", "many", "late")}
    assert [at for at, _ in of["tick"]] == [6 * 3600.0 * number for number in range(1, 29)]
    assert of["tick"][0][1] == "2026-01-01T06:00:00Z"
    assert of["flaky"] == [(86_400.0 * attempt, id) for attempt in range(4) for id in "op"]
    assert of["many"] == [(300.0, ["o", "p"])]
    assert of["late"] == [(86_401.0 * 1, "d1"), (172_801.0, "d2"), (259_201.0, "d3")]
