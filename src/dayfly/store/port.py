"""The persistence port: named SQL, group commit, a change feed.

    fetch(query, **parameters) -> rows            a read, by the query's name
    commit(*statements, notes=...) -> effects     one transaction; on disk when it returns. What each statement did: how many rows,
                                                  and those it returns (RETURNING)
    write_behind(*statements, done=None)          the same without waiting; order kept; what is not written yet is lost in a crash.
                                                  Held and tried again while the disk is full; `done` is called on the event
                                                  loop once it is on disk, or given up: count with it, to bound what is under way
    subscribe(callback)                           told of every note after its transaction is committed
    open() / close()

A statement is (query name, parameters); parameters may be a list, for many rows. The SQL itself stands in `store/sql/*.sql`, one
query under a line `-- name: the_query`, and in numbered migrations. Commits that arrive while one is being written to disk share the
next fsync (group commit). Notes are (kind, key), e.g. ("function", "default/hello"): a cell keeps its own copy of the configuration
and reads again what a note names.

The methods are called on the event loop, which they never block.

Implementations: `sqlite.SqliteStore` (a file; WAL) and the same over memory (path None), for tests.
One suite: tests/contract/test_store.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Statement = tuple[str, Parameters]
Row = tuple[Any, ...]
Note = tuple[str, str]


class Effect(NamedTuple):
    """What a statement did."""

    written: int  # rows
    rows: list[Row]  # of a statement with RETURNING


class Store(Protocol):
    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        ...

    async def close(self) -> None:
        """Write what is waiting, then let go."""
        ...

    async def fetch(self, query: str, **parameters: Any) -> list[Row]: ...

    async def commit(self, *statements: Statement, notes: Sequence[Note] = (), fenced: bool = False) -> list[Effect]:
        """Raises errors.Conflict if a uniqueness rule forbids it; then nothing of it happened. `fenced`: if the first statement writes
        no row (because a lease is lost, say), the others are left out; then there is one effect."""
        ...

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None: ...

    def subscribe(self, callback: Callable[[Note], None]) -> None: ...
