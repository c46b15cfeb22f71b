"""Delivery over a real store in memory, with a clock that moves when told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dayfly import errors
from dayfly.actions import Invoke
from dayfly.events.delivery import RENEW_EVERY, Delivery
from dayfly.events.items import New, encode, function_lane, puts
from dayfly.events.queue import LEASE, AsyncQueue, Entry
from dayfly.events.retry import End, State
from dayfly.model.call import FunctionError, Mode, Result
from dayfly.model.profile import Profile
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle
from tests.support.events import delivery_of_calls

pytestmark = pytest.mark.anyio

PROFILE = Profile(name="p", async_retries=2, async_delays=(10.0, 60.0), async_max_age=3600.0)
RAISED = FunctionError(type="ValueError", message="bad")


class World:
    """A queue, a delivery and a function that does what the test says."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.queue = AsyncQueue(store, self.clock)
        self.calls: list[Invoke] = []
        self.ended: list[tuple[str, End]] = []
        self.open_gates: dict[str, asyncio.Event] = {}
        self.outcomes: list[Result | Exception] = []
        self.active: dict[str, int] = {}
        self.peak: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.deliveries: list[Delivery] = []

    def delivery(self, queue: AsyncQueue | None = None, **options: Any) -> Delivery:
        delivery = delivery_of_calls(
            queue or self.queue,
            self.run,
            self.profile_of,
            on_end=lambda invoke, end: self.ended.append((invoke.invocation, end)),
            **options,
        )
        self.deliveries.append(delivery)
        return delivery

    def profile_of(self, invoke: Invoke) -> Profile:
        if invoke.function == "gone":
            raise errors.NotFound("There is no function gone.")
        return PROFILE

    def hold(self, function: str) -> asyncio.Event:
        self.open_gates[function] = gate = asyncio.Event()
        return gate

    async def run(self, invoke: Invoke) -> Result:
        self.calls.append(invoke)
        name = invoke.function
        self.active[name] = self.active.get(name, 0) + 1
        self.peak[name] = max(self.peak.get(name, 0), self.active[name])
        try:
            gate = self.open_gates.get(name)
            if gate is not None:
                await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(invoke.invocation)
            raise
        finally:
            self.active[name] -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else Result(invocation=invoke.invocation, body=invoke.body)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def until(self, check: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
        """Let everything run on until the check holds (the suite's time limit is the bound)."""
        while True:
            held = check()
            if held is True or (held is not False and await held):
                return
            await self.store.commit()
            await settle()

    async def quiet(self) -> None:
        """Let everything run on that can without time passing."""
        for _ in range(10):
            await self.store.commit()
            await settle()

    async def ends(self, id: str) -> Entry:
        found: list[Entry] = []

        async def over() -> bool:
            entry = await self.queue.status(id)
            if entry is not None and not entry.open:
                found.append(entry)
            return bool(found)

        await self.until(over)
        return found[0]

    async def state(self, id: str) -> State:
        entry = await self.queue.status(id)
        assert entry is not None
        return entry.state


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = SqliteStore(None)
    await store.open()
    world = World(store)
    yield world
    for delivery in world.deliveries:
        await delivery.stop()
    await store.close()


def call(function: str = "f", **change: Any) -> Invoke:
    return Invoke(namespace="default", function=function, **change)


async def test_a_call_is_delivered_and_its_answer_kept(world: World) -> None:
    await world.delivery().start()
    id = await world.queue.enqueue(call(body=b"payload"))
    assert (await world.ends(id)).state is State.DONE
    [seen] = world.calls
    assert (seen.invocation, seen.mode, seen.attempt) == (id, Mode.ASYNC, 1)
    assert (await world.queue.result(id)).body == b"payload"
    await world.until(lambda: world.ended == [(id, End(State.DONE, 1))])
    assert await world.queue.depth() == 0


async def test_what_waited_before_the_start_is_delivered(world: World) -> None:
    ids = [await world.queue.enqueue(call(f"f{i % 3}")) for i in range(10)]
    await world.delivery().start()
    for id in ids:
        assert (await world.ends(id)).state is State.DONE


async def test_failures_are_retried_by_the_profile_and_then_dead(world: World) -> None:
    world.outcomes = [Result(invocation="", error=RAISED), errors.TimedOut("slow"), Result(invocation="", error=RAISED)]
    await world.delivery().start()
    id = await world.queue.enqueue(call(body=b"x"))
    for attempts, wait in ((1, 10.0), (2, 60.0)):
        await world.until(lambda n=attempts: len(world.calls) == n)  # type: ignore[misc]
        await world.quiet()
        entry = await world.queue.status(id)
        assert entry is not None
        assert (entry.state, entry.attempt, entry.due) == (State.QUEUED, attempts, world.clock.now() + wait)
        world.clock.advance(wait - 0.1)
        await world.quiet()
        assert len(world.calls) == attempts
        world.clock.advance(0.1)
    entry = await world.ends(id)
    assert (entry.state, entry.attempt, entry.last_error) == (State.DEAD, 3, "ValueError: bad")
    assert [invoke.attempt for invoke in world.calls] == [1, 2, 3]
    assert (await world.queue.result(id)).error == RAISED  # the last answer of a dead call
    await world.queue.redrive(id)
    assert (await world.ends(id)).state is State.DONE
    assert (await world.queue.result(id)).error is None


async def test_no_room_is_not_an_attempt(world: World) -> None:
    world.outcomes = [errors.Throttled("busy")] * 5 + [errors.Unavailable("full")] * 2
    await world.delivery().start()
    id = await world.queue.enqueue(call())
    for deferrals in range(7):
        await world.until(lambda n=deferrals: len(world.calls) == n + 1)  # type: ignore[misc]
        await world.quiet()
        world.clock.advance(2.0**deferrals)
    assert (await world.ends(id)).attempt == 1
    assert {invoke.attempt for invoke in world.calls} == {1}


async def test_too_old_is_dead_without_another_try(world: World) -> None:
    id = await world.queue.enqueue(call())
    world.clock.advance(PROFILE.async_max_age + 1)
    await world.delivery().start()
    entry = await world.ends(id)
    assert entry.state is State.DEAD
    assert entry.last_error.startswith("too old")
    assert world.calls == []


async def test_a_delay_is_kept_and_does_not_count_as_age(world: World) -> None:
    await world.delivery().start()
    late = await world.queue.enqueue(call(delay_s=7200.0))
    soon = await world.queue.enqueue(call(delay_s=5.0))
    await world.quiet()
    assert world.calls == []
    world.clock.advance(5.0)
    await world.ends(soon)
    assert len(world.calls) == 1
    world.clock.advance(7195.0)
    assert (await world.ends(late)).state is State.DONE


async def test_a_function_that_is_gone(world: World) -> None:
    await world.delivery().start()
    id = await world.queue.enqueue(call("gone"))
    entry = await world.ends(id)
    assert (entry.state, entry.last_error) == (State.DEAD, "not-found: There is no function gone.")
    with pytest.raises(errors.NotFound, match="no function gone"):
        await world.queue.result(id)


async def test_a_fault_of_ours_is_logged_and_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.outcomes = [RuntimeError("bug")]
    await world.delivery().start()
    id = await world.queue.enqueue(call())
    await world.until(lambda: len(world.calls) == 1)
    await world.quiet()
    assert "bug" in caplog.text
    world.clock.advance(1.0)
    assert (await world.ends(id)).state is State.DONE


async def test_a_stored_call_that_cannot_be_read_is_dead(world: World) -> None:
    item = New("x", "default", function_lane("f"), 0.0, world.clock.now(), b"\xc1 no message pack")
    await world.store.commit(*puts(item))
    await world.delivery().start()
    entry = await world.ends("x")
    assert (entry.state, "cannot be read" in entry.last_error) == (State.DEAD, True)


async def test_half_characters_from_user_code_end_a_call_like_any_others(world: World) -> None:
    world.outcomes = [Result(invocation="", headers=(("x", "half \ud800"),)), errors.NotFound("half \ud800")]
    await world.delivery().start()
    ids = [await world.queue.enqueue(call()) for _ in range(2)]
    found = [await world.ends(id) for id in ids]
    assert sorted((entry.state, entry.last_error) for entry in found) == [
        (State.DEAD, "not-found: half ?"),
        (State.DONE, ""),
    ]


async def test_cancel_stops_a_running_call_for_good(world: World) -> None:
    world.hold("f")
    delivery = world.delivery()
    await delivery.start()
    id = await world.queue.enqueue(call())
    await world.until(lambda: len(world.calls) == 1)
    assert await world.state(id) is State.LEASED
    await world.queue.cancel(id)
    await world.until(lambda: world.cancelled == [id])
    await world.until(lambda: delivery.running == 0)
    world.clock.advance(LEASE * 2)
    await world.quiet()
    assert await world.state(id) is State.CANCELLED
    assert len(world.calls) == 1


async def test_cancelled_before_its_first_step_a_delivery_still_gives_its_place_back(world: World) -> None:
    delivery = world.delivery()
    await delivery.start()
    spawn = delivery._spawn

    def spawn_and_cancel(work: Any) -> asyncio.Task[None]:
        task = spawn(work)
        if "_deliver" in repr(work):
            task.cancel()
        return task

    delivery._spawn = spawn_and_cancel  # type: ignore[method-assign]
    await world.queue.enqueue(call())
    await world.until(lambda: delivery.running > 0)
    await world.until(lambda: delivery.running == 0)
    assert world.calls == []


async def test_a_slow_function_starves_nobody(world: World) -> None:
    gate = world.hold("slow")
    delivery = world.delivery(per_function=4, overall=8)
    await delivery.start()
    slow = [await world.queue.enqueue(call("slow")) for _ in range(50)]
    await world.until(lambda: world.active.get("slow") == 4)
    for id in [await world.queue.enqueue(call("quick")) for _ in range(20)]:
        assert (await world.ends(id)).state is State.DONE
    assert world.active["slow"] == 4
    gate.set()
    for id in slow:
        await world.ends(id)
    assert world.peak["slow"] == 4
    assert world.peak["quick"] <= 4


async def test_a_long_queue_is_worked_off_a_few_at_a_time(world: World) -> None:
    now = world.clock.now()
    for i in range(2000):
        name = f"f{i % 7}"
        item = New(f"{i:032x}", "default", function_lane(name), 0.0, now, encode(call(name)), function=name)
        world.store.write_behind(*puts(item))
    delivery = world.delivery(per_function=5, overall=12)
    await delivery.start()
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, len(delivery._tasks))
        return len(world.ended) == 2000

    await world.until(all_ended)
    assert most <= 12 + 7  # deliveries and claims
    assert len({invoke.function for invoke in world.calls[:100]}) == 7  # in turn
    assert len(world.calls) == 2000
    assert await world.queue.depth() == 0
    await world.until(lambda: len(delivery._lanes) == 0)


