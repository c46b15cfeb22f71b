"""Metrics, read back with the reference parser."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dayfly.model.call import Invocation, Mode, Status, Timings
from dayfly.observe.callmetrics import FUNCTIONS, CallMetrics, platform_metrics, process_metrics
from dayfly.observe.metrics import Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(metrics: Metrics) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def call(function: str = "f", **change: Any) -> Invocation:
    values: dict[str, Any] = {
        "id": "0",
        "namespace": "default",
        "function": function,
        "revision": 1,
        "mode": Mode.SYNC,
        "status": Status.OK,
        "cold": False,
        "started": 0.0,
        "timings": Timings(queue=0.002, run=0.01),
        "billed_ms": 10,
        "memory_mb": 256,
    }
    return Invocation(**(values | change))


def test_the_text_is_what_the_format_says() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "Things.\nMany \\ of them.", ("x", "y")).of('q"u', "b\\s\nn").add(2)
    metrics.gauge("b", "Level.").of().set(-1.5)
    histogram = metrics.histogram("c_seconds", "Time.", (0.1, 1.0)).of()
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert metrics.render().decode() == (
        "# HELP a_total Things.\\nMany \\\\ of them.\n"
        "# TYPE a_total counter\n"
        'a_total{x="q\\"u",y="b\\\\s\\nn"} 2\n'
        "# HELP b Level.\n"
        "# TYPE b gauge\n"
        "b -1.5\n"
        "# HELP c_seconds Time.\n"
        "# TYPE c_seconds histogram\n"
        'c_seconds_bucket{le="0.1"} 2\n'
        'c_seconds_bucket{le="1"} 3\n'
        'c_seconds_bucket{le="+Inf"} 4\n'
        "c_seconds_sum 7.65\n"
        "c_seconds_count 4\n"
    )
    assert parsed(metrics)["a_total", (("x", 'q"u'), ("y", "b\\s\nn"))] == 2


@pytest.mark.parametrize("value", [0, 1e300, 1e-9, 0.1 + 0.2, 2**53, -3])
def test_numbers_come_back_exactly(value: float) -> None:
    metrics = Metrics()
    metrics.gauge("g", "x").of().set(value)
    assert parsed(metrics)["g", ()] == value


def test_what_cannot_be_a_metric_is_refused() -> None:
    metrics = Metrics()
    metrics.gauge("g", "x")
    with pytest.raises(ValueError, match="in use"):
        metrics.gauge("g", "x")
    with pytest.raises(ValueError, match="not a metric's name"):
        metrics.gauge("bad-name", "x")
    with pytest.raises(ValueError, match="_total"):
        metrics.counter("calls", "x")
    with pytest.raises(ValueError, match="labels"):
        metrics.gauge("h", "x", ("a",)).of("1", "2")


def test_children_are_bounded_and_nothing_goes_uncounted() -> None:
    metrics = Metrics()
    family = metrics.counter("a_total", "x", ("k",), limit=3)
    for i in range(10):
        family.of(str(i)).add()
    found = parsed(metrics)
    assert len(found) == 4
    assert found["a_total", (("k", "(other)"),)] == 7


def test_calls_by_function_and_status() -> None:
    metrics = Metrics()
    calls = CallMetrics(metrics)
    calls.observe([call(), call(), call(status=Status.ERROR), call("g", cold=True, timings=Timings(cold=0.003, run=2.0))])
    calls.observe([call(), call("g", status=Status.REJECTED)])
    found = parsed(metrics)

    def of(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    f, g = {"namespace": "default", "function": "f"}, {"namespace": "default", "function": "g"}
    assert of("dayfly_invocations_total", **f, status="ok") == 3
    assert of("dayfly_invocations_total", **f, status="error") == 1
    assert of("dayfly_invocations_total", **g, status="rejected") == 1
    assert of("dayfly_invocation_duration_seconds_count", **f) == 4
    assert of("dayfly_invocation_duration_seconds_sum", **f) == pytest.approx(0.04)
    assert of("dayfly_invocation_duration_seconds_bucket", **f, le="0.01") == 4
    assert of("dayfly_invocation_duration_seconds_bucket", **f, le="0.005") == 0
    assert of("dayfly_invocation_duration_seconds_count", **g) == 1  # a rejected call ran no time at all
    assert of("dayfly_cold_starts_total", **g) == 1
    assert of("dayfly_cold_starts_total", **f) == 0
    assert of("dayfly_cold_start_duration_seconds_count") == 1
    assert of("dayfly_queue_duration_seconds_count") == 5


def test_ten_thousand_functions_are_counted_in_bounded_room() -> None:
    metrics = Metrics()
    calls = CallMetrics(metrics)
    for i in range(10_000):
        calls.observe([call(f"f{i}", status=(Status.OK, Status.ERROR)[i % 2])])
    found = {key: value for key, value in parsed(metrics).items() if key[0] == "dayfly_invocations_total"}
    assert sum(found.values()) == 10_000
    functions = {dict(labels)["function"] for _, labels in found}
    assert len(functions) == FUNCTIONS
    assert "(other)" in functions


def test_the_platform_and_its_process() -> None:
    metrics = Metrics()
    states = {"idle": 3.0, "busy": 1.0}
    platform_metrics(metrics, instances=lambda: states, queue_depth=lambda: 7, dropped=lambda: {"invocations": 2})
    process_metrics(metrics)
    found = parsed(metrics)
    assert found["dayfly_instances", (("state", "idle"),)] == 3
    assert found["dayfly_async_queue_depth", ()] == 7
    assert found["dayfly_records_dropped_total", (("kind", "invocations"),)] == 2
    [info] = [value for (name, _), value in found.items() if name == "dayfly_build_info"]
    assert info == 1
    resident = found["process_resident_memory_bytes", ()]
    assert 1e6 < resident < found["process_virtual_memory_bytes", ()]
    assert found["process_cpu_seconds_total", ()] == pytest.approx(sum(os.times()[:2]), abs=1.0)
    assert time.time() - 86400 < found["process_start_time_seconds", ()] <= time.time() + 1
    assert found["process_open_fds", ()] >= 3
    states["idle"] = 0.0
    assert parsed(metrics)["dayfly_instances", (("state", "idle"),)] == 0
    assert not any(math.isnan(value) for value in found.values())
