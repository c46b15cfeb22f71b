"""Autoscaler and keep-alive together."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.scaler.keepalive import Windows
from dayfly.scaler.plan import Plan, plan

STAY = Windows(0.0, 600.0)
RETURN = Windows(1600.0, 400.0, 60.0)


def planned(
    alive: int,
    *,
    reserve: int = 0,
    idle_s: float | None = None,
    windows: Windows = STAY,
    starting: int = 0,
    ages: tuple[float, ...] = (),
    max_instances: int = 10,
) -> Plan:
    return plan(
        reserve=reserve,
        windows=windows,
        idle_s=idle_s,
        alive=alive,
        starting=starting,
        idle_ages=ages,
        max_instances=max_instances,
        spare_s=10.0,
    )


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (planned(0, idle_s=inf), Plan(0, 0)),  # deployed, never called
        (planned(2, reserve=5), Plan(3, 0)),
        (planned(2, reserve=5, starting=2), Plan(1, 0)),
        (planned(2, reserve=50), Plan(8, 0)),
        (planned(5, reserve=2, ages=(30.0, 20.0, 11.0, 5.0)), Plan(0, 3)),
        (planned(5, reserve=2, ages=(30.0, 5.0)), Plan(0, 1)),  # only what has idled long enough
        (planned(5, reserve=4, ages=(30.0, 20.0)), Plan(0, 1)),
        (planned(2, reserve=1, starting=1, ages=(30.0, 20.0)), Plan(0, 2)),
        (planned(1, idle_s=600.0, ages=(600.0,)), Plan(0, 0)),
        (planned(1, idle_s=600.1, ages=(600.1,)), Plan(0, 1)),
        (planned(3, idle_s=60.0, ages=(60.0, 60.0, 60.0)), Plan(0, 2)),  # keep-alive is about the last one
        (planned(0, idle_s=60.0), Plan(0, 0)),  # evicted while it lingered: it does not come back by itself
        (planned(1, idle_s=61.0, ages=(61.0,), windows=RETURN), Plan(0, 1)),
        (planned(0, idle_s=1599.0, windows=RETURN), Plan(0, 0)),
        (planned(0, idle_s=1600.0, windows=RETURN), Plan(1, 0)),  # pre-warm
        (planned(1, idle_s=1700.0, ages=(90.0,), windows=RETURN), Plan(0, 0)),
        (planned(1, idle_s=2000.5, ages=(400.0,), windows=RETURN), Plan(0, 1)),
        (planned(1, idle_s=2000.5, reserve=1, ages=(400.0,), windows=RETURN), Plan(0, 0)),  # a minimum
        (planned(12, reserve=12, ages=(30.0,) * 12), Plan(0, 2)),  # the maximum was lowered
    ],
)
def test_plan(situation: Plan, expected: Plan) -> None:
    assert situation == expected


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.one_of(st.none(), st.floats(0, 5000)),
    st.integers(0, 5),
    st.lists(st.floats(0, 5000), max_size=20),
    st.sampled_from([STAY, RETURN]),
)
def test_never_both_and_never_below_what_must_stay(
    alive: int, reserve: int, idle_s: float | None, starting: int, ages: list[float], windows: Windows
) -> None:
    idle = tuple(ages[:alive])
    todo = planned(alive, reserve=reserve, idle_s=idle_s, starting=starting, ages=idle, windows=windows)
    assert todo.start == 0 or todo.retire == 0
    assert todo.start == 0 or alive + starting + todo.start <= 10
    assert todo.retire <= len(idle)
    if todo.retire:
        assert alive + starting - todo.retire >= min(reserve, 10)
        assert idle_s is not None or alive + starting - todo.retire >= 1