async def test_after_a_crash_the_next_server_runs_again_what_was_under_way(world: World) -> None:
    gate = world.hold("f")
    dead = world.delivery()
    await dead.start()
    id = await world.queue.enqueue(call())
    await world.until(lambda: len(world.calls) == 1)
    # the first server is frozen in the middle of the call; another takes over at once, without waiting for the lease
    queue = AsyncQueue(world.store, world.clock)
    del world.open_gates["f"]
    await world.delivery(queue).start()
    assert (await world.ends(id)).state is State.DONE
    assert len(world.calls) == 2
    # and the late outcome of the first changes nothing
    world.outcomes = [Result(invocation=id, error=RAISED)]
    gate.set()
    await world.until(lambda: dead.running == 0)
    assert await world.state(id) is State.DONE
    assert (await world.queue.result(id)).error is None


async def test_a_lease_is_kept_as_long_as_the_call_runs(world: World) -> None:
    gate = world.hold("f")
    await world.delivery().start()
    id = await world.queue.enqueue(call())
    await world.until(lambda: len(world.calls) == 1)
    for _ in range(int(LEASE * 3 / RENEW_EVERY)):
        world.clock.advance(RENEW_EVERY)
        await world.quiet()
    assert len(world.calls) == 1
    gate.set()
    assert (await world.ends(id)).state is State.DONE


