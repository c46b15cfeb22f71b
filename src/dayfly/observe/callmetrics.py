"""What Dayfly tells Prometheus about calls, about itself and about its process.

Call metrics are worked out from the recorder's slices, after the answers: a call itself pays nothing.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .. import __version__
from ..model.call import Invocation, Status
from .metrics import Distribution, Metrics, Value

FUNCTIONS: Final = 500  # shown by name; further ones together as (other)
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
STARTS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
WAITS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)  # seconds

_NOT_RUN: Final = frozenset({Status.REJECTED, Status.DEAD})
_Series = tuple[dict[Status, Value], Distribution, Value]


class CallMetrics:
    """Counts the calls in the recorder's slices: `recorder.observe(CallMetrics(metrics).observe)`."""

    def __init__(self, metrics: Metrics) -> None:
        by = ("namespace", "function")
        self._calls = metrics.counter(
            "dayfly_invocations_total", "Calls that ended, by how.", (*by, "status"), limit=FUNCTIONS * len(Status)
        )
        self._durations = metrics.histogram(
            "dayfly_invocation_duration_seconds", "Time user code ran.", DURATIONS, by, limit=FUNCTIONS
        )
        self._cold = metrics.counter("dayfly_cold_starts_total", "Calls that started an instance.", by, limit=FUNCTIONS)
        self._starts = metrics.histogram("dayfly_cold_start_duration_seconds", "Time to start an instance.", STARTS).of()
        self._waits = metrics.histogram("dayfly_queue_duration_seconds", "Time calls waited for an instance.", WAITS).of()
        self._known: dict[tuple[str, str], _Series] = {}
        self._other: _Series | None = None

    def observe(self, batch: Sequence[Invocation]) -> None:
        """Count calls that ended."""
        known, waited = self._known, self._waits.observe
        for call in batch:
            series = known.get((call.namespace, call.function)) or self._series(call.namespace, call.function)
            statuses, durations, cold = series
            statuses[call.status].value += 1
            timings = call.timings
            if call.status not in _NOT_RUN:
                durations.observe(timings.run)
                waited(timings.queue)
            if call.cold:
                cold.value += 1
                self._starts.observe(timings.cold)

    def _series(self, namespace: str, function: str) -> _Series:
        if len(self._known) >= FUNCTIONS - 1:
            self._other = self._other or self._make("(other)", "(other)")
            return self._other
        series = self._known[namespace, function] = self._make(namespace, function)
        return series

    def _make(self, namespace: str, function: str) -> _Series:
        statuses = _Statuses(lambda status: self._calls.of(namespace, function, status.value))
        return statuses, self._durations.of(namespace, function), self._cold.of(namespace, function)


class _Statuses(dict[Status, Value]):
    """Children by status, made when first used."""

    def __init__(self, make: Callable[[Status], Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, status: Status) -> Value:
        child = self[status] = self._make(status)
        return child


def platform_metrics(
    metrics: Metrics,
    *,
    instances: Callable[[], Mapping[str, float]],
    queue_depth: Callable[[], float],
    dropped: Callable[[], Mapping[str, float]],
) -> None:
    """Show the platform's state: instances by state, depth of the asynchronous queue, records dropped by kind."""
    metrics.read(metrics.gauge("dayfly_instances", "Instances, by state.", ("state",)), instances)
    metrics.read(metrics.gauge("dayfly_async_queue_depth", "Asynchronous calls that wait."), queue_depth)
    metrics.read(
        metrics.counter(
            "dayfly_records_dropped_total",
            "Records given up because the disk was behind, and inputs beyond their rate.",
            ("kind",),
        ),
        dropped,
    )
    info = metrics.gauge("dayfly_build_info", "The version that runs.", ("version", "python"))
    info.of(__version__, platform.python_version()).set(1)


def process_metrics(metrics: Metrics) -> None:
    """The process metrics every Prometheus client shows, from /proc; nothing where that is missing."""
    if not os.path.exists("/proc/self/stat"):
        return
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    def stat(field: int) -> float:
        with open("/proc/self/stat", "rb") as file:
            return float(file.read().rpartition(b")")[2].split()[field - 3])

    with open("/proc/uptime", "rb") as file:
        booted = time.time() - float(file.read().split()[0])

    gauge = metrics.gauge
    cpu = metrics.counter("process_cpu_seconds_total", "User and system time of this process.")
    metrics.read(cpu, lambda: (stat(14) + stat(15)) / tick)
    metrics.read(gauge("process_resident_memory_bytes", "Resident memory of this process."), lambda: stat(24) * page)
    metrics.read(gauge("process_virtual_memory_bytes", "Virtual memory of this process."), lambda: stat(23))
    metrics.read(gauge("process_open_fds", "Open file descriptors."), lambda: float(len(os.listdir("/proc/self/fd"))))
    started = gauge("process_start_time_seconds", "Start of this process, seconds since the epoch.")
    started.of().set(booted + stat(22) / tick)
