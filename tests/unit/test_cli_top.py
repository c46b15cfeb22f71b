"""The figures of `top`, as pure functions of what the API gives."""

from __future__ import annotations

from typing import Any

import pytest

from dayfly.cli.top import SAMPLE, percentile, rows

NOW = 1_700_000_000.0


def call(
    function: str = "hello", status: str = "ok", run: float = 0.01, ago: float = 1.0, cold: bool = False
) -> dict[str, Any]:
    return {
        "function": function,
        "status": status,
        "cold": cold,
        "started": NOW - ago,
        "timings": {"queue": 0.0, "cold": 0.0, "init": 0.0, "run": run},
    }


def instance(function: str = "hello", state: str = "idle", inflight: int = 0) -> dict[str, Any]:
    return {"function": function, "state": state, "inflight": inflight, "memory_kb": 2048}


def test_a_function_at_rest_has_a_row() -> None:
    [row] = rows(["hello"], [], [], NOW)
    assert row["calls_per_s"] == 0
    assert row["p50_s"] is None


def test_rates_and_shares_of_the_window() -> None:
    calls = [call(run=0.01 * i) for i in range(1, 20)] + [call(status="error", cold=True, run=0.2), call(status="running")]
    [row] = rows(["hello"], [instance(), instance(state="busy", inflight=3)], calls, NOW)
    assert row["calls_per_s"] == pytest.approx(2.0)
    assert row["p50_s"] == pytest.approx(0.1)
    assert row["p99_s"] == pytest.approx(0.2)
    assert (row["error_share"], row["cold_share"]) == (0.05, 0.05)
    assert (row["instances"], row["busy"], row["in_flight"], row["memory_kb"]) == (2, 1, 3, 4096)


def test_a_full_page_is_a_sample_whose_span_gives_the_rate() -> None:
    calls = [call(ago=0.5 * i / SAMPLE) for i in range(1, SAMPLE + 1)]
    [row] = rows(["hello"], [], calls, NOW)
    assert row["calls_per_s"] == pytest.approx(SAMPLE / 0.5)


def test_the_busiest_come_first_and_deleted_ones_are_not_forgotten() -> None:
    calls = [call("b"), call("b"), call("a"), call("gone")]
    found = rows(["z", "a", "b"], [instance("z")], calls, NOW)
    assert [row["function"] for row in found] == ["b", "a", "gone", "z"]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1.0, 4)])
def test_percentiles_are_values_that_occurred(share: float, value: float) -> None:
    assert percentile([1, 2, 3, 4], share) == value
