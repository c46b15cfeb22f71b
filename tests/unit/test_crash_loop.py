"""A function whose instances die one after the other gets the next one later and later; one that answers, at once."""

from __future__ import annotations

import pytest

from dayfly.errors import InitFailed, InstanceDied
from dayfly.pool.crashes import FIRST, FREE, LONGEST, Crashes
from tests.support.boxes import revision
from tests.support.desk import Desk

pytestmark = pytest.mark.anyio


def test_the_wait_doubles_to_a_bound_and_passes_with_time() -> None:
    crashes = Crashes()
    waits = []
    for second in range(0, 200, 10):
        waits.append(crashes.wait(float(second)))
        crashes.add(float(second))
    assert waits == [0.0] * 20  # ten seconds later nobody waits any more
    crashes = Crashes()
    waits = []
    for _ in range(FREE + 8):
        crashes.add(7.0)
        waits.append(crashes.wait(7.0))
    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE:] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
    assert crashes.wait(7.25) == pytest.approx(LONGEST - 0.25)
    crashes.number = 10_000
    assert crashes.wait(7.0) == LONGEST


def dying(desk: Desk, times: int) -> None:
    """So many calls, each of which ends its instance."""
    for _ in range(times):
        client = desk.call()
        if desk.sandbox.alive[-1:] == [] or not desk.sandbox.boxes[-1].calls:
            desk.clock.advance(LONGEST)
            desk.sandbox.boxes[-1].ready()
        desk.sandbox.boxes[-1].die()
        desk.sandbox.boxes[-1].destroyed = True
        assert isinstance(client.failures[0], InstanceDied)


async def test_after_some_deaths_in_a_row_the_next_instance_starts_later() -> None:
    desk = Desk()
    dying(desk, FREE + 1)
    started = len(desk.sandbox.boxes)
    client = desk.call()
    assert len(desk.sandbox.boxes) == started
    desk.clock.advance(FIRST)
    assert len(desk.sandbox.boxes) == started + 1
    desk.clock.advance(0.010)
    desk.sandbox.boxes[-1].ready()
    desk.sandbox.boxes[-1].answer()
    assert client.results[0].timings.queue == pytest.approx(FIRST)
    assert client.results[0].timings.cold == pytest.approx(0.010)


async def test_an_answer_makes_up_for_all_of_them() -> None:
    desk = Desk()
    dying(desk, FREE + 5)
    desk.call()
    desk.clock.advance(LONGEST)
    desk.sandbox.boxes[-1].ready()
    desk.clock.advance(0.001)
    desk.sandbox.boxes[-1].answer()
    desk.sandbox.boxes[-1].die()
    started = len(desk.sandbox.boxes)
    desk.call()
    assert len(desk.sandbox.boxes) == started + 1


async def test_code_that_does_not_load_is_loaded_again_later_and_later() -> None:
    desk = Desk()
    for _ in range(FREE + 1):
        desk.call()
        desk.sandbox.boxes[-1].die(InitFailed("SyntaxError: no"))
    started = len(desk.sandbox.boxes)
    client = desk.call()
    assert len(desk.sandbox.boxes) == started
    desk.clock.advance(FIRST)
    desk.sandbox.boxes[-1].die(InitFailed("SyntaxError: no"))
    assert isinstance(client.failures[0], InitFailed)


async def test_who_leaves_while_it_waits_starts_nothing() -> None:
    desk = Desk()
    dying(desk, FREE + 1)
    started = len(desk.sandbox.boxes)
    client = desk.call()
    desk.dispatcher.cancel(next(iter(desk.dispatcher.active)))
    assert client.failures
    desk.clock.advance(LONGEST)
    assert len(desk.sandbox.boxes) == started
    assert desk.pool.instances == 0


async def test_a_recycled_one_that_waits_for_its_start_is_not_started() -> None:
    desk = Desk(revision(max_instances=1))
    dying(desk, FREE + 1)
    started = len(desk.sandbox.boxes)
    client = desk.call()
    assert desk.group.recycle() == 1
    desk.clock.advance(LONGEST)
    assert len(desk.sandbox.boxes) == started + 1  # the one after it
    desk.sandbox.boxes[-1].ready()
    desk.sandbox.boxes[-1].answer()
    assert client.results
    assert desk.pool.instances == 1
