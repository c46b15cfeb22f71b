"""Averages of calls in flight over the last seconds."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.scaler.windows import ConcurrencyIntegral, LoadHistory


def history(*readings: tuple[float, float], seconds: int = 60) -> LoadHistory:
    made = LoadHistory(seconds)
    for now, area in readings:
        made.record(now, area)
    return made


def test_integral_counts_call_seconds() -> None:
    load = ConcurrencyIntegral()
    load.add(1, 10.0)
    load.add(1, 12.0)
    load.add(-1, 15.0)
    assert (load.level, load.at(15.0), load.at(20.0)) == (1, 8.0, 13.0)


def test_time_that_goes_backwards_adds_nothing() -> None:
    load = ConcurrencyIntegral()
    load.add(1, 10.0)
    load.add(1, 9.0)
    assert load.at(10.0) == 0.0
    assert load.at(8.0) == 0.0


def test_more_ends_than_beginnings_are_a_fault() -> None:
    load = ConcurrencyIntegral()
    with pytest.raises(AssertionError, match="more calls ended"):
        load.add(-1, 1.0)


@pytest.mark.parametrize(
    ("readings", "window", "expected"),
    [
        ([], 60, 0.0),
        ([(5.0, 0.0)], 60, 0.0),
        ([(0.0, 0.0), (60.0, 120.0)], 60, 2.0),
        ([(0.0, 0.0), (60.0, 120.0), (66.0, 120.0)], 6, 0.0),  # nothing in the last six seconds
        ([(0.0, 0.0), (60.0, 120.0), (66.0, 120.0)], 60, 1.8),  # 54 of the 60 seconds had two
        ([(0.0, 0.0), (60.0, 0.0), (63.0, 30.0)], 6, 10.0),  # the history begins at 60: divided by its age, 3 s
        ([(0.0, 0.0), (60.0, 0.0), (60.2, 1.0)], 6, 1.0),  # ... but by one second at least
        ([(0.0, 0.0), (60.0, 60.0), (61.0, 71.0)], 1, 11.0),
        ([(0.5, 0.0), (2.5, 4.0)], 1.0, 2.0),  # between whole seconds
        ([(0.0, 0.0), (500.0, 1000.0)], 60, 2.0),  # a loop that was late
        ([(0.0, 0.0), (10.0, 10.0), (10.0, 99.0), (9.0, 99.0)], 60, 1.0),  # same or older time: ignored
        ([(0.0, 0.0), (90.0, 90.0)], 600, 1.0),  # a longer window than is remembered
    ],
)
def test_average(readings: list[tuple[float, float]], window: float, expected: float) -> None:
    assert history(*readings).average(window) == pytest.approx(expected)


def test_an_idle_window_forgets_and_frees() -> None:
    seen = history((0.0, 0.0), (1.0, 5.0), (60.9, 5.0))
    assert seen.average(60) > 0
    seen.record(61.0, 5.0)
    assert seen.idle
    assert seen.average(60) == 0.0
    seen.record(1000.0, 5.0)  # woken
    seen.record(1002.0, 9.0)
    assert seen.average(60) == 2.0  # the idle time before is not its load


def test_an_idle_function_costs_little() -> None:
    idle = history((0.0, 0.0), (1.0, 5.0), (61.0, 5.0))
    objects = [ConcurrencyIntegral(), idle, *(getattr(idle, name) for name in LoadHistory.__slots__)]
    assert sum(map(sys.getsizeof, objects)) < 400


@given(
    st.lists(st.tuples(st.one_of(st.just(0.0), st.floats(0.01, 7.0)), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 200),
    st.sampled_from([1, 6, 60]),
)
def test_equals_the_time_that_calls_spend_inside_the_window(steps: list[tuple[float, bool]], tail: int, window: int) -> None:
    load, seen = ConcurrencyIntegral(), LoadHistory()
    now, second = 7.5, 8
    seen.record(now, 0.0)
    running: list[float] = []
    spans: list[tuple[float, float]] = []

    def read_until(moment: float) -> None:
        nonlocal second
        while second <= moment:
            seen.record(second, load.at(second))
            second += 1

    for gap, begins in steps:
        now += gap
        read_until(now)
        if begins or not running:
            running.append(now)
            load.add(1, now)
        else:
            spans.append((running.pop(), now))
            load.add(-1, now)
        seen.record(now, load.at(now))
    end = second + tail
    read_until(end)

    spans = [(start, stop) for start, stop in spans if stop > start] + [(start, end) for start in running]
    begin = max(end - window, min((start for start, _ in spans), default=end))
    inside = sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in spans)
    assert seen.average(window) == pytest.approx(inside / max(1.0, end - begin), abs=2e-6)
