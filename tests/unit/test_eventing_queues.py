"""Queues of ours, their leases, groups and dead letters, and triggers that take from them; in memory, with a clock that moves when told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.model.call import Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.trigger import Message, Source
from tests.support.world import RAISED, World

pytestmark = pytest.mark.anyio


def message(text: str, **more: Any) -> Message:
    return Message(body=text.encode(), **more)


async def test_a_message_is_held_until_it_is_acknowledged_or_the_lease_is_over(world: World) -> None:
    await world.perform(a.PutQueue(name="q", visibility_s=30.0))
    ids = await world.perform(a.SendMessages(name="q", messages=(message("a"), message("b", delay_s=60.0))))
    [first] = await world.perform(a.ReceiveMessages(name="q", limit=10))
    assert (first.id, first.message.body, first.receives) == (ids[0], b"a", 1)
    assert await world.perform(a.ReceiveMessages(name="q")) == ()
    world.clock.advance(29.0)
    assert await world.perform(a.ExtendMessages(name="q", receipts=(first.receipt,), visibility_s=10.0)) == (True,)
    world.clock.advance(11.0)
    [second] = await world.perform(a.ReceiveMessages(name="q"))
    assert (second.id, second.receives) == (ids[0], 2)
    assert await world.perform(a.AckMessages(name="q", receipts=(first.receipt,))) == (False,)  # fenced off
    assert await world.perform(a.ExtendMessages(name="q", receipts=(second.receipt,), visibility_s=0.0)) == (True,)
    [third] = await world.perform(a.ReceiveMessages(name="q"))
    assert await world.perform(a.AckMessages(name="q", receipts=(third.receipt, "x", "y.z"))) == (True, False, False)
    stats = await world.perform(a.GetQueueStats(name="q"))
    assert (stats.waiting, stats.delayed, stats.held, stats.dead) == (0, 1, 0, 0)
    world.clock.advance(20.0)
    [last] = await world.perform(a.ReceiveMessages(name="q"))
    assert last.id == ids[1]


async def test_a_receiver_can_wait(world: World) -> None:
    await world.perform(a.PutQueue(name="q"))
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=20.0)))
    await world.quiet()
    assert not waiting.done()
    await world.perform(a.SendMessages(name="q", messages=(message("a"),)))
    [received] = await waiting
    assert received.message.body == b"a"
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=60.0)))
    await world.quiet()
    world.clock.advance(31.0)  # the first receiver does not answer: its lease ends, and this one gets it
    [again] = await waiting
    assert again.id == received.id
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=5.0)))
    await world.quiet()
    world.clock.advance(5.0)
    assert await waiting == ()


async def test_received_too_often_is_dead_and_goes_to_the_dead_letter_queue(world: World) -> None:
    await world.perform(a.PutQueue(name="dlq"))
    to = Destination(kind="queue", name="dlq", shape="data")
    await world.perform(a.PutQueue(name="q", max_receives=2, dead_letter=to))
    await world.perform(a.SendMessages(name="q", messages=(message("poison"),)))
    for _ in range(2):
        [held] = await world.perform(a.ReceiveMessages(name="q", visibility_s=1.0))
        world.clock.advance(1.1)
    assert await world.perform(a.ReceiveMessages(name="q")) == ()
    [dead] = await world.dead(queue="q")
    assert (dead.id, dead.condition, dead.attempts) == (held.id, "RetriesExhausted", 2)
    assert (await world.perform(a.GetDead(id=dead.id))).input == b"poison"
    [letter] = await world.perform(a.ReceiveMessages(name="dlq"))
    assert letter.message.body == b"poison"


async def test_a_fifo_queue_keeps_the_order_of_a_group_and_knows_what_it_has_seen(world: World) -> None:
    await world.perform(a.PutQueue(name="q", fifo=True, content_dedup=True))
    sent = [message(f"{group}{n}", group=group) for n in range(2) for group in "ab"]
    ids = await world.perform(a.SendMessages(name="q", messages=tuple(sent)))
    again = await world.perform(a.SendMessages(name="q", messages=(sent[0], message("x", group="a", dedup="d"))))
    assert again[0] == ids[0]
    with pytest.raises(errors.BadInput, match="group"):
        await world.perform(a.SendMessages(name="q", messages=(message("x"),)))
    received = await world.perform(a.ReceiveMessages(name="q", limit=10))
    assert [one.message.body for one in received] == [b"a0", b"b0", b"a1", b"b1", b"x"]


async def test_of_a_group_nothing_goes_out_while_any_of_it_is_out(world: World) -> None:
    await world.perform(a.PutQueue(name="q", fifo=True, visibility_s=30.0))
    sent = tuple(message(f"{group}{n}", group=group, dedup=f"{group}{n}") for n in range(4) for group in "ab")
    await world.perform(a.SendMessages(name="q", messages=sent))

    async def receive(limit: int) -> list[Any]:
        return list(await world.perform(a.ReceiveMessages(name="q", limit=limit)))

    def texts(received: list[Any]) -> list[str]:
        return [one.message.body.decode() for one in received]

    first = await receive(3)
    assert texts(first) == ["a0", "b0", "a1"]  # the first of each group, and as many behind them as there is room
    assert await receive(10) == []
    await world.perform(a.AckMessages(name="q", receipts=(first[2].receipt,)))  # a1: a0 is still out
    assert await receive(10) == []
    await world.perform(a.AckMessages(name="q", receipts=(first[0].receipt,)))
    second = await receive(10)
    assert texts(second) == ["a2", "a3"]
    await world.perform(a.ExtendMessages(name="q", receipts=(second[0].receipt,), visibility_s=0.0))
    assert await receive(10) == []  # a2 is back, and waits for a3
    world.clock.advance(31.0)
    assert texts(await receive(10)) == ["b0", "b1", "a2", "b2", "a3", "b3"]  # as they came, whatever had been out


async def test_a_trigger_takes_from_a_queue(world: World) -> None:
    await world.perform(a.PutQueue(name="q", max_receives=2))
    await world.perform(a.SendMessages(name="q", messages=(message('{"n":1}'),)))
    source = Source(kind="queue", settings={"queue": "q"})
    await world.trigger("t", source=source, delivery=Policy(delay_s=5.0, jitter=0.0))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert world.bodies()[0]["data"] == {"n": 1}
    assert (await world.perform(a.GetQueueStats(name="q"))).waiting == 0
    with pytest.raises(errors.Conflict, match="takes from the queue"):
        await world.trigger("u", source=source)
    with pytest.raises(errors.Conflict, match="takes from the queue"):
        await world.perform(a.DeleteQueue(name="q"))
    world.answers["f"] = [Result(invocation="", error=RAISED)] * 2
    await world.perform(a.SendMessages(name="q", messages=(message("2"),)))
    await world.until(lambda: len(world.calls) == 2)
    await world.idle()
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 3)
    await world.idle()
    [dead] = await world.dead(queue="q")
    assert dead.attempts == 2
