"""The recorder over a real store in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dayfly import errors
from dayfly.model.call import Invocation, Mode, Status, Timings
from dayfly.observe.recorder import PRUNE_IDLE, Recorder
from dayfly.observe.records import Filter
from dayfly.observe.slices import FLUSH_PATIENCE, SLICE, SLICES
from dayfly.store import queries
from dayfly.store.port import Statement
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

START = 1_700_000_000.0
_count = itertools.count(1)


def call(**change: Any) -> Invocation:
    number = next(_count)
    values: dict[str, Any] = {
        "id": f"{int(START * 1000) + number:012x}{number:020x}",
        "namespace": "default",
        "function": "f",
        "revision": 1,
        "mode": Mode.SYNC,
        "status": Status.OK,
        "cold": False,
        "started": START,
        "timings": Timings(run=0.01),
        "billed_ms": 10,
        "memory_mb": 256,
    }
    return Invocation(**(values | change))


class Stuck:
    """A store whose write-behind does not get through until it is let go."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.waiting: list[tuple[tuple[Statement, ...], Callable[[], None] | None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None:
        if self.waiting is None:
            self.store.write_behind(*statements, done=done)
        else:
            self.waiting.append((statements, done))

    def let_go(self) -> None:
        waiting, self.waiting = self.waiting or [], None
        for statements, done in waiting:
            self.store.write_behind(*statements, done=done)


@pytest.fixture
async def store() -> AsyncIterator[Stuck]:
    store = SqliteStore(None)
    await store.open()
    yield Stuck(store)
    await store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def recorder(store: Stuck, clock: FakeClock) -> Recorder:
    recorder = Recorder(store, clock)
    await recorder.open()
    return recorder


async def page(recorder: Recorder, limit: int = 50, **wanted: Any) -> tuple[list[Invocation], str]:
    return await recorder.list(Filter("default", **wanted), limit)


async def test_a_record_comes_back_as_it_was(recorder: Recorder) -> None:
    one = call(status=Status.ERROR, error_type="ValueError", error_message="half \ud800 and nul \0", cold=True, cpu_us=7)
    other = call(error_message="ü" * 5000)
    recorder.record(one)
    recorder.record(other)
    assert await recorder.get(one.id) == one  # not on disk yet
    await recorder.flush()
    back = await recorder.get(one.id)
    assert back is not None
    assert back.error_message == "half ? and nul \0"
    assert (back.timings, back.cold, back.cpu_us) == (one.timings, True, 7)
    cut = await recorder.get(other.id)
    assert cut is not None
    assert cut.error_message == "ü" * 4096 + " [cut]"
    assert await recorder.get("nobody") is None


async def test_a_slice_goes_out_when_it_is_full_or_after_a_fifth_of_a_second(
    recorder: Recorder, store: Stuck, clock: FakeClock
) -> None:
    store.waiting = []
    for _ in range(SLICE + 1):
        recorder.record(call())
    assert len(store.waiting) == 1
    clock.advance(0.19)
    assert len(store.waiting) == 1
    clock.advance(0.02)
    assert len(store.waiting) == 2
    clock.advance(10.0)
    assert len(store.waiting) == 2  # nothing more to write


async def test_rows_and_sums_of_a_slice_are_one_transaction(recorder: Recorder, store: Stuck, clock: FakeClock) -> None:
    store.waiting = []
    recorder.record(call())
    clock.advance(1.0)
    [(statements, _)] = store.waiting
    assert [name for name, _ in statements] == ["invocations_put", "usage_add"]


async def test_an_async_calls_attempts_are_all_kept_and_the_last_is_shown(recorder: Recorder) -> None:
    first = call(status=Status.ERROR, mode=Mode.ASYNC)
    second = call(id=first.id, mode=Mode.ASYNC, attempt=2)
    recorder.record(first)
    await recorder.flush()
    recorder.record(second)
    assert await recorder.attempts(first.id) == [second, first]
    await recorder.flush()
    assert await recorder.attempts(first.id) == [second, first]
    assert await recorder.get(first.id) == second


@pytest.mark.parametrize("flushed", [0, 1, 7, 20])
async def test_pages_hold_everything_once_newest_first(recorder: Recorder, flushed: int) -> None:
    calls = [call() for _ in range(15)]
    calls += [call(id=c.id, attempt=2) for c in calls[:5]]
    for c in calls[:flushed]:
        recorder.record(c)
    await recorder.flush()
    for c in calls[flushed:]:
        recorder.record(c)
    found: list[Invocation] = []
    cursor = ""
    sizes = []
    while True:
        items, cursor = await page(recorder, limit=3, cursor=cursor)
        sizes.append(len(items))
        found += items
        if not cursor:
            break
    assert sizes == [3, 3, 3, 3, 3, 3, 2]
    assert found == sorted(calls, key=lambda c: (c.id, c.attempt), reverse=True)


