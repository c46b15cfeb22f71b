"""What runs with every delivery finds its rows by an index, however much waits."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from dayfly.store.queries import load
from dayfly.store.sqlite import SqliteStore

OFTEN = (
    "queue_put", "queue_put_leased", "queue_put_call", "queue_lease", "queue_lease_key", "queue_next_due", "queue_renew",
    "queue_expired", "queue_expire_lane", "queue_next_expiry", "queue_end", "queue_retry", "queue_keep_result", "queue_call",
    "queue_ack", "queue_extend", "queue_release", "event_put", "events_by_id", "event_at",
)  # fmt: skip


@pytest.fixture
async def connection(tmp_path: Path) -> sqlite3.Connection:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    await store.close()
    return sqlite3.connect(tmp_path / "d.db")


@pytest.mark.anyio
@pytest.mark.parametrize("name", OFTEN)
async def test_no_table_is_read_from_end_to_end(connection: sqlite3.Connection, name: str) -> None:
    sql = load()[name]
    given = dict.fromkeys(re.findall(r":(\w+)", sql))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given)]
    connection.close()
    # "SCAN (" is a subquery, whose rows were found by an index.
    assert not [
        step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step and not step.startswith("SCAN (")
    ], plan
