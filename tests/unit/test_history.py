"""What is known of an asynchronous call whose record a crash has taken along: all that its kept answer says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dayfly.actions import GetInvocation, Invoke
from dayfly.calls.history import History
from dayfly.events.items import encode
from dayfly.events.queue import AsyncQueue
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
