"""Whose turn it is."""

from __future__ import annotations

import pytest

from dayfly.events.lanes import NEVER, Lane, Lanes

A, B, C = ("n", "a"), ("n", "b"), ("n", "c")


def take(lanes: Lanes, now: float = 0.0) -> tuple[Lane, int]:
    turn = lanes.take(now)
    assert turn is not None
    return turn


def test_nothing_is_taken_before_it_is_due() -> None:
    lanes = Lanes(lambda _: 4, 10)
    assert lanes.take(1e9) is None
    lanes.hint(A, 100.0)
    lanes.hint(A, 50.0)
    lanes.hint(A, 200.0)
    assert lanes.take(49.9) is None
    assert lanes.next_due() == 50.0
    lane, places = take(lanes, 50.0)
    assert (lane.key, places) == (A, 4)
    assert lanes.take(1e9) is None  # it is being served


def test_functions_take_turns_and_share_what_is_free() -> None:
    lanes = Lanes(lambda _: 8, 12)
    for key in (A, B, C):
        lanes.hint(key, 0.0)
    turns = [take(lanes) for _ in range(3)]
    assert [(lane.key, places) for lane, places in turns] == [(A, 4), (B, 4), (C, 4)]
    assert lanes.take(0.0) is None  # all places are held
    assert lanes.next_due() == NEVER


def test_a_slow_function_holds_its_own_bound_and_no_more() -> None:
    lanes = Lanes(lambda _: 2, 10)
    lanes.hint(A, 0.0)
    slow, places = take(lanes)
    assert places == 2
    lanes.claimed(slow, 0, 0.0)  # there is more
    assert lanes.take(0.0) is None
    assert lanes.next_due() == NEVER
    lanes.hint(B, 0.0)
    assert take(lanes)[0].key == B
    lanes.release(slow)
    assert take(lanes) == (slow, 1)


def test_a_long_queue_goes_to_the_end_of_the_line() -> None:
    lanes = Lanes(lambda _: 1, 1)
    lanes.hint(A, 0.0)
    order = []
    for i in range(6):
        lane, _ = take(lanes, 10.0)
        order.append(lane.key[1])
        if i == 0:
            lanes.hint(B, 5.0)
            lanes.hint(C, 6.0)
        lanes.claimed(lane, 0, 0.0)
        lanes.release(lane)
    assert order == ["a", "a", "b", "c", "a", "b"]


def test_work_that_comes_while_items_are_fetched_is_not_forgotten() -> None:
    lanes = Lanes(lambda _: 2, 10)
    lanes.hint(A, 0.0)
    lane, places = take(lanes)
    lanes.hint(A, 3.0)
    lanes.claimed(lane, places, NEVER)
    assert lanes.next_due() == 3.0
    assert take(lanes, 3.0)[0] is lane


def test_a_function_without_work_leaves_no_trace() -> None:
    lanes = Lanes(lambda _: 2, 10)
    for i in range(1000):
        lanes.hint(("n", str(i)), 0.0)
        lane, places = take(lanes)
        lanes.claimed(lane, places - 1, NEVER)
        lanes.release(lane)
    assert len(lanes) == 0
    assert lanes.running == 0
    assert lanes.next_due() == NEVER


@pytest.mark.parametrize("places", [1, 3])
def test_places_are_never_overdrawn(places: int) -> None:
    lanes = Lanes(lambda _: places, 5)
    held: list[Lane] = []
    for i in range(20):
        lanes.hint(("n", str(i)), 0.0)
    for _ in range(200):
        while (turn := lanes.take(0.0)) is not None:
            lane, n = turn
            lanes.claimed(lane, 0, 0.0)
            held += [lane] * n
            assert lane.running <= places
        assert lanes.running == len(held) == 5
        lanes.release(held.pop(0))
