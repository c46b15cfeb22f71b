"""Calls shorter than a start: when they wait for a busy instance, and what is sent ahead of its turn."""

from __future__ import annotations

import pytest

from dayfly.errors import (
    Cancelled,
    InstanceDied,
    TimedOut,
)
from dayfly.testing.clock import settle
from tests.support.boxes import Waiting, revision
from tests.support.desk import Desk

pytestmark = pytest.mark.anyio


def short_desk() -> Desk:
    """A function with one instance, whose start took 10 ms and whose calls take 0.2 ms."""
    desk = Desk()
    desk.call()
    desk.clock.advance(0.010)
    desk.sandbox.boxes[0].ready()
    desk.clock.advance(0.0002)
    desk.sandbox.boxes[0].answer()
    return desk


async def test_short_calls_wait_for_the_busy_instance_and_others_are_started_as_long_as_that_helps() -> None:
    desk = short_desk()
    [box] = desk.sandbox.boxes
    for _ in range(12):
        desk.call()
    assert len(desk.sandbox.boxes) == 1
    for _ in range(110):  # 22 ms, in which the queue is never empty
        desk.clock.advance(0.0002)
        box.answer()
        desk.call()
    assert 1 < len(desk.sandbox.boxes) <= 7
    for started in desk.sandbox.boxes[1:]:
        started.ready()
    for _ in range(1000):  # no more calls end now than before: something else is the limit
        desk.clock.advance(0.0002)
        min(desk.sandbox.boxes, key=lambda box: min(box.calls, default=10_000)).answer()
        desk.call()
    assert len(desk.sandbox.boxes) <= 7


async def test_calls_that_turn_out_to_be_long_get_an_instance_each_before_long() -> None:
    desk = short_desk()
    for _ in range(20):
        desk.call()
    assert len(desk.sandbox.boxes) == 1
    desk.clock.advance(0.021)  # twice the time of a start, and not one has ended
    assert len(desk.group.instances) == 20
    for box in desk.sandbox.boxes[1:]:
        box.ready()
    assert len(desk.group.waiting) == 11  # eight starts at a time
    desk.clock.advance(1.0)
    while any(box.calls for box in desk.sandbox.alive):
        for box in desk.sandbox.alive:
            if box.calls:
                box.answer()
    assert len(desk.records) == 21


async def test_after_a_recycle_the_next_short_call_is_given_an_instance_of_its_own() -> None:
    desk = short_desk()
    desk.call()
    desk.call()
    desk.group.recycle()
    assert len(desk.group.instances) == 2


async def busy_desk(calls: int, **config: object) -> tuple[Desk, list[Waiting]]:
    """One instance that takes calls ahead, known to be quick, and calls that have just come."""
    desk = Desk(revision(max_instances=1, **config))
    desk.call()
    [box] = desk.sandbox.boxes
    desk.clock.advance(0.01)
    box.ready(ahead=3)
    desk.clock.advance(0.0002)
    box.answer()
    return desk, [desk.call(b"%d" % number) for number in range(calls)]


async def test_of_a_long_queue_of_short_calls_some_are_sent_ahead_and_run_one_after_the_other() -> None:
    desk, clients = await busy_desk(8)
    [box] = desk.sandbox.boxes
    assert [body for _, body, _ in box.calls.values()] == [b"0"]  # nobody knows yet how long the queue lasts
    desk.clock.advance(0.0002)
    box.answer()
    assert [body for _, body, _ in box.calls.values()] == [b"1", b"2", b"3", b"4"]
    assert [call.ahead for call in desk.dispatcher.active.values()][:5] == [False, True, True, True, False]
    while box.calls:
        desk.clock.advance(0.0002)
        box.answer()
    assert [len(client.results) for client in clients] == [1] * 8
    assert [record.timings.run for record in desk.records] == pytest.approx([0.0002] * 9)


async def test_what_was_sent_ahead_goes_back_to_the_front_when_its_instance_dies() -> None:
    desk, clients = await busy_desk(8)
    [box] = desk.sandbox.boxes
    desk.clock.advance(0.0002)
    box.answer()
    box.die()
    assert isinstance(clients[1].failures[0], InstanceDied)  # it ran
    assert [client.endings for client in clients[2:]] == [0] * 6
    other = desk.sandbox.boxes[1]
    other.ready(ahead=3)
    assert [body for _, body, _ in other.calls.values()] == [b"2"]
    while other.calls:
        other.answer()
    assert [len(client.results) for client in clients[2:]] == [1] * 6


async def test_a_timeout_ends_one_call_and_what_was_sent_ahead_is_run_by_another_instance() -> None:
    desk, clients = await busy_desk(6, timeout_s=2)
    desk.clock.advance(0.0002)
    desk.sandbox.boxes[0].answer()
    desk.clock.advance(2.1)
    await settle()
    assert isinstance(clients[1].failures[0], TimedOut)
    assert [client.endings for client in clients[2:]] == [0] * 4
    other = desk.sandbox.boxes[1]
    other.ready()
    while other.calls:
        other.answer()
    assert [len(client.results) for client in clients[2:]] == [1] * 4


async def test_a_call_cancelled_after_it_was_sent_ahead_is_stopped_when_it_is_its_turn() -> None:
    desk, clients = await busy_desk(6)
    [box] = desk.sandbox.boxes
    desk.clock.advance(0.0002)
    box.answer()
    desk.dispatcher.cancel(list(desk.dispatcher.active)[1])
    assert isinstance(clients[2].failures[0], Cancelled)
    assert not box.destroyed  # somebody else's call runs
    box.answer()
    await settle()
    assert len(clients[1].results) == 1
    assert box.destroyed
    desk.sandbox.boxes[1].ready()
    while desk.sandbox.boxes[1].calls:
        desk.sandbox.boxes[1].answer()
    assert [client.endings for client in clients] == [1] * 6


async def test_nothing_is_sent_ahead_where_a_call_was_long_lately() -> None:
    desk, _ = await busy_desk(8)
    [box] = desk.sandbox.boxes
    desk.clock.advance(0.1)
    box.answer()
    assert len(box.calls) == 1
