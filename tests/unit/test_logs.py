"""Lines of log: kept, read in pages, followed live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dayfly import errors
from dayfly.model.log import LogLine
from dayfly.observe import follow as follow_module
from dayfly.observe.logs import BITE, LINE_LIMIT, PRUNE_IDLE, SLICES, LogStore
from dayfly.observe.slices import SLICE
from dayfly.store.port import Statement
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

START = 1_700_000_000.0


def line(text: str, **change: Any) -> LogLine:
    values: dict[str, Any] = {
        "time": START,
        "namespace": "default",
        "function": "f",
        "revision": 1,
        "instance": "i",
        "invocation": "a",
        "stream": "stdout",
        "text": text,
    }
    return LogLine(**(values | change))


class Holding(SqliteStore):
    """Keeps write-behind back while `held` is a list."""

    held: list[tuple[tuple[Statement, ...], Callable[[], None] | None]] | None = None

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None:
        if self.held is None:
            super().write_behind(*statements, done=done)
        else:
            self.held.append((statements, done))

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for statements, done in held:
            self.write_behind(*statements, done=done)


@pytest.fixture
async def store() -> AsyncIterator[Holding]:
    store = Holding(None)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def logs(store: Holding, clock: FakeClock) -> LogStore:
    logs = LogStore(store, clock)
    await logs.open()
    return logs


async def texts(logs: LogStore, *scope: str, **options: Any) -> list[str]:
    lines, _ = await logs.read(*(scope or ("default", "f")), **options)
    return [line.text for line in lines]


async def test_a_line_comes_back_as_it_was(logs: LogStore) -> None:
    given = line("ünï \0 \x1b[31m", stream="stderr")
    logs.append([given, line("half \ud800")])
    assert (await logs.read("default", "f"))[0][0] == given  # before the disk
    await logs.flush()
    lines, _ = await logs.read("default", "f")
    assert lines == [given, line("half ?")]


async def test_a_long_line_is_cut_and_says_so(logs: LogStore) -> None:
    logs.append([line("x" * (LINE_LIMIT + 5))])
    assert await texts(logs) == ["x" * LINE_LIMIT + " [5 characters cut]"]


@pytest.mark.parametrize("flushed", [0, 3, 10])
async def test_scopes_and_pages_are_the_same_before_and_after_the_disk(logs: LogStore, flushed: int) -> None:
    lines = [
        line(str(i), function="fg"[i % 2], invocation="ab"[i // 5], time=START + i, namespace="default" if i < 9 else "other")
        for i in range(10)
    ]
    logs.append(lines[:flushed])
    await logs.flush()
    logs.append(lines[flushed:])
    assert await texts(logs, "default") == list("012345678")
    assert await texts(logs, "default", "f") == list("02468")
    assert await texts(logs, "default", "", "b") == list("5678")
    assert await texts(logs, "default", "g", "b") == list("57")
    assert await texts(logs, "other", "", "a") == []
    assert await texts(logs, "default", "f", limit=2) == list("68")  # the last ones
    assert await texts(logs, "default", "", "a", limit=2) == list("01")  # of an invocation the first
    assert await texts(logs, "default", "f", since=START + 3, limit=2) == list("46")
    found: list[str] = []
    cursor = "0"
    while page := (answer := await logs.read("default", cursor=cursor, limit=4))[0]:
        found += [line.text for line in page]
        cursor = answer[1]
    assert found == list("012345678")
    logs.append([line("new")])
    lines, cursor = await logs.read("default", cursor=cursor)
    assert [line.text for line in lines] == ["new"]
    assert await logs.read("default", cursor=cursor) == ([], cursor)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_cursor_of_somebody_else_is_refused(logs: LogStore, cursor: str) -> None:
    with pytest.raises(errors.BadInput, match="cursor"):
        await logs.read("default", cursor=cursor)


async def take(lines: AsyncIterator[LogLine], count: int) -> list[str]:
    return [(await anext(lines)).text for _ in range(count)]


async def test_following_shows_lines_at_once(logs: LogStore) -> None:
    logs.append([line("before")])
    lines = logs.follow("default", "f")
    waiting = asyncio.create_task(take(lines, 2))
    await settle()
    logs.append([line("one"), line("not mine", function="g"), line("two")])
    assert await waiting == ["one", "two"]
    await lines.aclose()  # type: ignore[attr-defined]
    assert len(logs._followers) == 0


@pytest.mark.parametrize("flushed", [0, 1500, 3000])
async def test_following_from_the_past_misses_nothing_and_repeats_nothing(logs: LogStore, flushed: int) -> None:
    numbers = [line(str(i), time=START + i) for i in range(3000)]
    logs.append(numbers[:flushed])
    await logs.flush()
    logs.append(numbers[flushed:])
    lines = logs.follow("default", since=START + 100)
    found = await take(lines, 1)
    logs.append([line("live")])
    await logs.flush()
    found += await take(lines, 2900)
    assert found == [str(i) for i in range(100, 3000)] + ["live"]
    await lines.aclose()  # type: ignore[attr-defined]


async def test_a_slow_reader_loses_lines_and_is_told_and_harms_nobody(logs: LogStore) -> None:
    slow, quick = logs.follow("default"), logs.follow("default")
    tasks = [asyncio.create_task(take(reader, 1)) for reader in (slow, quick)]
    await settle()
    logs.append([line("first")])
    assert [await task for task in tasks] == [["first"], ["first"]]
    for i in range(follow_module.QUEUE + 10):
        logs.append([line(str(i))])
        assert await take(quick, 1) == [str(i)]
    assert await take(slow, follow_module.QUEUE) == [str(i) for i in range(follow_module.QUEUE)]
    told = await anext(slow)
    assert (told.stream, told.text) == ("platform", "[10 lines left out: this reader is too slow]")
    logs.append([line("after")])
    assert await take(slow, 1) == ["after"]
    for reader in (slow, quick):
        await reader.aclose()  # type: ignore[attr-defined]


async def test_a_reader_who_takes_nothing_holds_a_bounded_amount(logs: LogStore) -> None:
    lines = logs.follow("default")
    first = asyncio.create_task(take(lines, 1))
    await settle()
    logs.append([line("first")])
    await first
    logs.append([line("x" * LINE_LIMIT) for _ in range(300)])
    [follower] = logs._followers._followers
    assert follower._size <= follow_module.QUEUE_SIZE + LINE_LIMIT
    await lines.aclose()  # type: ignore[attr-defined]


async def test_too_many_followers_are_refused(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "FOLLOWERS", 1)
    first = asyncio.create_task(take(logs.follow("default"), 1))
    await settle()
    with pytest.raises(errors.Throttled):
        await take(logs.follow("default"), 1)
    logs.append([line("x")])
    await first


async def test_a_disk_that_is_behind_costs_lines_and_leaves_a_marker(logs: LogStore, store: Holding, clock: FakeClock) -> None:
    store.held = []
    logs.append([line(str(i)) for i in range(SLICE * SLICES)])
    logs.append([line("lost", function="fg"[i % 2]) for i in range(SLICE)])
    assert len(store.held) == SLICES
    assert logs.dropped == SLICE
    store.let_go()
    await store.commit()
    clock.advance(1.0)
    await logs.flush()
    for function, kept in (("f", SLICE * SLICES), ("g", 0)):
        found = await texts(logs, "default", function, limit=100_000)
        assert len(found) == kept + 1
        assert found[-1] == f"[{SLICE // 2} lines left out: the disk was too slow]"


async def test_retention_by_age_and_by_size_counts_right(store: Holding, clock: FakeClock) -> None:
    logs = LogStore(store, clock, keep_bytes=500_000, keep_s=1000.0)
    await logs.open()
    for second in range(40):
        logs.append([line("x" * 200, time=START + second) for _ in range(250)])
        await logs.flush()
    clock.advance(PRUNE_IDLE)
    await store.commit()
    [(size,)] = await store.fetch("logs_bytes")
    [(exact,)] = store._connections[0].execute("SELECT sum(length(body)) FROM logs").fetchall()
    assert size == exact <= 500_000
    assert size > 500_000 - BITE * 500
    assert (await texts(logs, limit=1))[0].startswith("x")
    clock.advance(2000.0)
    await store.commit()
    assert await texts(logs) == []
    assert await store.fetch("logs_bytes") == [(0,)]


async def test_a_new_store_goes_on_counting(logs: LogStore, store: Holding, clock: FakeClock) -> None:
    logs.append([line("old")])
    logs.close()
    again = LogStore(store, clock)
    await again.open()
    again.append([line("new")])
    again.close()
    await store.commit()
    assert await texts(again) == ["old", "new"]
