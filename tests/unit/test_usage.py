"""The ledger and its prices."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from msgspec.structs import replace

from dayfly.model.call import Invocation, Mode, Status, Timings
from dayfly.model.usage import PriceSheet
from dayfly.observe.usage import Ledger, Sums, price

CALL = Invocation(
    id="0" * 32,
    namespace="default",
    function="f",
    revision=1,
    mode=Mode.SYNC,
    status=Status.OK,
    cold=False,
    started=7200.0,
    timings=Timings(run=0.0275),
    billed_ms=28,
    memory_mb=1024,
    cpu_us=5,
)


def lines(*calls: Invocation) -> dict[tuple[str, str, int], Sums]:
    ledger = Ledger()
    ledger.add(calls)
    return ledger.lines()


def test_the_published_example_comes_out_to_the_cent() -> None:
    """60 million requests of 28 ms at 1 GB: 28 USD of computing and 12 USD of requests."""
    sums = Sums(requests=60_000_000, billed_ms=60_000_000 * 28, mb_ms=60_000_000 * 28 * 1024)
    usage = price(sums, PriceSheet(), namespace="default")
    assert f"{usage.cost_compute:.2f} {usage.currency}" == "28.00 USD"
    assert f"{usage.cost_requests:.2f}" == "12.00"
    assert usage.gb_seconds == 1_680_000.0


def test_a_sheet_in_another_currency() -> None:
    sheet = PriceSheet(currency="EUR", per_million_requests=1.0, per_gb_second=2.0)
    usage = price(Sums(requests=500_000, mb_ms=512 * 1000, cpu_us=1500), sheet, namespace="n", function="f")
    assert (usage.cost_requests, usage.cost_compute, usage.cpu_ms, usage.currency) == (0.5, 1.0, 1.5, "EUR")


@pytest.mark.parametrize(
    ("change", "sums"),
    [
        ({}, Sums(1, 28, 28 * 1024, 5, 0, 0)),
        ({"cold": True}, Sums(1, 28, 28 * 1024, 5, 0, 1)),
        ({"status": Status.ERROR}, Sums(1, 28, 28 * 1024, 5, 1, 0)),
        ({"status": Status.TIMED_OUT}, Sums(1, 28, 28 * 1024, 5, 1, 0)),
        ({"status": Status.CANCELLED}, Sums(1, 28, 28 * 1024, 5, 0, 0)),
    ],
)
def test_what_a_call_adds(change: dict[str, Any], sums: Sums) -> None:
    assert lines(replace(CALL, **change)) == {("default", "f", 2): sums}


@pytest.mark.parametrize("status", [Status.REJECTED, Status.DEAD, Status.QUEUED])
def test_where_no_user_code_ran_nothing_is_charged(status: Status) -> None:
    assert lines(replace(CALL, status=status)) == {}


def test_lines_are_by_namespace_function_and_hour() -> None:
    calls = [
        replace(CALL, namespace=n, function=f, started=s)
        for n, f, s in itertools.product(("a", "b"), ("f", "g"), (0.0, 3599.9, 3600.0))
    ]
    found = lines(*calls)
    assert len(found) == 8
    assert found["a", "g", 0].requests == 2
    assert found["a", "g", 1].requests == 1


def test_adding_up_in_any_order_and_grouping_gives_the_same_ledger() -> None:
    rng = random.Random(7)
    calls = [
        replace(CALL, function=rng.choice("fgh"), billed_ms=rng.randrange(10**9), memory_mb=rng.randrange(16, 65536))
        for _ in range(500)
    ]
    whole = Ledger()
    whole.add(calls)
    rng.shuffle(calls)
    pieces = Ledger()
    for start in range(0, 500, 37):
        piece = Ledger()
        piece.add(calls[start : start + 37])
        pieces.merge(piece)
    assert pieces.lines() == whole.lines()
    assert Sums(1, 2, 3, 4, 5, 6).plus(Sums(1, 1, 1, 1, 1, 1)) == Sums(2, 3, 4, 5, 6, 7)
