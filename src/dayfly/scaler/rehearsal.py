"""Plays single calls against everything that decides: choice, queue, starts, autoscaler, keep-alive, eviction.

The same functions as in production, but instances are entries in a dictionary and time is the head of a heap: an hour of a
hundred calls a second takes seconds, and the same input always gives the same output. For questions such as "what does this burst
do to the latency if user code takes two seconds to load?", and for the pictures in the documentation.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ..pool.choose import FreeSlots, Verdict, admit, expected_wait
from ..pool.evict import Candidate, GreedyDual
from .keepalive import IdleHistogram, KeepSpec, keep_for, spare_for
from .kpa import TICK, KpaSpec, KpaState, decide
from .plan import plan
from .windows import ConcurrencyIntegral, LoadHistory


class Workload(Struct, frozen=True, kw_only=True):
    """A function to rehearse."""

    name: str
    init_s: float = 0.01  # what a cold start takes
    memory_mb: float = 32.0  # of an instance
    concurrency: int = 1
    min_instances: int = 0
    max_instances: int = 100
    queue_limit: int = 1000
    timeout_s: float = 60.0  # a caller waits no longer


class Arrival(NamedTuple):
    at: float  # seconds from the beginning
    function: str
    service_s: float


class Sample(NamedTuple):
    """The whole machine at one moment."""

    at: float
    running: int  # calls
    waiting: int
    ready: int  # instances
    starting: int
    reserve: int  # what the autoscaler wants
    memory_mb: float


class Report(Struct):
    """What happened."""

    samples: list[Sample]
    waits: array[float]  # seconds each served call spent without an instance, in order of service
    calls: int = 0
    cold: int = 0  # calls that an instance was started for
    ahead: int = 0  # instances started before a call asked: reserve and pre-warming
    refused: int = 0  # told at once
    late: int = 0  # gave up in the queue
    evicted: int = 0

    def wait(self, percentile: float) -> float:
        """Seconds that so many per cent of the served calls did not exceed in waiting."""
        ranked = sorted(self.waits)
        return ranked[min(len(ranked) - 1, int(percentile / 100 * len(ranked)))] if ranked else 0.0


class _Instance:
    __slots__ = ("id", "idle_since", "used")

    def __init__(self, identifier: int, now: float) -> None:
        self.id = identifier
        self.idle_since = now
        self.used = 0.0  # the evictor's clock


class _Function:
    def __init__(self, load: Workload, kpa: KpaSpec) -> None:
        self.workload = load
        self.kpa = kpa
        self.state = KpaState()
        self.free: FreeSlots[int] = FreeSlots(load.concurrency)
        self.instances: dict[int, _Instance] = {}
        self.waiting: deque[tuple[float, float]] = deque()  # arrived, service time
        self.starting = 0
        self.running = 0
        self.reserve = 0
        self.load = ConcurrencyIntegral()
        self.history = LoadHistory(int(kpa.stable_window_s))
        self.seen = IdleHistogram()
        self.idle_since = -inf
        self.service_s = 0.0  # moving average
        self.frequency = 0

    def idle_s(self, now: float) -> float | None:
        return None if self.load.level else now - self.idle_since


class Rehearsal:
    """One machine. `play` runs it; an instance is used once."""

    def __init__(
        self, workloads: Iterable[Workload], *, memory_mb: float = inf, keep: KeepSpec | None = None, kpa: KpaSpec | None = None
    ) -> None:
        """`memory_mb` bounds all instances together. `kpa` is taken with each function's own concurrency and bounds."""
        self.memory_mb = memory_mb
        self.keep = keep or KeepSpec()
        self.now = 0.0
        self.used_mb = 0.0
        self.evictor = GreedyDual()
        self.report = Report([], array("d"))
        self._ids = count(1)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._functions = {load.name: _Function(load, _tuned(kpa or KpaSpec(), load)) for load in workloads}

    def play(self, arrivals: Iterable[Arrival], *, until: float, tick_s: float = TICK) -> Report:
        """Take the calls (in order of time) up to `until`, deciding and sampling every `tick_s` seconds."""

        def tick() -> None:
            self._decide()
            if self.now + tick_s <= until:
                self._later(tick_s, tick)

        self._later(0.0, tick)
        for arrival in arrivals:
            if arrival.at > until:
                break
            self._run(arrival.at)
            self._arrive(self._functions[arrival.function], arrival.service_s)
        self._run(until)
        return self.report

    def _later(self, delay: float, do: Callable[[], None]) -> None:
        heappush(self._agenda, (self.now + delay, next(self._ids), do))

    def _run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, do = heappop(self._agenda)
            do()
        self.now = until

    # --- calls ---------------------------------------------------------------------------------------------------

    def _arrive(self, f: _Function, service_s: float) -> None:
        self.report.calls += 1
        load = f.workload
        verdict = admit(
            free=len(f.free),
            alive=len(f.instances),
            starting=f.starting,
            waiting=len(f.waiting),
            max_instances=load.max_instances,
            queue_limit=load.queue_limit,
            concurrency=load.concurrency,
            room=self._room(load.memory_mb, evict=True),
            wait_s=expected_wait(
                waiting=len(f.waiting),
                slots=(len(f.instances) + f.starting) * load.concurrency,
                service_s=f.service_s,
                ready_in_s=0.0 if f.instances else load.init_s,
            ),
            deadline_s=load.timeout_s,
        )
        if verdict.rejected:
            self.report.refused += 1
            return
        idle_s = f.idle_s(self.now)
        if idle_s is not None:
            f.seen.observe(idle_s, self.keep)
            f.history.record(self.now, f.load.at(self.now))
        f.load.add(1, self.now)
        f.frequency += 1
        f.waiting.append((self.now, service_s))
        if verdict is Verdict.START:
            self.report.cold += 1
            self._start(f)
        self._serve(f)

    def _serve(self, f: _Function) -> None:
        while f.waiting and len(f.free):
            arrived, service_s = f.waiting.popleft()
            if self.now - arrived > f.workload.timeout_s:
                self.report.late += 1
                self._leave(f)
                continue
            chosen = f.free.take()
            assert chosen is not None
            instance = f.instances[chosen]
            instance.used = self.evictor.clock
            f.running += 1
            f.service_s = service_s if not f.service_s else 0.9 * f.service_s + 0.1 * service_s
            self.report.waits.append(self.now - arrived)
            self._later(service_s, lambda one=instance: self._end(f, one))  # type: ignore[misc]

    def _end(self, f: _Function, instance: _Instance) -> None:
        f.running -= 1
        instance.idle_since = self.now
        f.free.give(instance.id)
        self._leave(f)
        self._serve(f)

    def _leave(self, f: _Function) -> None:
        f.load.add(-1, self.now)
        f.idle_since = self.now

    # --- instances -------------------------------------------------------------------------------------------------

    def _start(self, f: _Function) -> None:
        size = f.workload.memory_mb
        if (missing := self.used_mb + size - self.memory_mb) > 0:
            for name, identifier in self.evictor.victims(self._evictable(), missing).ids:
                self._stop(self._functions[name], identifier)
                self.report.evicted += 1
        self.used_mb += size
        f.starting += 1
        self._later(f.workload.init_s, lambda: self._ready(f))

    def _ready(self, f: _Function) -> None:
        instance = _Instance(next(self._ids), self.now)
        instance.used = self.evictor.clock
        f.starting -= 1
        f.instances[instance.id] = instance
        f.free.add(instance.id)
        self._serve(f)

    def _stop(self, f: _Function, identifier: int) -> None:
        f.free.discard(identifier)
        del f.instances[identifier]
        self.used_mb -= f.workload.memory_mb
        if not f.instances:
            f.frequency = 0

    def _room(self, size_mb: float, *, evict: bool) -> bool:
        missing = self.used_mb + size_mb - self.memory_mb
        return missing <= 0 or (evict and missing <= sum(candidate.size for candidate in self._evictable()))

    def _evictable(self) -> list[Candidate[tuple[str, int]]]:
        return [
            Candidate((name, one), f.frequency, f.workload.init_s, f.workload.memory_mb, f.instances[one].used)
            for name, f in self._functions.items()
            if len(f.instances) > f.workload.min_instances
            for one in f.free
            if f.free.idle(one)
        ]

    def _decide(self) -> None:
        for f in self._functions.values():
            f.history.record(self.now, f.load.at(self.now))
            stable, panic = f.history.average(f.kpa.stable_window_s), f.history.average(f.kpa.panic_window_s)
            decision, f.state = decide(f.kpa, f.state, stable, panic, len(f.instances), self.now)
            f.reserve = decision.desired
            idle = [one for one in f.free if f.free.idle(one)]
            todo = plan(
                reserve=f.reserve,
                windows=keep_for(f.seen, f.workload.init_s, self.keep),
                idle_s=f.idle_s(self.now),
                alive=len(f.instances),
                starting=f.starting,
                idle_ages=[self.now - f.instances[one].idle_since for one in idle],
                max_instances=f.workload.max_instances,
                spare_s=spare_for(f.workload.init_s, self.keep),
            )
            for _ in range(todo.start):
                if self._room(f.workload.memory_mb, evict=False):
                    self.report.ahead += 1
                    self._start(f)
            for one in idle[: todo.retire]:
                self._stop(f, one)
        self._sample()

    def _sample(self) -> None:
        every = self._functions.values()
        self.report.samples.append(
            Sample(
                self.now,
                sum(f.running for f in every),
                sum(len(f.waiting) for f in every),
                sum(len(f.instances) for f in every),
                sum(f.starting for f in every),
                sum(f.reserve for f in every),
                self.used_mb,
            )
        )


def _tuned(kpa: KpaSpec, load: Workload) -> KpaSpec:
    return replace(
        kpa, target=float(load.concurrency), min_scale=load.min_instances, max_scale=load.max_instances, initial_scale=0
    )
