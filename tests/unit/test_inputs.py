"""Inputs of synchronous calls: which are kept, how many, and what they cost while the disk is behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dayfly.actions import Invoke
from dayfly.events.items import decode_call
from dayfly.model.call import Status
from dayfly.observe.inputs import WAITING_BYTES, Inputs, Keep
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = SqliteStore(None)
    await store.open()
    yield store
    await store.close()


def call(id: str, size: int = 10) -> Invoke:
    return Invoke(namespace="default", function="f", body=b"x" * size, invocation=id)


async def kept(store: SqliteStore, *ids: str) -> list[str]:
    await store.commit()
    found = []
    for id in ids:
        rows = await store.fetch("queue_call", id=id)
        found += [decode_call(rows[0][0]).invocation] if rows else []
    return found


@pytest.mark.parametrize(("keep", "expected"), [(Keep.FAILED, ["bad"]), (Keep.ALL, ["good", "bad"]), (Keep.NONE, [])])
async def test_the_operator_says_whose_inputs_are_kept(store: SqliteStore, keep: Keep, expected: list[str]) -> None:
    inputs = Inputs(store, FakeClock(), keep=keep)
    await inputs.open()
    inputs.keep(call("good"), Status.OK)
    inputs.keep(call("bad"), Status.ERROR)
    inputs.close()
    assert await kept(store, "good", "bad") == expected


async def test_the_oldest_go_when_there_is_more_than_is_kept(store: SqliteStore) -> None:
    inputs = Inputs(store, FakeClock(), keep=Keep.ALL, keep_bytes=3 << 20)
    await inputs.open()
    ids = [str(number) for number in range(6)]
    for id in ids:
        inputs.keep(call(id, size=1 << 20), Status.OK)  # each a slice of its own
        await store.commit()
    left = await kept(store, *ids)
    assert left
    assert left == ids[-len(left) :]
    assert len(left) <= 4
    inputs.close()


async def test_what_waits_for_the_disk_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a disk that is full, when large calls go on, then inputs are dropped and not piled up."""
    inputs = Inputs(store, FakeClock(), keep=Keep.ALL)
    await inputs.open()
    held = []
    monkeypatch.setattr(store, "write_behind", lambda *statements, done: held.append(statements))
    for number in range(100):
        inputs.keep(call(str(number), size=4 << 20), Status.OK)
    waiting = sum(len(body) for _, body in inputs._slices.unwritten())
    assert waiting <= WAITING_BYTES + 3 * (5 << 20)
    assert len(held) == 2
