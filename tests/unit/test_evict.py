"""Greedy-Dual eviction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dayfly.pool.evict import Candidate, GreedyDual, priority


def test_often_called_slow_to_start_and_small_stays() -> None:
    base = Candidate("base", frequency=10, cost=1.0, size=100)
    others = [base._replace(frequency=20), base._replace(cost=2.0), base._replace(size=50), base._replace(used=0.1)]
    assert all(priority(other) > priority(base) for other in others)


def test_a_size_below_one_counts_as_one() -> None:
    assert priority(Candidate("a", 3, 1.0, 0.0)) == 3.0


def test_the_clock_is_the_priority_of_the_last_victim_and_ages_the_rest() -> None:
    evictor = GreedyDual()
    once_popular = Candidate("once popular", 100, 1.0, 10)  # 10
    assert evictor.evict([once_popular, Candidate("a", 80, 1.0, 10)]) == "a"
    assert evictor.clock == 8.0
    newcomer = Candidate("new", 30, 1.0, 10, used=evictor.clock)  # 8 + 3
    assert evictor.evict([newcomer, once_popular]) == "once popular"
    assert evictor.clock == 10.0


def test_nothing_to_evict() -> None:
    evictor = GreedyDual(5.0)
    assert evictor.evict([]) is None
    assert evictor.victims([], 10.0) == ((), 0.0)
    assert evictor.clock == 5.0


def test_victims_until_enough_and_equals_in_order() -> None:
    same = [Candidate(name, 1, 1.0, 10) for name in "abc"]
    assert GreedyDual().victims(same, 0.0).ids == ()
    assert GreedyDual().victims(same, 10.0).ids == ("a",)
    assert GreedyDual().victims(same, 10.1) == (("a", "b"), 20)
    assert GreedyDual().victims(same, 1000.0) == (("a", "b", "c"), 30)


candidates = st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 60), st.floats(0, 4096), st.floats(0, 1e3)), max_size=60).map(
    lambda rows: [Candidate(number, *row) for number, row in enumerate(rows)]
)


@given(candidates, st.floats(0, 20_000), st.floats(0, 100))
def test_equals_the_naive_way(given_: list[Candidate[int]], need: float, clock: float) -> None:
    left, freed, expected, hand = list(given_), 0.0, [], clock
    while freed < need and left:
        lowest = min(left, key=lambda c: (c.used + c.frequency * c.cost / max(1.0, c.size), c.id))
        left.remove(lowest)
        hand = max(hand, priority(lowest))
        freed += lowest.size
        expected.append(lowest.id)
    evictor = GreedyDual(clock)
    assert evictor.victims(given_, need).ids == tuple(expected)
    assert evictor.clock == hand

    one_by_one, left, chosen = GreedyDual(clock), list(given_), []
    for _ in expected:
        victim = one_by_one.evict(left)
        left = [c for c in left if c.id != victim]
        chosen.append(victim)
    assert (chosen, one_by_one.clock) == (expected, hand)
