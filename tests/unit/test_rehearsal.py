"""Single calls against everything that decides."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dayfly.scaler.arrivals import poisson, replayed
from dayfly.scaler.rehearsal import Arrival, Rehearsal, Report, Workload
from dayfly.scaler.trace import find, read_calls

EXCERPT = Path(__file__).parent.parent / "data" / "azure2019_60"


def every(gap: float, until: float, service_s: float = 0.1, name: str = "f") -> list[Arrival]:
    return [Arrival(number * gap, name, service_s) for number in range(int(until / gap))]


def rehearse(*loads: Workload, arrivals: list[Arrival], until: float, memory_mb: float = 1e9) -> Report:
    return Rehearsal(loads, memory_mb=memory_mb).play(sorted(arrivals), until=until)


def test_nothing_runs_where_nothing_is_called() -> None:
    report = rehearse(Workload(name="f"), arrivals=[], until=100.0)
    assert {s.ready + s.starting for s in report.samples} == {0}


def test_one_caller_waits_once_for_a_start_and_the_instance_goes_when_idle() -> None:
    report = rehearse(Workload(name="f", init_s=0.5), arrivals=every(1.0, 60.0), until=600.0)
    assert (report.calls, report.cold, len(report.waits)) == (60, 1, 60)
    assert report.wait(100) == pytest.approx(0.5)
    alive = {s.at: s.ready for s in report.samples}
    assert alive[58.0] == 1
    assert alive[358.0] == 1  # 0.5 s of start are worth 300 s
    assert alive[362.0] == 0


def test_a_burst_starts_many_at_once_and_they_go_again() -> None:
    burst = [Arrival(10.0, "f", 2.0) for _ in range(50)]
    report = rehearse(Workload(name="f", init_s=0.1, max_instances=20), arrivals=burst, until=400.0)
    assert report.cold == 20
    assert max(s.ready for s in report.samples) == 20
    assert len(report.waits) == 50
    assert report.wait(100) == pytest.approx(0.1 + 2 * 2.0)
    assert report.samples[-1].ready == 0
    assert report.samples[-1].memory_mb == 0.0


def test_concurrency_packs_calls() -> None:
    burst = [Arrival(10.0, "f", 2.0) for _ in range(50)]
    report = rehearse(Workload(name="f", init_s=0.1, concurrency=10), arrivals=burst, until=12.0)
    assert report.cold == 5
    assert report.wait(100) == pytest.approx(0.1)


def test_the_queue_is_bounded_and_knows_deadlines() -> None:
    full = Workload(name="f", max_instances=1, queue_limit=5, init_s=0.1)
    assert rehearse(full, arrivals=[Arrival(1.0, "f", 5.0)] * 20, until=100.0).refused == 14
    hasty = Workload(name="f", max_instances=1, timeout_s=8.0, init_s=0.1)
    calls = [Arrival(0.0, "f", 5.0)] + [Arrival(6.0, "f", 5.0)] * 20
    report = rehearse(hasty, arrivals=calls, until=100.0)
    assert report.refused == 18  # one runs, one waits its five seconds; for the next it would be ten
    assert report.late == 0
    assert report.wait(100) <= 8.0


def test_a_regular_caller_is_expected() -> None:
    report = rehearse(Workload(name="f", init_s=0.5), arrivals=every(1800.0, 15 * 1800.0), until=14 * 1800.0 + 100.0)
    assert report.calls == 15
    assert report.cold == 6  # five idle times to learn
    assert report.ahead == 9
    assert report.wait(100) == pytest.approx(0.5)


def test_short_memory_evicts_what_is_cheap_to_bring_back() -> None:
    cheap, dear = Workload(name="cheap", init_s=0.2, memory_mb=100), Workload(name="dear", init_s=20.0, memory_mb=100)
    third = Workload(name="third", init_s=0.2, memory_mb=100)
    calls = [
        *every(1.0, 30.0, name="cheap"),
        *every(1.0, 30.0, name="dear"),
        Arrival(60.0, "third", 0.1),
        Arrival(65.0, "dear", 0.1),
    ]
    report = rehearse(cheap, dear, third, arrivals=calls, until=66.0, memory_mb=3400.0)
    assert report.evicted == 0
    report = rehearse(cheap, dear, third, arrivals=[c for c in calls if c.at in (0.0, 60.0, 65.0)], until=66.0, memory_mb=200.0)
    assert report.evicted == 1
    assert report.cold == 3  # the call of "dear" at 65 s was warm
    assert max(s.memory_mb for s in report.samples) <= 200.0


def test_the_same_input_gives_the_same_output() -> None:
    def once() -> Report:
        arrivals = poisson("f", lambda t: 20.0 if 30 < t < 60 else 2.0, 20.0, 120.0, lambda r: r.expovariate(5), Random(7))
        return Rehearsal([Workload(name="f", init_s=0.3)]).play(arrivals, until=200.0)

    assert once() == once()


def test_poisson_keeps_its_rate() -> None:
    arrivals = list(poisson("f", lambda t: 10.0 if t < 500 else 40.0, 40.0, 1000.0, lambda r: 0.1, Random(1)))
    early = sum(1 for a in arrivals if a.at < 500)
    assert 4700 < early < 5300
    assert 19200 < len(arrivals) - early < 20800
    assert arrivals == sorted(arrivals)


def test_minutes_of_a_real_trace() -> None:
    trace = next(row for row in read_calls(find(EXCERPT).calls) if 200 < sum(n for _, n in row.counts) < 2000)
    minutes = range(600)
    arrivals = list(replayed(trace, 0.05, Random(1), minutes=minutes))
    assert len(arrivals) == sum(n for minute, n in trace.counts if minute in minutes)
    report = Rehearsal([Workload(name=trace.function, init_s=1.0)]).play(arrivals, until=36_100.0)
    assert len(report.waits) == len(arrivals) == report.calls
    assert report.cold < report.calls


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 300), st.sampled_from("ab"), st.floats(0.01, 30.0)), max_size=120),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([64.0, 256.0, 1e9]),
)
def test_every_call_has_one_end_and_no_bound_is_broken(
    calls: list[tuple[float, str, float]], concurrency: int, most: int, memory_mb: float
) -> None:
    loads = [
        Workload(name=n, init_s=0.5, concurrency=concurrency, max_instances=most, queue_limit=10, timeout_s=20.0) for n in "ab"
    ]
    report = rehearse(*loads, arrivals=[Arrival(*call) for call in calls], until=5000.0, memory_mb=memory_mb)
    assert report.calls == len(calls) == len(report.waits) + report.refused + report.late
    assert report.wait(100) <= 20.0
    for sample in report.samples:
        assert sample.memory_mb <= memory_mb
        assert sample.ready + sample.starting <= 2 * most
        assert sample.running <= sample.ready * concurrency
    assert report.samples[-1].ready + report.samples[-1].starting == 0
