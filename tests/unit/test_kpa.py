"""Knative's autoscaler: tables from the definition of its algorithm, and what must hold for every input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dayfly.errors import BadInput
from dayfly.scaler.kpa import Decision, KpaSpec, KpaState, decide, fresh

TEN = KpaSpec(target=10.0, utilization=1.0, initial_scale=0, target_burst_capacity=0)  # ten calls an instance
RUNNING = KpaState(initialized=True)


def desired(
    spec: KpaSpec, stable: float, panic: float, ready: int, state: KpaState = RUNNING, now: float = 1000.0, **how: bool
) -> int:
    return decide(spec, state, stable, panic, ready, now, **how)[0].desired


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "expected"),
    [
        (0, 0, 0, 0),  # nothing there, nothing to do
        (10, 10, 1, 1),
        (10.1, 10.1, 1, 2),  # 2/1 reaches the threshold: panic, same number
        (50, 50, 5, 5),
        (50, 99, 5, 10),  # panic: ten of five ready
        (50, 89, 5, 5),  # 9/5 is below 200 %: the panic window has no say
        (10, 10, 8, 4),  # at most halved in one decision
        (10, 10, 9, 4),
        (1e6, 0, 0, 1000),  # at most thousandfold, from one
        (1e6, 1e6, 3, 3000),
        (100, 1, 10, 10),  # the short window alone does not shrink
    ],
)
def test_desired(stable: float, panic: float, ready: int, expected: int) -> None:
    assert desired(TEN, stable, panic, ready) == expected


def test_aims_at_seventy_percent() -> None:
    assert desired(KpaSpec(target=100.0), 140, 140, 2) == 2
    assert desired(KpaSpec(target=100.0), 141, 141, 2) == 3
    assert KpaSpec(target=0.01, utilization=0.01).aim == 0.01


@pytest.mark.parametrize(
    ("changed", "stable", "ready", "expected"),
    [
        ({"min_scale": 3}, 0, 4, 3),
        ({"max_scale": 3}, 1000, 4, 3),
        ({"min_scale": 2, "max_scale": 2}, 1000, 2, 2),
        ({"activation_scale": 5}, 1, 1, 5),
        ({"activation_scale": 5}, 0, 5, 2),  # without load it does not count
        ({"max_scale_down_rate": 10.0}, 10, 100, 10),
        ({"max_scale_up_rate": 2.0}, 1000, 5, 10),
        ({"scale_to_zero": False}, 0, 0, 1),
    ],
)
def test_bounds(changed: dict[str, float], stable: float, ready: int, expected: int) -> None:
    assert desired(replace(TEN, **changed), stable, stable, ready) == expected


def test_panic_only_grows_and_ends_a_stable_window_after_its_last_cause() -> None:
    decision, state = decide(TEN, RUNNING, 10, 100, 1, 0.0)
    assert decision == Decision(10, 0, True)
    decision, state = decide(TEN, state, 10, 300, 10, 2.0)
    assert decision.desired == 30
    decision, state = decide(TEN, state, 10, 10, 30, 62.0)  # exactly a stable window later: still
    assert (decision.desired, decision.panicking) == (30, True)
    decision, state = decide(TEN, state, 10, 10, 30, 62.1)
    assert (decision.desired, decision.panicking, state.panic_peak) == (15, False, 0)


def test_a_restart_begins_in_panic_so_that_nothing_is_retired_unseen() -> None:
    decision, _ = decide(TEN, fresh(8, 100.0), 0, 0, 8, 101.0)
    assert decision.desired == 8
    assert fresh(1, 100.0) == KpaState()


def test_scale_to_zero_after_the_grace_period() -> None:
    decision, state = decide(TEN, RUNNING, 0, 0, 1, 0.0)
    assert decision.desired == 1
    decision, state = decide(TEN, state, 0, 0, 1, 29.9)
    assert decision.desired == 1
    assert decide(TEN, state, 0, 0, 1, 30.0)[0].desired == 0
    _, woken = decide(TEN, state, 1, 1, 1, 29.95)  # a call in between begins the grace anew
    assert decide(TEN, woken, 0, 0, 1, 31.0)[0].desired == 1
    assert decide(replace(TEN, retention_s=100.0), state, 0, 0, 1, 60.0)[0].desired == 1


def test_initial_scale_holds_until_it_was_reached_once() -> None:
    spec = replace(TEN, initial_scale=3)
    decision, state = decide(spec, KpaState(), 0, 0, 0, 0.0)
    assert decision.desired == 3
    decision, state = decide(spec, state, 0, 0, 2, 2.0)
    assert (decision.desired, state.initialized) == (3, False)
    decision, state = decide(spec, state, 0, 0, 3, 4.0)
    assert (decision.desired, state.initialized) == (1, True)


def test_what_gets_no_traffic_goes_at_once_and_ignores_its_minimum() -> None:
    spec = replace(TEN, min_scale=4, scale_to_zero_grace_s=0.0)
    assert desired(spec, 0, 0, 9, reachable=False) == 0
    assert desired(spec, 0, 0, 9) == 4


def test_scale_down_delay_holds_the_highest_of_the_last_seconds() -> None:
    spec, state, seen = replace(TEN, scale_down_delay_s=10.0), RUNNING, []
    for tick, load in enumerate([80, 60, 40, 40, 40, 40, 40, 40, 40]):
        decision, state = decide(spec, state, load, 0, 8, 100 + 2.0 * tick)
        seen.append(decision.desired)
    assert seen == [8, 8, 8, 8, 8, 6, 4, 4, 4]
    assert len(state.wanted) == 1


@pytest.mark.parametrize(
    ("capacity", "ready", "panic", "expected"),
    [(0, 5, 3, 0), (-1, 5, 3, -1), (211, 0, 0, -211), (211, 30, 50, 39), (211, 30, 50.5, 38)],
)
def test_excess_burst(capacity: float, ready: int, panic: float, expected: int) -> None:
    spec = replace(TEN, target_burst_capacity=capacity)
    assert decide(spec, RUNNING, 50, panic, ready, 0.0)[0].excess_burst == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"utilization": 0.0},
        {"stable_window_s": 5.0},
        {"stable_window_s": float("nan")},
        {"panic_window_percent": 0.5},
        {"panic_threshold_percent": 100.0},
        {"max_scale_down_rate": 1.0},
        {"min_scale": -1},
        {"min_scale": 3, "max_scale": 2},
        {"target_burst_capacity": -2.0},
    ],
)
def test_refuses_parameters_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput) as caught:
        KpaSpec(**wrong)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("stable", "percent", "expected"), [(60.0, 10.0, 6.0), (6.0, 10.0, 1.0), (6.0, 1.0, 1.0), (3600.0, 50.0, 1800.0)]
)
def test_panic_window(stable: float, percent: float, expected: float) -> None:
    assert KpaSpec(stable_window_s=stable, panic_window_percent=percent).panic_window_s == expected


loads = st.floats(0.0, 1e5)
specs = st.builds(
    lambda low, more, target, delay, activation: KpaSpec(
        target=target,
        min_scale=low,
        max_scale=low + more if more else 0,
        scale_down_delay_s=delay,
        activation_scale=activation,
        initial_scale=0,
    ),
    st.integers(0, 20),
    st.integers(0, 200),
    st.floats(0.5, 200.0),
    st.sampled_from([0.0, 10.0]),
    st.integers(1, 5),
)
ticks = st.lists(st.tuples(loads, loads, st.integers(0, 300)), min_size=1, max_size=40)


@given(specs, ticks)
def test_never_outside_the_bounds_and_never_shrinks_in_panic(spec: KpaSpec, seen: list[tuple[float, float, int]]) -> None:
    state, before, now = KpaState(), 0, 0.0
    for stable, panic, ready in seen:
        now += 2.0
        panicked = state.panic_at is not None
        decision, state = decide(spec, state, stable, panic, ready, now)
        assert spec.min_scale <= decision.desired
        assert decision.desired <= (spec.max_scale or 10**9)
        if (
            panicked and decision.panicking and not spec.scale_down_delay_s
        ):  # what the delay held from before may end in a panic
            assert decision.desired >= before
        before = decision.desired
        assert len(state.wanted) <= 6


@given(specs, ticks, loads, st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.integers(0, 300))
def test_more_load_never_means_fewer(
    spec: KpaSpec, past: list[tuple[float, float, int]], load: float, more_stable: float, more_panic: float, ready: int
) -> None:
    state, now = KpaState(), 0.0
    for stable, panic, there in past:
        now += 2.0
        _, state = decide(spec, state, stable, panic, there, now)
    less = decide(spec, state, load, load, ready, now + 2)[0].desired
    assert decide(spec, state, load + more_stable, load + more_panic, ready, now + 2)[0].desired >= less


@given(st.integers(1, 50), st.floats(0.1, 500.0))
def test_constant_load_settles_where_instances_run_at_the_aim(ready: int, load: float) -> None:
    spec, state = KpaSpec(target=5.0, initial_scale=0), fresh(ready, 0.0)
    for tick in range(1, 120):
        decision, state = decide(spec, state, load, load, ready, 2.0 * tick)
        ready = decision.desired
    assert ready == max(1, -(-load // spec.aim))
