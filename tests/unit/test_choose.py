"""Which instance takes a call, and what happens to one that finds none."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dayfly.pool.choose import FreeSlots, Verdict, admit, expected_wait, relief, useful


def test_the_one_used_last_is_taken_first() -> None:
    slots: FreeSlots[str] = FreeSlots()
    for name in "abc":
        slots.add(name)
    assert [slots.take(), slots.take()] == ["c", "b"]
    slots.give("c")
    slots.give("b")
    assert slots.take() == "b"
    assert list(slots) == ["a", "c"]  # retire a first


def test_an_instance_is_filled_before_the_next_is_woken() -> None:
    slots: FreeSlots[str] = FreeSlots(2)
    slots.add("a")
    slots.add("b")
    assert [slots.take() for _ in range(5)] == ["b", "b", "a", "a", None]
    slots.give("a")
    assert (slots.free("a"), slots.idle("a"), "b" in slots) == (1, False, False)
    slots.give("a")
    assert slots.idle("a")


def test_the_books_must_balance() -> None:
    slots: FreeSlots[str] = FreeSlots(2)
    slots.add("a", 0)
    assert len(slots) == 0
    slots.add("b")
    with pytest.raises(AssertionError, match="more calls than it took"):
        slots.give("b")
    with pytest.raises(AssertionError, match=r"within 0\.\.2"):
        slots.add("c", 3)
    slots.discard("nobody")


class Slots(RuleBasedStateMachine):
    """Any order of calls and instances, against plain counting."""

    @settings(max_examples=50)
    def __init__(self) -> None:
        super().__init__()
        self.slots: FreeSlots[int] = FreeSlots(3)
        self.running: dict[int, int] = {}
        self.order: list[int] = []  # by last use
        self.next = 0

    @rule(free=st.integers(0, 3))
    def ready(self, free: int) -> None:
        self.next += 1
        self.slots.add(self.next, free)
        self.running[self.next] = 3 - free
        self.order.append(self.next)

    @rule()
    def call(self) -> None:
        able = [i for i in self.order if self.running[i] < 3]
        taken = self.slots.take()
        assert taken == (able[-1] if able else None)
        if taken is not None:
            self.running[taken] += 1
            self.order.remove(taken)
            self.order.append(taken)

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from([i for i, n in self.running.items() if n]))
        self.slots.give(instance)
        self.running[instance] -= 1
        self.order.remove(instance)
        self.order.append(instance)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from(self.order))
        self.slots.discard(instance)
        self.order.remove(instance)
        del self.running[instance]

    @invariant()
    def exact(self) -> None:
        assert list(self.slots) == [i for i in self.order if self.running[i] < 3]
        assert all(self.slots.free(i) == 3 - n for i, n in self.running.items())


TestSlots = Slots.TestCase


def verdict(**given: float | bool) -> Verdict:
    usual: dict[str, float | bool] = {"free": 0, "alive": 0, "starting": 0, "waiting": 0, "max_instances": 4, "queue_limit": 10}
    return admit(**{**usual, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"free": 1, "alive": 1}, Verdict.RUN),
        ({"free": 1, "alive": 1, "waiting": 1, "starting": 2}, Verdict.WAIT),  # nobody overtakes the queue
        ({}, Verdict.START),
        ({"alive": 3}, Verdict.START),
        ({"alive": 4}, Verdict.WAIT),
        ({"alive": 3, "starting": 1, "waiting": 1}, Verdict.WAIT),
        ({"starting": 1, "waiting": 1}, Verdict.START),  # that start is spoken for
        ({"starting": 1, "waiting": 0}, Verdict.WAIT),  # single flight: a reserve start serves it
        ({"starting": 1, "waiting": 9, "concurrency": 10}, Verdict.WAIT),
        ({"starting": 1, "waiting": 10, "concurrency": 10}, Verdict.START),
        ({"starting": 2, "waiting": 2, "max_starting": 2}, Verdict.WAIT),
        ({"alive": 4, "waiting": 10}, Verdict.LIMITED),
        ({"alive": 2, "waiting": 10, "room": False}, Verdict.NO_ROOM),
        ({"alive": 2, "waiting": 9, "room": False}, Verdict.WAIT),
        ({"starting": 4, "waiting": 3, "queue_limit": 0}, Verdict.WAIT),  # those that starts will serve are no queue
        ({"starting": 4, "waiting": 4, "queue_limit": 0}, Verdict.LIMITED),
        ({"alive": 4, "wait_s": 5.1, "deadline_s": 5.0}, Verdict.TOO_LATE),
        ({"alive": 4, "wait_s": 5.0, "deadline_s": 5.0}, Verdict.WAIT),
        ({"wait_s": 99.0, "deadline_s": 5.0}, Verdict.START),  # never refused: it is what makes the next wait short
        ({"free": 1, "alive": 1, "wait_s": 99.0, "deadline_s": 5.0}, Verdict.RUN),
    ],
)
def test_admit(given: dict[str, float | bool], expected: Verdict) -> None:
    assert verdict(**given) is expected


def test_only_refusals_are_refusals() -> None:
    assert {v for v in Verdict if v.rejected} == {Verdict.LIMITED, Verdict.NO_ROOM, Verdict.TOO_LATE}


@pytest.mark.parametrize(
    ("waiting", "slots", "service", "ready", "expected"),
    [
        (0, 1, 2.0, 0.0, 2.0),
        (9, 5, 2.0, 0.0, 4.0),
        (9, 5, 0.0, 0.0, 0.0),
        (9, 5, 2.0, 1.5, 5.5),
        (3, 0, 2.0, 1.5, 1.5),
        (3, 0, 2.0, inf, inf),
    ],
)
def test_expected_wait(waiting: int, slots: int, service: float, ready: float, expected: float) -> None:
    assert expected_wait(waiting=waiting, slots=slots, service_s=service, ready_in_s=ready) == expected


@pytest.mark.parametrize(
    ("rate", "shortest", "busy", "processors", "concurrency", "expected"),
    [
        (0.0, 0.0001, 0.0001, 2, 1, 2),  # nothing is known to end
        (10_000.0, 0.0001, 0.0001, 2, 1, 3),  # they compute: one for each processor, and one
        (10_000.0, 0.0001, 0.0001, 64, 1, 5),  # one instance at work all the time: room for four times as much, and one
        (20_000.0, 0.0001, 0.0001, 64, 1, 9),
        (20_000.0, 0.0001, 0.0001, 64, 4, 3),
        (600.0, 0.003, 0.003, 2, 1, 3),
        (600.0, 0.003, 0.001, 2, 1, 8),  # two thirds of the time they wait for somebody else: 1.2 at a time, and room
        (600.0, 0.003, 0.0, 2, 1, 9),
    ],
)
def test_useful(rate: float, shortest: float, busy: float, processors: int, concurrency: int, expected: int) -> None:
    found = useful(rate=rate, shortest_s=shortest, busy_s=busy, processors=processors, concurrency=concurrency)
    assert found == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"waiting": 31, "ready": 1, "rate": 10_000.0, "enough": 6}, 5),
        ({"waiting": 31, "ready": 1, "rate": 10_000.0, "enough": 6, "starting": 5}, 0),  # they are on their way
        ({"waiting": 1, "ready": 1, "rate": 10_000.0, "enough": 6}, 1),  # never more than wait
        ({"waiting": 253, "ready": 8, "rate": 15_000.0, "enough": 8}, 0),  # something else is the limit
        ({"waiting": 253, "ready": 8, "rate": 15_000.0, "enough": 8, "stuck": 2}, 2),  # two of them serve nobody
        ({"waiting": 10, "ready": 4, "rate": 0.0}, 10),  # nothing ended: calls are long now
        ({"waiting": 10, "ready": 4, "rate": 10.0, "stuck": 2}, 10),  # half of them are
        ({"waiting": 10, "ready": 4, "rate": 0.0, "starting": 3, "concurrency": 2}, 2),
        ({"waiting": 4, "ready": 4, "rate": 0.0, "starting": 4}, 0),
    ],
)
def test_relief(given: dict[str, float], expected: int) -> None:
    arguments = {"starting": 0, "stuck": 0, "enough": 2, "concurrency": 1, **given}
    assert relief(**arguments) == expected  # type: ignore[arg-type]
