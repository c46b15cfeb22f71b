"""What every implementation of the store port promises."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly import errors
from dayfly.store import migrate, queries
from dayfly.store.port import Note, Store
from dayfly.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(tmp_path / "dayfly.db" if request.param == "file" else None)
    await store.open()
    yield store
    await store.close()


def namespace(name: str) -> tuple[str, dict[str, object]]:
    return "namespace_put", {"name": name, "created": 1.0}


def revision(number: int) -> tuple[str, dict[str, object]]:
    return "revision_put", {
        "namespace": "default",
        "function": "f",
        "number": number,
        "digest": f"d{number}",
        "body": b"{}",
        "created": 1.0,
    }


async def names(store: Store) -> list[str]:
    return [row[0] for row in await store.fetch("namespaces_all")]


async def test_what_is_committed_can_be_read(store: Store) -> None:
    await store.commit(namespace("a"), namespace("b"))
    assert await store.fetch("namespaces_all") == [("a", 1.0), ("b", 1.0)]


async def test_bytes_come_back_as_bytes(store: Store) -> None:
    value = bytes(range(256))
    await store.commit(("secret_put", {"namespace": "n", "name": "k", "value": value, "updated": 2.0}))
    assert [row[:3] for row in await store.fetch("secrets_all")] == [("n", "k", value)]


async def test_many_rows_in_one_statement(store: Store) -> None:
    await store.commit(("namespace_put", [{"name": f"n{i:03}", "created": 0.0} for i in range(300)]))
    assert len(await names(store)) == 300


async def test_a_conflict_leaves_nothing_behind_and_harms_no_neighbour(store: Store) -> None:
    await store.commit(revision(1))
    outcomes = await asyncio.gather(
        store.commit(namespace("before")),
        store.commit(namespace("gone"), revision(1), notes=[("function", "gone")]),
        store.commit(namespace("after")),
        return_exceptions=True,
    )
    assert not isinstance(outcomes[0], BaseException)
    assert isinstance(outcomes[1], errors.Conflict)
    assert not isinstance(outcomes[2], BaseException)
    assert await names(store) == ["after", "before"]


async def test_an_unknown_query_says_so_at_once_and_names_what_is_near(store: Store) -> None:
    with pytest.raises(errors.Internal, match="namespace_putt") as caught:
        store.write_behind(("namespace_putt", {}))
    assert "namespace_put" in caught.value.hint
    with pytest.raises(errors.Internal):
        await store.fetch("nothing_like_this")
    with pytest.raises(errors.Internal):
        await store.commit(namespace("a"), ("nope", {}))
    assert await names(store) == []


async def test_a_missing_parameter_is_an_error_of_that_commit_alone(store: Store) -> None:
    with pytest.raises(errors.Internal):
        await store.commit(("namespace_put", {"name": "a"}))
    await store.commit(namespace("b"))
    assert await names(store) == ["b"]


@pytest.mark.parametrize("value", [2**70, "half \ud800", -(2**64)])
async def test_a_value_the_database_cannot_hold_is_the_askers_error_alone(store: Store, value: object) -> None:
    outcomes = await asyncio.gather(
        store.commit(namespace("a")),
        store.commit(("namespace_put", {"name": "x", "created": value})),
        store.fetch("function_one", namespace="n", name=value),
        store.commit(namespace("b")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], errors.BadInput)
    assert isinstance(outcomes[2], errors.BadInput)
    assert await names(store) == ["a", "b"]


async def test_writes_behind_are_in_order_and_before_a_later_commit(store: Store) -> None:
    done: list[int] = []
    for i in range(5):
        store.write_behind(
            ("function_put", {"namespace": "n", "name": "f", "body": b"%d" % i, "updated": float(i)}),
            done=lambda i=i: done.append(i),  # type: ignore[misc]
        )
    await store.commit(namespace("last"))
    assert await store.fetch("function_one", namespace="n", name="f") == [("n", "f", b"4", 4.0)]
    assert done == [0, 1, 2, 3, 4]


async def test_a_write_behind_that_can_never_succeed_is_given_up(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()
    await store.commit(revision(1))
    store.write_behind(revision(1), done=done.set)
    store.write_behind(revision(2))
    await done.wait()
    await store.commit()
    assert len(await store.fetch("revisions_all")) == 2
    assert "lost a write" in caplog.text


async def test_notes_come_after_the_commit_in_order_and_before_its_caller_goes_on(store: Store) -> None:
    heard: list[Note] = []
    store.subscribe(heard.append)

    async def commit(i: int) -> None:
        await store.commit(namespace(f"n{i}"), notes=[("namespace", f"n{i}"), ("extra", str(i))])
        assert ("extra", str(i)) in heard

    await asyncio.gather(*(commit(i) for i in range(20)))
    assert heard == [note for i in range(20) for note in (("namespace", f"n{i}"), ("extra", str(i)))]


async def test_a_subscriber_that_raises_stops_nobody(store: Store) -> None:
    caught: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))

    def broken(note: Note) -> None:
        raise ValueError(note)

    heard: list[Note] = []
    store.subscribe(broken)
    store.subscribe(heard.append)
    await store.commit(namespace("a"), notes=[("namespace", "a")])
    assert heard == [("namespace", "a")]
    assert len(caught) == 1


async def test_who_stops_waiting_does_not_undo_the_commit(store: Store) -> None:
    task = asyncio.create_task(store.commit(namespace("a")))
    await asyncio.sleep(0)
    task.cancel()
    await store.commit(namespace("b"))
    assert await names(store) == ["a", "b"]


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    for i in range(2000):
        store.write_behind(namespace(f"n{i}"))
    await store.close()
    with pytest.raises(errors.Internal, match="not open"):
        await store.fetch("namespaces_all")
    await store.open()
    assert len(await names(store)) == 2000
    await store.close()
    assert os.listdir(tmp_path) == ["d.db"]


# --- files in a bad state ---------------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_commits_holds_write_behind_and_recovers(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    connection = store._connections[0]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")  # what a full disk looks like to SQLite
    big = {"namespace": "n", "name": "big", "value": b"x" * 100_000, "updated": 0.0}
    done = asyncio.Event()
    store.write_behind(("secret_put", big), done=done.set)
    with pytest.raises(errors.Unavailable, match="full") as caught:
        await store.commit(("secret_put", {**big, "name": "commit"}))
    assert "space" in caught.value.hint
    assert not done.is_set()
    connection.execute("PRAGMA max_page_count = 100000")
    await done.wait()
    assert [row[0] for row in await store.fetch("secrets_of", namespace="n")] == ["big"]
    await store.close()


async def test_only_its_owner_can_read_the_files(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    await store.commit(namespace("a"))
    modes = {name: (os.stat(tmp_path / name).st_mode & 0o777) for name in os.listdir(tmp_path)}
    assert modes == {"d.db": 0o600, "d.db-wal": 0o600, "d.db-shm": 0o600}
    await store.close()


async def test_reads_do_not_wait_for_a_writer_that_is_busy(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    await store.commit(namespace("a"))
    other = sqlite3.connect(tmp_path / "d.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # holds the writer's lock
    waiting = asyncio.create_task(store.commit(namespace("b")))
    assert await names(store) == ["a"]
    assert not waiting.done()
    other.execute("COMMIT")
    await waiting
    assert await names(store) == ["a", "b"]
    other.close()
    await store.close()


async def test_what_is_held_gets_its_turn_even_if_commits_never_cease(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    connection = store._connections[0]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = {"namespace": "n", "name": "big", "value": b"x" * 100_000, "updated": 0.0}
    done: list[str] = []
    for name in ("one", "two"):
        store.write_behind(("secret_put", {**big, "name": name}), done=lambda name=name: done.append(name))  # type: ignore[misc]
    await store.commit()
    connection.execute("PRAGMA max_page_count = 100000")
    while not done:
        await store.commit(namespace("busy"))
    await store.commit()
    assert done == ["one", "two"]
    await store.close()


async def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "d.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(errors.Internal, match="not a database") as caught:
        await SqliteStore(tmp_path / "d.db").open()
    assert "backup" in caught.value.hint


async def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.Internal, match="cannot be opened"):
        await SqliteStore(tmp_path / "none" / "d.db").open()


async def test_a_database_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "d.db")
    await store.open()
    await store.close()
    with sqlite3.connect(tmp_path / "d.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(errors.Internal, match="schema 999") as caught:
        await SqliteStore(tmp_path / "d.db").open()
    assert "newer" in caught.value.hint


# --- migrations and query files ---------------------------------------------------------------------------------------


def test_a_migration_that_fails_leaves_the_old_schema() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    one = migrate.Migration(1, "0001_a.sql", "CREATE TABLE a (x);")
    two = migrate.Migration(2, "0002_b.sql", "CREATE TABLE b (x); -- y\nCREATE TABLE a (x);")
    assert migrate.migrate(connection, [one]) == 1
    with pytest.raises(sqlite3.OperationalError):
        migrate.migrate(connection, [one, two])
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_statements_are_split_where_they_end() -> None:
    assert migrate.statements("-- c\nCREATE TABLE a (x TEXT DEFAULT ';');\n\nSELECT 1;\n-- end\n") == [
        "-- c\nCREATE TABLE a (x TEXT DEFAULT ';');",
        "SELECT 1;",
    ]
    with pytest.raises(ValueError, match="does not end"):
        migrate.statements("SELECT 1")


async def test_every_query_compiles_against_the_schema() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate.migrate(connection, migrate.available())
    for name in queries.load().names():
        connection.execute(f"EXPLAIN {queries.load()[name]}", _Anything())
    connection.close()


class _Anything(dict[str, object]):
    """Binds NULL to whatever a query asks for."""

    def __missing__(self, key: str) -> None:
        return None


def test_a_query_file_with_a_fault_is_refused() -> None:
    assert queries.parse("-- name: a\nSELECT 1;\n-- name: b\nSELECT 2") == {"a": "SELECT 1", "b": "SELECT 2"}
    with pytest.raises(ValueError, match="twice"):
        queries.parse("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")
    with pytest.raises(ValueError, match="empty"):
        queries.parse("-- name: a\n-- name: b\nSELECT 1;")
