"""In which order a trigger hands on what waits for it, how much at once and how much together; in memory, with a clock that moves when told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.model.call import Result
from dayfly.model.delivery import Policy
from tests.support.world import RAISED, World, event

pytestmark = pytest.mark.anyio


async def test_equal_keys_go_in_order_and_different_ones_side_by_side(world: World) -> None:
    await world.trigger("t", delivery=Policy(order_by="subject", max_attempts=2, delay_s=5.0, jitter=0.0))
    world.gates["f"] = gate = asyncio.Event()
    await world.publish(*(event(f"{key}{n}", subject=key) for n in range(3) for key in "abc"))
    await world.until(lambda: world.running.get("f") == 3)
    assert sorted(world.ids()) == ["a0", "b0", "c0"]
    world.answers["f"] = [Result(invocation="", error=RAISED)]  # for the first to go on
    gate.set()
    await world.until(lambda: len(world.calls) == 7)
    await world.quiet()
    failed = world.ids()[0][0]
    assert [id for id in world.ids() if id[0] == failed] == [f"{failed}0"]  # the others of its key wait for its retry
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 10)
    for key in "abc":
        mine = [id for id in world.ids() if id[0] == key]
        assert mine == [f"{key}0"] * (2 if key == failed else 1) + [f"{key}1", f"{key}2"]


async def test_equal_keys_go_in_one_batch_in_order(world: World) -> None:
    await world.trigger("t", delivery=Policy(order_by="subject", batch=3, max_attempts=2, delay_s=5.0, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(*(event(f"{key}{n}", subject=key) for n in range(4) for key in "a"), event("b0", subject="b"))
    world.answers["f"] = [Result(invocation="", error=RAISED)]
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) >= 1)
    await world.idle()
    tried = [[one["id"] for one in body] for body in world.bodies()]
    assert tried == [["a0", "a1", "b0"]]  # the first of each key first; and they come back together
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 3)
    tried = [[one["id"] for one in body] for body in world.bodies()]
    assert tried[1:] == [["a0", "a1", "b0"], ["a2", "a3"]]


async def test_halves_of_a_batch_keep_the_order_of_their_keys(world: World) -> None:
    policy = Policy(order_by="subject", batch=4, bisect=True, max_attempts=2, delay_s=5.0, jitter=0.0)
    await world.trigger("t", delivery=policy)
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(*(event(f"a{n}", subject="a") for n in range(3)), event("b0", subject="b"))
    world.answers["f"] = [Result(invocation="", error=RAISED)] * 3  # the whole, [a0 a1], and a0 alone
    await world.perform(a.ResumeTrigger(name="t"))
    await world.idle()
    world.clock.advance(5.0)
    await world.idle()
    tried = [[one["id"] for one in body] for body in world.bodies()]
    assert tried[:3] == [["a0", "a1", "a2", "b0"], ["a0", "a1"], ["a0"]]
    assert tried[3] == ["b0"]  # a1 and a2 wait for a0
    assert [id for ids in tried[4:] for id in ids] == ["a0", "a1", "a2"]
    assert await world.dead() == []


async def test_the_dead_and_the_cancelled_do_not_hold_up_their_key(world: World) -> None:
    await world.trigger("t", delivery=Policy(order_by="subject", max_attempts=1))
    world.answers["f"] = [Result(invocation="", error=RAISED)]
    world.gates["f"] = gate = asyncio.Event()
    published = await world.publish(*(event(str(n), subject="k") for n in range(4)))
    await world.until(lambda: len(world.calls) == 1)
    await world.eventing.queue.cancel(published[1].deliveries[0].id)  # one that is blocked
    gate.set()
    await world.until(lambda: world.ids() == ["0", "2", "3"])
    await world.idle()
    [dead] = await world.dead()
    await world.perform(a.Redrive(ids=(dead.id,)))
    await world.until(lambda: world.ids() == ["0", "2", "3", "0"])


async def test_a_trigger_runs_no_more_at_once_than_it_may(world: World) -> None:
    await world.trigger("t", delivery=Policy(concurrency=3))
    world.gates["f"] = gate = asyncio.Event()
    await world.publish(*(event(str(n)) for n in range(20)))
    await world.until(lambda: world.running.get("f") == 3)
    await world.quiet()
    gate.set()
    await world.until(lambda: len(world.calls) == 20)
    assert world.peak["f"] == 3


async def test_a_batch_waits_to_fill_but_not_for_long(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=3, batch_window_s=10.0))
    await world.publish(event("1"), event("2"))
    await world.quiet()
    assert world.calls == []
    await world.publish(event("3"))
    await world.until(lambda: len(world.calls) == 1)
    assert [one["id"] for one in world.bodies()[0]] == ["1", "2", "3"]
    await world.publish(event("4"))
    await world.quiet()
    assert len(world.calls) == 1
    world.clock.advance(10.0)
    await world.until(lambda: len(world.calls) == 2)
    assert [one["id"] for one in world.bodies()[1]] == ["4"]


async def test_a_batch_is_bounded_by_bytes(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=100, batch_bytes=2500, concurrency=2))
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(*(event(str(n), data="x" * 1000) for n in range(9)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: sum(len(batch) for batch in world.bodies()) == 9)
    assert max(len(batch) for batch in world.bodies()) == 2
    assert world.peak["f"] <= 2


async def test_part_of_a_batch_can_fail(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=3, partial=True, max_attempts=2, delay_s=5.0, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    published = await world.publish(*(event(str(n)) for n in range(3)))
    failing = published[1].deliveries[0].id
    answer = msgspec.json.encode({"batchItemFailures": [{"itemIdentifier": failing}]})
    world.answers["f"] = [Result(invocation="", body=answer), Result(invocation="", body=answer)]
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 2)
    assert [[one["id"] for one in batch] for batch in world.bodies()] == [["0", "1", "2"], ["1"]]
    await world.idle()
    assert [letter.id for letter in await world.dead()] == [failing]


async def test_an_answer_that_names_a_stranger_fails_the_whole_batch(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=2, partial=True, max_attempts=1))
    await world.perform(a.PauseTrigger(name="t"))
    world.answers["f"] = [Result(invocation="", body=b'{"batchItemFailures": [{"itemIdentifier": "x"}]}')]
    await world.publish(event("1"), event("2"))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert len(await world.dead()) == 2


async def test_a_batch_that_fails_is_halved_until_the_poisonous_one_stands_alone(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=8, bisect=True, max_attempts=2, delay_s=5.0, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    world.refuses["f"] = "5"
    published = await world.publish(*(event(str(n)) for n in range(8)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 7)
    await world.idle()
    assert [[one["id"] for one in batch] for batch in world.bodies()] == [
        ["0", "1", "2", "3", "4", "5", "6", "7"],
        ["0", "1", "2", "3"],
        ["4", "5", "6", "7"],
        ["4", "5"],
        ["4"],
        ["5"],
        ["6", "7"],
    ]
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 8)
    await world.idle()
    assert [letter.id for letter in await world.dead()] == [published[5].deliveries[0].id]
    assert (await world.dead())[0].attempts == 2


async def test_a_batch_that_finds_no_place_is_not_halved(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=4, bisect=True, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    world.answers["f"] = [errors.Throttled("no room")]
    await world.publish(*(event(str(n)) for n in range(4)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert len(world.calls) == 1