async def test_a_lease_that_nobody_renews_runs_out(world: World) -> None:
    gate = world.hold("f")
    frozen = AsyncQueue(world.store, FakeClock())  # its clock, and so its renewals, stand still
    await world.delivery(frozen).start()
    id = await frozen.enqueue(call())
    await world.until(lambda: len(world.calls) == 1)
    other = world.delivery()
    other._running = True  # begin without taking back: as a second server on the same store would
    other._housekeeping = [asyncio.create_task(other._every(RENEW_EVERY, other._renew))]
    del world.open_gates["f"]
    await settle()
    for _ in range(int(LEASE / RENEW_EVERY)):
        world.clock.advance(RENEW_EVERY)
        await world.quiet()
    assert len(world.calls) == 1
    world.clock.advance(RENEW_EVERY)
    assert (await world.ends(id)).state is State.DONE
    assert len(world.calls) == 2
    gate.set()


async def test_stop_gives_grace_and_then_hands_over(world: World) -> None:
    gate = world.hold("f")
    world.hold("g")
    first = world.delivery()
    await first.start()
    finished, interrupted = await world.queue.enqueue(call("f")), await world.queue.enqueue(call("g"))
    await world.until(lambda: len(world.calls) == 2)
    stopping = asyncio.create_task(first.stop(grace=30.0))
    await settle()
    waiting = await world.queue.enqueue(call("h"))
    gate.set()
    await world.ends(finished)
    assert not stopping.done()
    world.clock.advance(30.0)
    await stopping
    assert world.cancelled == [interrupted]
    assert await world.state(waiting) is State.QUEUED
    world.open_gates.clear()
    await world.delivery().start()
    for id in (interrupted, waiting):
        assert (await world.ends(id)).state is State.DONE


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_every_call_ends_once_and_the_books_are_right(world: World, seed: int) -> None:
    """A random history of calls, failures, cancellations, restarts and passing time; then everything is left to settle."""
    rng = random.Random(seed)
    kinds: list[Callable[[], Result | Exception]] = [
        lambda: Result(invocation="", body=b"ok"),
        lambda: Result(invocation="", error=RAISED),
        lambda: errors.Throttled("busy"),
        lambda: errors.InstanceDied("oom"),
    ]
    delivery = world.delivery(per_function=2, overall=5)
    await delivery.start()
    ids: set[str] = set()
    keys: dict[str, str] = {}
    never_ran: set[str] = set()
    gate = world.hold("slow")
    for _ in range(120):
        action = rng.randrange(10)
        world.outcomes = [rng.choice(kinds)() for _ in range(rng.randrange(3))]
        if action < 5:
            ids.add(await world.queue.enqueue(call(rng.choice(("f", "g", "slow")), delay_s=rng.choice((0.0, 0.0, 30.0)))))
        elif action == 5:
            key = str(rng.randrange(5))
            id = await world.queue.enqueue(call("keyed", idempotency_key=key))
            assert keys.setdefault(key, id) == id
            ids.add(id)
        elif action == 6 and ids:
            id = rng.choice(sorted(ids))
            if await world.queue.cancel(id) is not None and id not in {invoke.invocation for invoke in world.calls}:
                never_ran.add(id)
        elif action == 7:
            world.clock.advance(rng.choice((0.5, 12.0, 70.0)))
        elif action == 8:
            await delivery.stop()  # what runs is cut off, as by a crash
            delivery = world.delivery(per_function=2, overall=5)
            await delivery.start()
        else:
            await world.quiet()
    world.outcomes.clear()
    gate.set()

    async def settled() -> bool:
        world.clock.advance(10.0)
        return await world.queue.depth() == 0 and delivery.running == 0

    await world.until(settled)
    entries = {id: await world.queue.status(id) for id in ids}
    ran = [invoke.invocation for invoke in world.calls]
    for id, entry in entries.items():
        assert entry is not None
        assert not entry.open
        assert entry.attempt <= PROFILE.async_retries + 1
        assert entry.state is not State.DONE or id in ran
    assert never_ran.isdisjoint(ran)
    ended = [id for id, _ in world.ended]
    assert len(ended) == len(set(ended))
    assert set(ended) == {id for id, entry in entries.items() if entry and entry.state is not State.CANCELLED}
    sums = dict(await world.store.fetch("queue_sums"))
    assert sums["queue_ended"] == len(ids)
    assert (sums["queue_bytes"] > 0) == any(entry.state is State.DEAD for entry in entries.values() if entry)
