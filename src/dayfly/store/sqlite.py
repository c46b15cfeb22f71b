"""The store in one SQLite file (WAL), or in memory for tests.

One thread writes (see `writer`); a few threads read, each with a connection of its own that sees the last committed state and never
waits for the writer. The event loop itself never touches the disk. A store in memory has one connection, so its reads go through
the writer's thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ..errors import DayflyError, Internal
from . import migrate, queries
from .connection import MEMORY, connect
from .faults import mapped
from .port import Effect, Note, Row, Statement
from .writer import Read, Sql, Work, Writer, rows

READERS: Final = 3  # threads


class SqliteStore:
    """`path` None keeps everything in memory. The folder must exist; see `port` for what the methods promise.

    Methods are called on the event loop that called `open`. Two servers must not share a file: whoever opens it holds a lock
    on the data directory (the server does).
    """

    def __init__(self, path: Path | str | None) -> None:
        self._path = MEMORY if path is None else str(path)
        self._queries = queries.load()
        self._subscribers: list[Callable[[Note], None]] = []
        self._writer: Writer | None = None
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._readers: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Raises DayflyError if the file is damaged, locked or from a newer version."""
        self._loop = asyncio.get_running_loop()
        connection = await asyncio.to_thread(self._connect_writer)
        self._connections.append(connection)
        self._writer = Writer(connection, self._report)
        self._writer.start()
        if self._path != MEMORY:
            self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="dayfly-store-reader")

    async def close(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        await asyncio.to_thread(self._shut, writer)
        await asyncio.sleep(0)  # what the thread reported last is delivered

    async def fetch(self, query: str, **parameters: Any) -> list[Row]:
        sql = self._queries[query]
        writer, loop = self._running()
        if self._readers is not None:
            return await loop.run_in_executor(self._readers, self._read, sql, parameters)
        future: asyncio.Future[Read] = loop.create_future()

        def done(read: Read) -> None:
            if not future.done():
                future.set_result(read)

        writer.put(Read(sql, parameters, done))
        read = await future
        if read.error is not None:
            raise read.error
        return read.rows

    async def commit(self, *statements: Statement, notes: Sequence[Note] = (), fenced: bool = False) -> list[Effect]:
        writer, loop = self._running()
        future: asyncio.Future[list[Effect]] = loop.create_future()

        def done(error: DayflyError | None) -> None:
            if future.done():  # whoever waited was cancelled
                return
            if error is None:
                future.set_result(work.effects)
            else:
                future.set_exception(error)

        work = Work(self._resolve(statements), notes, done, fenced=fenced)
        writer.put(work)
        return await future

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None:
        writer, _ = self._running()
        ended = None if done is None else (lambda _error: done())
        writer.put(Work(self._resolve(statements), done=ended, patient=True))

    def subscribe(self, callback: Callable[[Note], None]) -> None:
        self._subscribers.append(callback)

    def _resolve(self, statements: Sequence[Statement]) -> list[Sql]:
        return [(self._queries[name], parameters) for name, parameters in statements]

    def _running(self) -> tuple[Writer, asyncio.AbstractEventLoop]:
        if self._writer is None or self._loop is None:
            raise Internal("The store is not open.", hint="Call open() first, and nothing after close().")
        return self._writer, self._loop

    def _connect_writer(self) -> sqlite3.Connection:
        try:
            connection = connect(self._path, writer=True)
        except sqlite3.Error as error:
            raise mapped(error) from error
        try:
            migrate.migrate(connection, migrate.available())
        except sqlite3.Error as error:
            connection.close()
            raise mapped(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = connect(self._path, writer=False)
            except sqlite3.Error as error:
                raise mapped(error) from error
            self._local.connection = connection
            self._connections.append(connection)
        return rows(connection, sql, parameters)

    def _shut(self, writer: Writer) -> None:
        if self._readers is not None:
            self._readers.shutdown()
            self._readers = None
        writer.stop()
        for connection in reversed(self._connections):  # the writer's last: it folds the log into the file
            connection.close()
        self._connections.clear()
        self._local = threading.local()

    def _report(self, ended: Sequence[Work | Read]) -> None:
        """In the writer's thread: hand over to the loop, once for a whole group."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._deliver, ended)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            pass

    def _deliver(self, ended: Sequence[Work | Read]) -> None:
        for item in ended:
            if isinstance(item, Read):
                item.done(item)
                continue
            if item.notes and item.error is None and self._loop is not None:
                for note in item.notes:  # each a callback of its own, queued ahead of the committer's waking up
                    for callback in self._subscribers:
                        self._loop.call_soon(callback, note)
            if item.done is not None:
                item.done(item.error)
