"""How long an idle function stays warm."""

from __future__ import annotations

import statistics
import sys
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.scaler.keepalive import PAPER, Basis, IdleHistogram, KeepSpec, Windows, keep_for, predict, spare_for

MINUTE, HOUR = 60.0, 3600.0
SPEC = KeepSpec()


def seen(*minutes: float, spec: KeepSpec = PAPER) -> IdleHistogram:
    histogram = IdleHistogram()
    for idle in minutes:
        histogram.observe(idle * MINUTE, spec)
    return histogram


# --- the paper's policy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idle_minutes", "basis", "prewarm", "until"),
    [
        ([], Basis.FEW, 0, 240),
        ([30] * 4, Basis.FEW, 0, 240),
        ([30] * 5, Basis.PATTERN, 27, 34.1),  # 0.9 x 30, 1.1 x 31: the bin's upper edge
        ([30.99] * 5, Basis.PATTERN, 27, 34.1),
        ([0.5] * 5, Basis.PATTERN, 0, 1.1),  # head in bin 0: never unloaded in between
        ([10] * 5 + [100] * 95, Basis.PATTERN, 9, 111.1),  # the 5th percentile is reached by 5 of 100
        ([10] * 4 + [100] * 96, Basis.PATTERN, 90, 111.1),
        ([10] * 99 + [200], Basis.PATTERN, 9, 12.1),  # the 99th by 99 of 100
        ([10] * 98 + [200] * 2, Basis.PATTERN, 9, 221.1),
        ([300] * 6, Basis.FORECAST, 255, 345),  # 15 % around the mean
        ([300, 500] * 3, Basis.FORECAST, 340, 460),
        ([300] * 3 + [30] * 3, Basis.PATTERN, 27, 34.1),  # half is not more than half
        ([239.9] * 5, Basis.PATTERN, 0.9 * 239, 264),
        ([*range(240)], Basis.SPREAD, 0, 240),  # every bin once: no variation
    ],
)
def test_predict(idle_minutes: list[float], basis: Basis, prewarm: float, until: float) -> None:
    windows = predict(seen(*idle_minutes), PAPER)
    assert windows.basis is basis
    assert windows.prewarm_after_s / MINUTE == pytest.approx(prewarm)
    assert windows.until_s / MINUTE == pytest.approx(until)


def test_ignores_what_is_no_idle_time() -> None:
    histogram = IdleHistogram()
    for wrong in (nan, -1.0, inf, 59.9):
        histogram.observe(wrong, SPEC)
    assert (histogram.count, histogram.oob, histogram.total_s, histogram.bins) == (0, 0, 0.0, None)


def test_a_full_bin_halves_the_whole() -> None:
    histogram = seen(10, 20, 20, 20)
    assert histogram.bins is not None
    histogram.bins[10], histogram.count, histogram.squares = 65535, 65538, 65535**2 + 9
    histogram.observe(10 * MINUTE, PAPER)
    assert (histogram.bins[10], histogram.bins[20]) == (32768, 1)
    assert histogram.count == sum(histogram.bins)
    assert histogram.squares == sum(n * n for n in histogram.bins)


def test_size() -> None:
    assert sys.getsizeof(IdleHistogram()) < 100
    assert sys.getsizeof(seen(1).bins) < 600


@given(st.lists(st.floats(0, 239.99), min_size=1, max_size=300))
def test_variation_is_that_of_the_bin_counts(minutes: list[float]) -> None:
    histogram = seen(*minutes)
    assert histogram.bins is not None
    expected = statistics.pstdev(histogram.bins) / statistics.fmean(histogram.bins)
    assert histogram.variation(PAPER) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0, 239.99), min_size=20, max_size=300))
def test_a_pattern_covers_nearly_all_it_has_seen(minutes: list[float]) -> None:
    windows = predict(seen(*minutes), PAPER)
    covered = sum(windows.warm_at(minute * MINUTE) for minute in minutes)
    assert covered >= 0.93 * len(minutes)


# --- weighed by what a cold start costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(0.003, 60), (0.0, 60), (-1.0, 60), (0.1, 60), (0.5, 300), (1.0, 600), (None, 600), (60.0, 600)],
)
def test_nothing_known(cost: float | None, expected: float) -> None:
    assert keep_for(IdleHistogram(), cost, SPEC) == Windows(0.0, expected)


