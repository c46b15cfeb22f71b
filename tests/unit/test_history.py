"""What is known of an asynchronous call whose record a crash has taken along: all that its kept answer says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from dayfly.actions import GetInvocation, Invoke, ListInvocations
from dayfly.calls.history import History
from dayfly.events.items import encode
from dayfly.events.queue import AsyncQueue, Entry
from dayfly.events.retry import State
from dayfly.model.call import FunctionError, Invocation, Result, Status, Timings
from dayfly.observe.recorder import Recorder
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None)
    await store.open()
    yield store
    await store.close()


async def after_a_crash(store: SqliteStore, state: State, result: Result | None, reason: str = "") -> Invocation:
    """A call is accepted and ended in the queue, and nothing is recorded of it."""
    clock = FakeClock()
    queue = AsyncQueue(store, clock)
    id = await queue.enqueue(Invoke(namespace="default", function="f"))
    lease = {"holder": "x", "until": clock.now() + 60, "namespace": "default", "lane": "f:f", "now": clock.now(), "limit": 1}
    end = {
        "id": id,
        "epoch": 1,
        "state": state.value,
        "attempt": 2,
        "ended": clock.now(),
        "last_error": reason,
        "condition": "",
    }
    await store.commit(("queue_lease", lease), ("queue_end", end))
    if result is not None:
        await store.commit(("queue_keep_result", {"id": id, "epoch": 1, "body": encode(result)}))
    recorder = Recorder(store, clock)
    await recorder.open()
    nothing = cast(Any, SimpleNamespace(active={}))
    history = History(nothing, recorder, nothing, queue, nothing, nothing, nothing)
    return await history.get(GetInvocation(namespace="default", id=id))


async def test_the_kept_answer_is_the_record(store: SqliteStore) -> None:
    result = Result(invocation="", revision=3, cold=True, body=b'{"n":5}', timings=Timings(run=0.25), note="chain")
    found = await after_a_crash(store, State.DONE, result)
    assert (found.status, found.answer, found.note, found.revision, found.cold) == (Status.OK, '{"n":5}', "chain", 3, True)
    assert (found.timings.run, found.attempt, found.http_status) == (0.25, 2, 200)


async def test_a_dead_call_has_the_error_of_its_last_answer(store: SqliteStore) -> None:
    failed = Result(invocation="", status=500, error=FunctionError(type="ValueError", message="no such order"))
    found = await after_a_crash(store, State.DEAD, failed, "2 attempts failed: no such order")
    assert (found.status, found.error_type, found.error_message) == (
        Status.DEAD,
        "ValueError",
        "2 attempts failed: no such order",
    )


async def test_a_call_that_never_got_an_answer_has_the_reason(store: SqliteStore) -> None:
    found = await after_a_crash(store, State.DEAD, None, "the function is gone")
    assert (found.status, found.answer, found.error_message) == (Status.DEAD, "", "the function is gone")


class Listing:
    """Calls in every state: `done` and `failed` are recorded, `failed` waits for its second attempt, the rest has no record."""

    def __init__(self, store: SqliteStore) -> None:
        self.clock = FakeClock()
        self.queue = AsyncQueue(store, self.clock)
        self.recorder = Recorder(store, self.clock)
        self.active: dict[str, Any] = {}
        nothing = cast(Any, None)
        dispatcher = cast(Any, SimpleNamespace(active=self.active))
        self.history = History(dispatcher, self.recorder, nothing, self.queue, nothing, nothing, nothing)
        self._store = store
        self.names: dict[str, str] = {}  # id -> what the test calls it

    async def accept(self, name: str, function: str = "f", namespace: str = "default") -> str:
        self.clock.advance(1.0)
        invoke = Invoke(namespace=namespace, function=function)
        identifier = await self.queue.enqueue(invoke)
        self.names[identifier] = name
        return identifier

    async def lease(self, function: str = "f") -> None:
        now = self.clock.now()
        given = {"holder": "x", "until": now + 60, "namespace": "default", "lane": f"f:{function}", "now": now, "limit": 1}
        await self._store.commit(("queue_lease", given))

    async def end(self, identifier: str, state: State) -> None:
        end = {"id": identifier, "epoch": 1, "state": state.value, "attempt": 1, "ended": self.clock.now()}
        await self._store.commit(("queue_end", end | {"last_error": "", "condition": ""}))

    def record(self, identifier: str, status: Status, attempt: int = 1) -> None:
        base = Entry(identifier, "default", "", "f", State.DONE, 1, 0.0, 0.0, 0.0, "", None, None).invocation()
        self.recorder.record(replace(base, status=status, attempt=attempt))

    async def shown(self, **asked: Any) -> list[str]:
        """The list, page by page."""
        found: list[Invocation] = []
        cursor = ""
        while True:
            page = await self.history.list(ListInvocations(namespace="default", cursor=cursor, **asked))
            found += page.items
            cursor = page.cursor
            if not cursor:
                return [f"{self.names[call.id]} {call.status.value} {call.attempt}" for call in found]


@pytest.fixture
async def listing(store: SqliteStore) -> Listing:
    listing = Listing(store)
    await listing.recorder.open()
    done = await listing.accept("done")
    await listing.lease()
    await listing.end(done, State.DONE)
    listing.record(done, Status.OK)
    dead = await listing.accept("dead")
    await listing.lease()
    await listing.end(dead, State.DEAD)
    listing.record(dead, Status.ERROR)
    failed = await listing.accept("failed")
    await listing.lease()
    again = {"id": failed, "epoch": 1, "attempt": 1, "deferrals": 0, "due": listing.clock.now() + 60, "last_error": "no"}
    await store.commit(("queue_retry", again))
    listing.record(failed, Status.ERROR)
    await listing.accept("running")
    await listing.lease()
    await listing.accept("waiting")
    await listing.accept("elsewhere", function="g")
    await listing.accept("foreign", namespace="other")
    return listing


async def test_calls_that_wait_or_run_stand_in_the_list(listing: Listing) -> None:
    all_of_f = ["waiting queued 1", "running running 1", "failed queued 2", "failed error 1", "dead error 1", "done ok 1"]
    assert await listing.shown(function="f") == all_of_f
    assert await listing.shown() == ["elsewhere queued 1", *all_of_f]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6])
async def test_the_list_is_the_same_in_pages_of_any_size(listing: Listing, limit: int) -> None:
    assert await listing.shown(limit=limit) == await listing.shown()


async def test_the_list_is_filtered_by_what_calls_do_now(listing: Listing) -> None:
    assert await listing.shown(status=Status.QUEUED) == ["elsewhere queued 1", "waiting queued 1", "failed queued 2"]
    assert await listing.shown(status=Status.RUNNING) == ["running running 1"]
    assert await listing.shown(status=Status.DEAD) == ["dead dead 1"]
    assert await listing.shown(status=Status.ERROR) == ["failed error 1", "dead error 1"]
    assert await listing.shown(status=Status.OK) == ["done ok 1"]


async def test_a_call_between_its_record_and_its_end_is_listed_once(listing: Listing) -> None:
    [running] = [identifier for identifier, name in listing.names.items() if name == "running"]
    listing.record(running, Status.OK)
    assert [line for line in await listing.shown(function="f") if "running" in line] == ["running ok 1"]
