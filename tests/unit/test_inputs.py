"""Inputs of synchronous calls: which are kept, how many, without what, and what they cost while the disk is behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dayfly.actions import Invoke
from dayfly.errors import NotFound
from dayfly.model.call import HttpRequest, Invocation, Mode, Status, Timings
from dayfly.model.function import Keep
from dayfly.observe.inputs import BURST, LONGEST, RATE, WAITING_BYTES, WEIGHT, Inputs
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


def call(id: str, size: int = 10, function: str = "f", **more: object) -> Invoke:
    return Invoke(namespace="default", function=function, body=b"x" * size, invocation=id, **more)  # type: ignore[arg-type]


async def recording(store: SqliteStore, clock: FakeClock | None = None, **settings: object) -> tuple[Inputs, Recorder]:
    inputs = Inputs(store, **settings)  # type: ignore[arg-type]
    recorder = Recorder(store, clock or FakeClock(), inputs=inputs)
    await recorder.open()
    return inputs, recorder


def ends(
    inputs: Inputs,
    recorder: Recorder,
    invoke: Invoke,
    status: Status = Status.OK,
    chosen: Keep = Keep.ALL,
    whole: bool = True,
) -> None:
    """A call has ended: what it was given, then its record."""
    inputs.keep(invoke, status, chosen, whole)
    recorder.record(
        Invocation(
            id=invoke.invocation,
            namespace=invoke.namespace,
            function=invoke.function,
            revision=1,
            mode=Mode.SYNC,
            status=status,
            cold=False,
            started=0.0,
            timings=Timings(),
            billed_ms=0,
            memory_mb=128,
        )
    )


async def kept(recorder: Recorder, *ids: str) -> list[str]:
    found = []
    for id in ids:
        try:
            found.append((await recorder.given("default", id)).invocation)
        except NotFound:
            continue
    return found


@pytest.mark.parametrize(
    ("operator", "function", "expected"),
    [
        (Keep.ALL, Keep.ALL, ["good", "bad"]),
        (Keep.FAILED, Keep.ALL, ["bad"]),
        (Keep.ALL, Keep.FAILED, ["bad"]),
        (Keep.NONE, Keep.ALL, []),
        (Keep.ALL, Keep.NONE, []),
        (Keep.FAILED, Keep.NONE, []),
    ],
)
async def test_operator_and_function_say_whose_inputs_are_kept(
    store: SqliteStore, operator: Keep, function: Keep, expected: list[str]
) -> None:
    inputs, recorder = await recording(store, keep=operator)
    ends(inputs, recorder, call("good"), Status.OK, function)
    ends(inputs, recorder, call("bad"), Status.ERROR, function)
    assert await kept(recorder, "good", "bad") == expected


async def test_a_thousand_calls_of_a_function_are_found_one_by_one_and_are_few_rows(store: SqliteStore) -> None:
    inputs, recorder = await recording(store)
    ids = [f"e{number:031x}" for number in range(1000)]
    for number, id in enumerate(ids):
        ends(inputs, recorder, call(id, size=number % 7, function=f"f{number % 3}"))
    assert await kept(recorder, *ids) == ids
    effects = await store.commit(("inputs_forget", {"namespace": "default", "function": ""}))
    assert effects[0].written <= 9  # 3 functions, at most 3 slices


async def test_calls_that_last_overlap_with_many_and_are_found(store: SqliteStore) -> None:
    """Given a long call that ended after dozens of writes, its row covers their ids, too, and hides none."""
    inputs, recorder = await recording(store)
    ids = [f"e{number:031x}" for number in range(40)]
    for id in ids[1:]:
        ends(inputs, recorder, call(id))
        ends(inputs, recorder, call("f" * 32))
        await recorder.flush()
    ends(inputs, recorder, call(ids[0]))
    assert await kept(recorder, *ids) == ids


async def test_what_is_too_long_or_was_streamed_says_so(store: SqliteStore) -> None:
    inputs, recorder = await recording(store)
    ends(inputs, recorder, call("long", size=LONGEST + 1))
    ends(inputs, recorder, call("streamed", size=0), whole=False)
    with pytest.raises(NotFound, match="has 262145 bytes, and inputs of up to 262144 are") as refused:
        await recorder.given("default", "long")
    assert "--keep-inputs-longest" in refused.value.hint
    with pytest.raises(NotFound, match="its body was streamed"):
        await recorder.given("default", "streamed")


async def test_of_a_storm_a_sample_is_kept_and_everything_that_failed(store: SqliteStore) -> None:
    """Given more calls at once than the rate lets through, then those that failed are kept all the same, the reason of the others is
    told, and after some quiet seconds calls are kept again."""
    clock = FakeClock()
    inputs, recorder = await recording(store, clock)
    fit = int(RATE * BURST) // (WEIGHT + 10)
    ids = [f"e{number:031x}" for number in range(fit + 100)]
    for id in ids:
        ends(inputs, recorder, call(id))
    ends(inputs, recorder, call("bad"), Status.ERROR)
    assert inputs.skipped == 100
    assert await kept(recorder, ids[0], ids[fit - 1], ids[fit], ids[-1], "bad") == [ids[0], ids[fit - 1], "bad"]
    with pytest.raises(NotFound, match=r"8 MiB a second; dayfly up --keep-inputs-rate"):
        await recorder.given("default", ids[-1])
    clock.advance(0.5)
    ends(inputs, recorder, call("too soon"))  # the allowance grows with what is written
    await recorder.flush()
    ends(inputs, recorder, call("later"))
    assert await kept(recorder, "later") == ["later"]


async def test_the_longest_input_is_kept_however_low_the_rate(store: SqliteStore) -> None:
    inputs, recorder = await recording(store, rate=1 << 10)
    ends(inputs, recorder, call("long", size=LONGEST))
    assert await kept(recorder, "long") == ["long"]


async def test_the_reason_is_told_where_there_is_a_record_and_no_input(store: SqliteStore) -> None:
    inputs, recorder = await recording(store, keep=Keep.FAILED)
    ends(inputs, recorder, call("good"))
    with pytest.raises(NotFound, match="keeps the inputs of failed calls alone"):
        await recorder.given("default", "good")
    with pytest.raises(NotFound, match="nothing is recorded of 'good' in elsewhere"):
        await recorder.given("elsewhere", "good")


async def test_headers_that_let_somebody_in_are_not_written(store: SqliteStore) -> None:
    inputs, recorder = await recording(store)
    headers = (("authorization", "Bearer s3cret"), ("x-color", "red"), ("cookie", "session=s3cret"))
    ends(inputs, recorder, call("web", http=HttpRequest(method="PUT", path="/a%20b", query="c=d", headers=headers)))
    found = await recorder.given("default", "web")
    assert found.http is not None
    assert (found.http.method, found.http.path, found.http.query) == ("PUT", "/a%20b", "c=d")
    assert found.http.headers == (("authorization", "(not kept)"), ("x-color", "red"), ("cookie", "(not kept)"))


async def test_half_a_character_in_a_header_costs_that_input_alone(store: SqliteStore) -> None:
    inputs, recorder = await recording(store)
    ends(inputs, recorder, call("odd", client="\ud800"))
    ends(inputs, recorder, call("even"))
    assert await kept(recorder, "odd", "even") == ["even"]


async def test_the_oldest_go_when_there_is_more_than_is_kept(store: SqliteStore) -> None:
    inputs, recorder = await recording(store, keep_bytes=1 << 20)
    ids = [f"e{number:031x}" for number in range(20)]
    for id in ids:
        ends(inputs, recorder, call(id, size=200 << 10))
        await recorder.flush()
    left = await kept(recorder, *ids)
    assert left
    assert left == ids[-len(left) :]
    assert len(left) <= 10  # about 5 fit; looked at now and then


async def test_a_function_that_is_deleted_takes_its_inputs_along(store: SqliteStore) -> None:
    inputs, recorder = await recording(store)
    ends(inputs, recorder, call("gone", function="gone"))
    ends(inputs, recorder, call("stays", function="stays"))
    await recorder.flush()
    await store.commit(("inputs_forget", {"namespace": "default", "function": "gone"}))
    assert await kept(recorder, "gone", "stays") == ["stays"]


async def test_what_waits_for_the_disk_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a disk that is full, when large calls go on, then inputs are dropped and not piled up; and when it is back, kept again."""
    inputs, recorder = await recording(store)
    held = []
    written = store.write_behind
    monkeypatch.setattr(store, "write_behind", lambda *statements, done: held.append((statements, done)))
    for number in range(1000):
        ends(inputs, recorder, call(f"e{number:031x}", size=LONGEST), Status.ERROR)  # the rate does not bound these
    bodies = sum(
        len(row["body"]) for statements, _ in held for name, rows in statements if name == "inputs_put" for row in rows
    )
    assert WAITING_BYTES / 2 < bodies <= WAITING_BYTES + (1 << 20)
    monkeypatch.setattr(store, "write_behind", written)
    for _, done in held:
        done()
    ends(inputs, recorder, call("after", size=LONGEST))
    assert await kept(recorder, "after") == ["after"]