async def test_filters_mean_the_same_before_and_after_the_disk(recorder: Recorder) -> None:
    old = call(id=f"{int((START - 100) * 1000):012x}{'0' * 20}")
    calls = [old, call(function="g"), call(status=Status.ERROR), call(namespace="other"), call()]
    for c in calls:
        recorder.record(c)

    async def all_filters() -> list[list[Invocation]]:
        return [
            (await page(recorder, **wanted))[0]
            for wanted in (
                {},
                {"function": "f"},
                {"function": "f", "status": Status.ERROR},
                {"status": Status.OK},
                {"since": START - 50},
                {"until": START - 50},
                {"function": "g", "since": START - 50, "until": START + 50},
                {"since": START + 50},
            )
        ]

    before = await all_filters()
    await recorder.flush()
    assert await all_filters() == before
    _, g, failed, _, last = calls
    assert before[0] == [last, failed, g, old]
    assert before[1:] == [[last, failed, old], [failed], [last, g, old], [last, failed, g], [old], [g], []]


@pytest.mark.parametrize("cursor", ["x", "abc.", "abc.x", "a b.1", "'; drop.1", "a" * 100 + ".1"])
async def test_a_cursor_of_somebody_else_is_refused(recorder: Recorder, cursor: str) -> None:
    with pytest.raises(errors.BadInput, match="cursor"):
        await page(recorder, cursor=cursor)


@pytest.mark.parametrize("time", [-1.0, float("nan"), float("inf"), 1e300])
async def test_what_is_no_time_is_refused(recorder: Recorder, time: float) -> None:
    with pytest.raises(errors.BadInput, match="not a time"):
        await page(recorder, since=time)
    with pytest.raises(errors.BadInput, match="not a time"):
        await page(recorder, until=time)
    with pytest.raises(errors.BadInput, match="not a time"):
        await recorder.usage("default", since=time)


async def test_a_page_has_its_bounds(recorder: Recorder) -> None:
    for _ in range(1100):
        recorder.record(call())
    assert [len((await page(recorder, limit=n))[0]) for n in (-1, 0, 10**9)] == [1, 1, 1000]


async def test_usage_is_up_to_date_and_by_the_hour(recorder: Recorder) -> None:
    recorder.record(call())
    recorder.record(call(started=START - 7200))
    recorder.record(call(function="g", memory_mb=512, cold=True, status=Status.CRASHED, cpu_us=3000))
    usage = await recorder.usage("default")
    assert (usage.requests, usage.billed_ms, usage.errors, usage.cold_starts) == (3, 30, 1, 1)
    assert usage.gb_seconds == (256 * 20 + 512 * 10) / 1024 / 1000
    assert usage.cpu_ms == 3.0
    assert (await recorder.usage("default", "f")).requests == 2
    assert (await recorder.usage("default", "f", since=START - 3600)).requests == 1
    assert (await recorder.usage("default", "f", until=START - 3600)).requests == 1
    assert (await recorder.usage("other")).requests == 0


async def test_a_disk_that_is_behind_costs_detail_but_not_a_millisecond_of_usage(
    recorder: Recorder, store: Stuck, clock: FakeClock
) -> None:
    seen: list[int] = []
    recorder.observe(lambda batch: seen.append(len(batch)))
    store.waiting = []
    total = SLICE * SLICES + 1000
    for _ in range(total):
        recorder.record(call())
    clock.advance(5.0)
    assert len(store.waiting) == SLICES
    assert recorder.dropped == 1000
    recorder.record(call())
    clock.advance(5.0)
    assert len(store.waiting) == SLICES  # a slice that is not full waits for the disk
    store.let_go()
    await store.commit()
    clock.advance(1.0)
    usage = await recorder.usage("default")
    assert usage.requests == total + 1 == sum(seen)
    assert usage.billed_ms == 10 * (total + 1)
    [(rows,)] = await store.fetch("invocations_last")
    assert rows == total + 1 - 1000


async def test_a_reader_of_usage_is_not_hung_up_by_a_stuck_disk(recorder: Recorder, store: Stuck, clock: FakeClock) -> None:
    store.waiting = []
    recorder.record(call())
    await asyncio.gather(recorder.flush(), clock.pass_time(FLUSH_PATIENCE))
    assert len(store.waiting) == 1


async def test_retention_by_count_and_by_age(store: Stuck, clock: FakeClock) -> None:
    recorder = Recorder(store, clock, keep_rows=100, keep_s=1000.0)
    await recorder.open()
    for _ in range(500):
        recorder.record(call())
        await recorder.flush()
    await recorder.flush()
    clock.advance(PRUNE_IDLE)
    await settle()
    found, _ = await page(recorder, limit=1000)
    assert len(found) == 100
    clock.advance(1000.0 + PRUNE_IDLE)
    await store.commit()
    assert (await page(recorder))[0] == []
    assert (await recorder.usage("default", since=START - 3600)).requests == 500  # usage is kept


async def test_a_new_recorder_goes_on_where_the_last_one_closed(store: Stuck, clock: FakeClock) -> None:
    calls = [call() for _ in range(3)]
    for c in calls:
        recorder = Recorder(store, clock)
        await recorder.open()
        recorder.record(c)
        recorder.close()
    recorder = Recorder(store, clock)
    await recorder.open()
    assert (await page(recorder))[0] == calls[::-1]


async def test_lists_walk_an_index_and_sort_nothing(store: Stuck) -> None:
    connection = store.store._connections[0]
    for name in ("invocations_list", "invocations_list_function"):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {queries.load()[name]}", _Null()).fetchall()
        assert all("SEARCH" in row[3] for row in plan), plan


class _Null(dict[str, object]):
    def __missing__(self, key: str) -> None:
        return None
