"""Killed at any moment, the store keeps its promises.

A small server (`store_victim.py`) is killed with SIGKILL after a random number of promises, again and again over one database.
Then every accepted call is still there and gets delivered, an idempotency key still means one call, and the usage ledger equals the sum
of the recorded invocations to the millisecond.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dayfly.actions import Invoke
from dayfly.clock import SystemClock
from dayfly.events.queue import AsyncQueue
from dayfly.model.call import Result
from dayfly.store.sqlite import SqliteStore
from tests.support.events import delivery_of_calls

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
ROUNDS = 25
SEED = 20

FROM_ROWS = """ -- in a body, observe.records._Rest, stand: 2 cold, 3 started, 8 billed_ms, 9 memory_mb, 11 cpu_us
SELECT namespace, function, CAST(body ->> 3 / 3600 AS INTEGER), count(*), sum(body ->> 8),
       sum((body ->> 8) * (body ->> 9)), sum(body ->> 11), sum(status = 'error'), sum(body ->> 2)
FROM invocations WHERE status <> 'rejected' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
KEPT = "SELECT coalesce(sum(length(c.body)), 0) FROM queue_calls AS c JOIN queue AS q USING (id) WHERE q.state "
LEDGER = "SELECT * FROM usage ORDER BY namespace, function, hour"


def live_and_die(path: Path, seed: int, promises: int) -> list[str]:
    """Run the victim until it has made so many promises, kill it, and return all it had made by then."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crash.store_victim", path, str(seed)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as victim:
        assert victim.stdout is not None
        made = [line for _, line in zip(range(promises), victim.stdout, strict=False)]
        assert victim.poll() is None, "the victim ended by itself"
        victim.kill()
        made += victim.stdout.readlines()
    return [line.strip() for line in made if line.endswith("\n")]


def check_files(path: Path) -> int:
    """The number of recorded invocations, once all sums are right."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(FROM_ROWS).fetchall()
        assert rows == connection.execute(LEDGER).fetchall()
        sums = dict(connection.execute("SELECT name, value FROM sums"))
        exact = {
            "log_bytes": "SELECT coalesce(sum(length(body)), 0) FROM logs",
            "queue_bytes": KEPT + "NOT IN ('done', 'cancelled')",
            "queue_input_bytes": KEPT + "IN ('done', 'cancelled')",
            "input_bytes": "SELECT coalesce(sum(length(body)), 0) FROM inputs",
            "queue_result_bytes": "SELECT coalesce(sum(length(body)), 0) FROM queue_results",
            "queue_ended": "SELECT count(*) FROM queue WHERE state IN ('done', 'dead', 'cancelled')",
        }
        assert sums == {name: connection.execute(sql).fetchone()[0] for name, sql in exact.items()}
        orphans = "SELECT count(*) FROM queue AS q LEFT JOIN queue_calls AS c USING (id) WHERE ended = 0 AND c.id IS NULL"
        assert connection.execute(orphans).fetchone() == (0,)
        return int(connection.execute("SELECT count(*) FROM invocations").fetchone()[0])
    finally:
        connection.close()


async def deliver_the_rest(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    queue = AsyncQueue(store, SystemClock())
    empty = asyncio.Event()
    left = await queue.depth()
    [(leased,)] = await store.fetch("queue_depth_leased")
    left += leased

    def on_end(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            empty.set()

    async def run(invoke: Invoke) -> Result:
        return Result(invocation=invoke.invocation)

    delivery = delivery_of_calls(queue, run, on_end=on_end)
    await delivery.start()
    if left:
        await empty.wait()
    await delivery.stop()
    await store.close()


async def test_nothing_accepted_is_lost_and_the_ledger_equals_the_records(tmp_path: Path) -> None:
    path = tmp_path / "dayfly.db"
    rng = random.Random(SEED)
    accepted: set[str] = set()
    keys: dict[str, str] = {}
    recorded = 0
    for round in range(ROUNDS):
        for made in await asyncio.to_thread(live_and_die, path, round, rng.choice((1, 10, 50, 300))):
            if made.startswith("+"):
                accepted.add(made[1:])
            else:
                key, id = made[1:].split()
                assert keys.setdefault(key, id) == id
                accepted.add(id)
        recorded = await asyncio.to_thread(check_files, path)
    assert len(accepted) > 1000
    assert recorded > 1000
    await deliver_the_rest(path)
    connection = sqlite3.connect(path)
    states = dict(connection.execute("SELECT id, state FROM queue"))
    connection.close()
    assert accepted <= states.keys()
    assert {states[id] for id in accepted} == {"done"}