def test_a_pattern_is_followed_where_a_cold_start_is_worth_its_window() -> None:
    half_hourly = seen(*[30] * 20)  # the window is open for 3.5 minutes before the call comes
    assert keep_for(half_hourly, 1.0, SPEC) == Windows(27 * MINUTE, pytest.approx(7.1 * MINUTE), 60.0, Basis.PATTERN)
    assert keep_for(half_hourly, 0.36, SPEC).prewarm_after_s == 27 * MINUTE  # budget 216 s, window 210 s
    assert keep_for(half_hourly, 0.34, SPEC) == Windows(0.0, pytest.approx(204.0), basis=Basis.PATTERN)
    assert keep_for(half_hourly, 0.003, SPEC) == Windows(0.0, 60.0, basis=Basis.PATTERN)


def test_no_longer_than_the_calls_are_apart() -> None:
    every_other_minute = seen(*[2] * 20)
    assert keep_for(every_other_minute, 1.0, SPEC).until_s == pytest.approx(1.1 * 3 * MINUTE)
    assert keep_for(every_other_minute, 1.0, SPEC).prewarm_after_s > SPEC.floor_s
    every_minute = seen(*[1] * 20)  # coming back before the floor has passed is staying
    assert keep_for(every_minute, 1.0, SPEC) == Windows(0.0, pytest.approx(132.0), basis=Basis.PATTERN)


def test_a_forecast_is_weighed_too() -> None:
    rare = seen(*[300] * 6)
    assert keep_for(rare, 5.0, SPEC).prewarm_after_s == pytest.approx(255 * MINUTE)
    assert keep_for(rare, 1.0, SPEC) == Windows(0.0, 600.0, basis=Basis.FORECAST)


def test_with_the_papers_parameters_it_is_the_paper() -> None:
    for histogram in (seen(), seen(*[30] * 9), seen(*[300] * 9), seen(*range(240))):
        expected = predict(histogram, PAPER)
        assert keep_for(histogram, 1.0, PAPER) == expected


@pytest.mark.parametrize(("cost", "expected"), [(0.003, 10.0), (0.05, 30.0), (2.0, 60.0), (None, 60.0), (-1.0, 10.0)])
def test_spare(cost: float | None, expected: float) -> None:
    assert spare_for(cost, SPEC) == expected


@given(st.lists(st.floats(0, 600), max_size=60), st.floats(0, 100))
def test_always_warm_up_to_the_floor_and_never_for_longer_than_worth(minutes: list[float], cost: float) -> None:
    windows = keep_for(seen(*minutes, spec=SPEC), cost, SPEC)
    assert windows.warm_at(SPEC.floor_s)
    if windows.prewarm_after_s == 0 and windows.basis in (Basis.FEW, Basis.SPREAD):
        assert windows.keep_for_s <= max(SPEC.floor_s, SPEC.worth_s * cost)


# --- windows ----------------------------------------------------------------------------------------------------------

TWO = Windows(100.0, 50.0, 10.0)


@pytest.mark.parametrize(
    ("idle", "warm"), [(0, True), (10, True), (10.1, False), (99.9, False), (100, True), (150, True), (150.1, False)]
)
def test_warm_at(idle: float, warm: bool) -> None:
    assert TWO.warm_at(idle) is warm


@pytest.mark.parametrize(("idle", "held"), [(0, 0), (5, 5), (50, 10), (100, 10), (120, 30), (150, 60), (1e9, 60)])
def test_held(idle: float, held: float) -> None:
    assert TWO.held(idle) == held


@pytest.mark.parametrize(("idle", "change"), [(0, 10), (10, 100), (120, 150), (150, None)])
def test_next_change(idle: float, change: float | None) -> None:
    assert TWO.next_change(idle) == change
    assert Windows(0.0, inf).next_change(idle) is None


@given(st.floats(0, 500), st.floats(0, 500), st.floats(0, 500), st.floats(0, 2000))
def test_held_is_the_time_warm(prewarm: float, keep: float, linger: float, idle: float) -> None:
    windows = Windows(prewarm, keep, linger)
    steps = 4000
    warm = sum(windows.warm_at((i + 0.5) * idle / steps) for i in range(steps))
    assert windows.held(idle) == pytest.approx(warm * idle / steps, abs=4 * idle / steps + 1e-6)
