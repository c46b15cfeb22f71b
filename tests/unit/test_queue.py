"""The queue of asynchronous calls, over a real store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dayfly import errors
from dayfly.actions import Invoke
from dayfly.events import queue as module
from dayfly.events.queue import BITE, KEEP_DEAD_S, KEEP_ENDED_S, KEY_WINDOW, AsyncQueue
from dayfly.events.retry import State
from dayfly.model.call import HttpRequest, Mode, Status
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


def call(**change: Any) -> Invoke:
    return Invoke(**({"namespace": "default", "function": "f"} | change))


class Listener:
    """A worker that delivers nothing and notes what it is told."""

    def __init__(self, arrived: list[Any], stopped: list[str]) -> None:
        self._arrived = arrived
        self.stop_item = stopped.append

    def arrived(self, *what: Any) -> None:
        self._arrived.append(what)

    def reserve(self, namespace: str, lane: str) -> None:
        return None

    def begin(self, lane: Any, item: Any) -> None:
        raise AssertionError("it reserves nothing")


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def queue(store: SqliteStore) -> AsyncQueue:
    return AsyncQueue(store, FakeClock())


async def state(queue: AsyncQueue, id: str) -> State | None:
    entry = await queue.status(id)
    return entry.state if entry else None


async def finish(queue: AsyncQueue, id: str, state: State = State.DONE) -> None:
    """What a delivery does at the end of an item, by hand."""
    now = queue.clock.now()
    lease = {"holder": "x", "until": now + 60, "namespace": "default", "lane": "f:f", "now": now, "limit": 1}
    end = {"id": id, "epoch": 1, "state": state.value, "attempt": 1, "ended": now, "last_error": "why", "condition": ""}
    await queue.store.commit(("queue_lease", lease), ("queue_end", end))


async def test_a_call_is_kept_whole(queue: AsyncQueue) -> None:
    http = HttpRequest(method="POST", path="/x%2Fy", query="a=1", headers=(("h", "1"), ("h", "2")))
    given = call(http=http, body=bytes(range(256)), cause="c", depth=3, trace_parent="t", client="{}", qualifier="prod")
    id = await queue.enqueue(given)
    assert await queue.call(id) == call(
        http=http,
        body=bytes(range(256)),
        cause="c",
        depth=3,
        trace_parent="t",
        client="{}",
        qualifier="prod",
        invocation=id,
        mode=Mode.ASYNC,
    )
    assert given.mode is Mode.SYNC  # the caller's own is left alone
    entry = await queue.status(id)
    assert entry is not None
    assert (entry.state, entry.open, entry.attempt) == (State.QUEUED, True, 0)
    assert entry.invocation().status is Status.QUEUED


async def test_a_given_id_is_used_once(queue: AsyncQueue) -> None:
    assert await queue.enqueue(call(invocation="a" * 32)) == "a" * 32
    with pytest.raises(errors.Conflict):
        await queue.enqueue(call(invocation="a" * 32))
    assert await queue.depth() == 1


@pytest.mark.parametrize(
    "change",
    [{"cause": "half \ud800"}, {"delay_s": -1.0}, {"delay_s": 1e9}, {"delay_s": float("nan")}, {"idempotency_key": "k" * 257}],
)
async def test_what_is_out_of_range_is_refused(queue: AsyncQueue, change: dict[str, Any]) -> None:
    with pytest.raises(errors.BadInput):
        await queue.enqueue(call(**change))
    assert await queue.depth() == 0


async def test_one_key_is_one_call_even_at_the_same_time(queue: AsyncQueue) -> None:
    arrived: list[tuple[str, str, float]] = []
    queue.attach(Listener(arrived, []))
    ids = await asyncio.gather(*(queue.enqueue(call(idempotency_key="k", body=b"%d" % i)) for i in range(50)))
    assert len(set(ids)) == 1
    assert await queue.depth() == len(arrived) == 1
    others = [call(idempotency_key="l"), call(idempotency_key="k", function="g"), call(idempotency_key="k", namespace="m")]
    more = [await queue.enqueue(other) for other in others]
    assert len({*ids, *more}) == 4


async def test_a_key_is_free_again_after_a_day_and_not_before(queue: AsyncQueue) -> None:
    assert isinstance(queue.clock, FakeClock)
    first = await queue.enqueue(call(idempotency_key="k"))
    queue.clock.advance(KEY_WINDOW - 1)
    await queue.tidy()
    assert await queue.enqueue(call(idempotency_key="k")) == first
    queue.clock.advance(1)
    second = await queue.enqueue(call(idempotency_key="k"))
    assert second != first
    assert await queue.enqueue(call(idempotency_key="k")) == second


async def test_cancel_ends_what_is_open_and_nothing_else(queue: AsyncQueue) -> None:
    stopped: list[str] = []
    queue.attach(Listener([], stopped))
    id = await queue.enqueue(call(body=b"x"))
    entry = await queue.cancel(id)
    assert entry is not None
    assert (entry.state, entry.invocation().status) == (State.CANCELLED, Status.CANCELLED)
    assert stopped == [id]
    assert await queue.cancel(id) is None
    assert await queue.cancel("nobody") is None
    done = await queue.enqueue(call())
    await finish(queue, done)
    assert await queue.cancel(done) is None
    assert stopped == [id]


async def test_asking_for_an_answer_too_early_too_late_or_in_vain_says_why(queue: AsyncQueue) -> None:
    id = await queue.enqueue(call())
    with pytest.raises(errors.NotFound, match="still queued"):
        await queue.result(id)
    with pytest.raises(errors.NotFound, match="no answer kept"):
        await queue.result("nobody")
    await finish(queue, id, State.DEAD)
    with pytest.raises(errors.NotFound, match="ended dead without an answer: why"):
        await queue.result(id)


async def test_lanes_are_every_function_with_work_once_and_its_earliest_item(queue: AsyncQueue, store: SqliteStore) -> None:
    for namespace, function, delay in (("a", "z", 3), ("a", "z", 1), ("b", "f", 0), ("b", "g", 2), ("c", "a", 0)):
        id = await queue.enqueue(call(namespace=namespace, function=function, delay_s=float(delay)))
    await queue.cancel(id)
    now = queue.clock.now()
    assert await store.fetch("queue_lanes") == [("a", "f:z", now + 1), ("b", "f:f", now), ("b", "f:g", now + 2)]


async def test_depth_counts_what_waits(queue: AsyncQueue) -> None:
    for function in ("f", "f", "g"):
        await queue.enqueue(call(function=function))
    assert await queue.depth() == 3
    assert await queue.depth("default", "f") == 2
    assert await queue.depth("other", "f") == 0


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(store: SqliteStore) -> None:
    queue = AsyncQueue(store, FakeClock(), max_bytes=10_000)
    ids = [await queue.enqueue(call(body=b"x" * 4000)) for _ in range(2)]
    with pytest.raises(errors.Throttled) as caught:
        await queue.enqueue(call(body=b"x" * 4000))
    assert caught.value.retry_after
    await queue.cancel(ids[0])
    await queue.enqueue(call(body=b"x" * 4000))


async def test_dead_items_are_listed_keep_their_call_and_can_be_redriven(queue: AsyncQueue) -> None:
    assert isinstance(queue.clock, FakeClock)
    ids = []
    for _ in range(3):
        ids.append(await queue.enqueue(call(body=b"x")))
        await finish(queue, ids[-1], State.DEAD)
        queue.clock.advance(1.0)
    latest = await queue.dead("default", limit=2)
    assert [entry.id for entry in latest] == [ids[2], ids[1]]
    assert [e.id for e in await queue.dead("default", "f:f", before=latest[-1].ended)] == [ids[0]]
    assert await queue.dead("default", "f:g") == []
    entry = await queue.redrive(ids[0])
    assert entry is not None
    assert (entry.state, entry.attempt, entry.created) == (State.QUEUED, 0, queue.clock.now())
    assert await queue.call(ids[0]) == call(body=b"x", invocation=ids[0], mode=Mode.ASYNC)
    assert await queue.redrive(ids[0]) is None  # it is not dead any more
    assert await queue.redrive("nobody") is None


async def test_what_ended_is_forgotten_in_time_dead_items_later(queue: AsyncQueue, store: SqliteStore) -> None:
    assert isinstance(queue.clock, FakeClock)
    done, dead, waiting = [await queue.enqueue(call(body=b"x" * 10)) for _ in range(3)]
    await finish(queue, done)
    await finish(queue, dead, State.DEAD)
    await store.commit(("queue_keep_result", {"id": done, "epoch": 1, "body": b"r"}))
    queue.clock.advance(KEEP_ENDED_S + 1)
    await queue.tidy()
    assert [await state(queue, id) for id in (done, dead, waiting)] == [None, State.DEAD, State.QUEUED]
    queue.clock.advance(KEEP_DEAD_S)
    await queue.tidy()
    assert [await state(queue, id) for id in (done, dead, waiting)] == [None, None, State.QUEUED]
    sums = dict(await store.fetch("queue_sums"))
    [(body,)] = await store.fetch("queue_call", id=waiting)
    assert sums == {"queue_bytes": len(body), "queue_result_bytes": 0, "queue_ended": 0, "queue_input_bytes": 0}


async def test_too_many_ended_items_and_too_large_answers_are_dropped_oldest_first(
    queue: AsyncQueue, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await queue.enqueue(call()) for _ in range(5)]
    for id in ids:
        await finish(queue, id)
        await store.commit(("queue_keep_result", {"id": id, "epoch": 1, "body": b"r" * 100}))
    monkeypatch.setattr(module, "KEEP_RESULT_BYTES", 250)
    await queue.tidy()
    kept = [bool(await store.fetch("queue_result", id=id)) for id in ids]
    assert kept == [False, False, False, True, True]
    monkeypatch.setattr(module, "KEEP_ENDED", 5 - BITE)
    assert isinstance(queue.clock, FakeClock)
    queue.clock.advance(1.0)
    await queue.tidy()
    assert [await state(queue, id) for id in ids] == [None] * 5
