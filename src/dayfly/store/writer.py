"""The one thread that writes.

SQLite has one writer at a time whatever we do, and an fsync takes most of a commit. So everything that wants to write lines up for
one thread, which takes all that is waiting, runs it as one transaction, syncs once and then tells them all: group commit. While
it syncs, the next group lines up; nobody ever waits for a timer.

A group is optimistic: no savepoints. If anything in it fails, for whatever reason, it is rolled back and its works run one by one, each
in a transaction of its own, so that each gets its own error and none suffers from its neighbour's.

Work that nobody waits for (write-behind) and that fails for a reason that passes, such as a full disk, is held and tried again;
later write-behind lines up after it, so order is kept. Both queues are bounded: beyond, write-behind is dropped and counted.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from ..errors import DayflyError
from .faults import mapped, passing
from .port import Effect, Note, Parameters, Row

GROUP: Final = 512  # works that share one transaction at most
HELD: Final = 1024  # write-behind works kept for another try
RETRY: Final = 1.0  # seconds between tries

log = logging.getLogger("dayfly.store")

Sql = tuple[str, Parameters]


class Work:
    """One transaction somebody asked for. `done` is told None or the error, on the event loop."""

    __slots__ = ("done", "effects", "error", "fenced", "notes", "patient", "statements")

    def __init__(
        self,
        statements: Sequence[Sql],
        notes: Sequence[Note] = (),
        done: Callable[[DayflyError | None], None] | None = None,
        *,
        patient: bool = False,
        fenced: bool = False,
    ) -> None:
        self.statements = statements
        self.notes = notes
        self.done = done
        self.patient = patient  # write-behind: held and tried again where a retry may help
        self.fenced = fenced  # the first statement decides whether the others count
        self.error: DayflyError | None = None
        self.effects: list[Effect] = []  # one for each statement, once it is done


class Read:
    """A read that has to see what was written before it (databases in memory have only the writer's connection)."""

    __slots__ = ("done", "error", "parameters", "rows", "sql")

    def __init__(self, sql: str, parameters: Parameters, done: Callable[[Read], None]) -> None:
        self.sql = sql
        self.parameters = parameters
        self.done = done
        self.rows: list[Row] = []
        self.error: DayflyError | None = None


Report = Callable[[Sequence[Work | Read]], None]


class Writer:
    """The thread, its queue and its connection. `report` is called in the thread with everything that has ended."""

    def __init__(self, connection: sqlite3.Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._inbox: SimpleQueue[Work | Read | None] = SimpleQueue()
        self._held: deque[Work] = deque()
        self._retry_at = 0.0  # monotonic seconds
        self.dropped = 0  # write-behind works lost because too many were held
        self._thread = threading.Thread(target=self._run, name="dayfly-store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, work: Work | Read) -> None:
        self._inbox.put(work)

    def stop(self) -> None:
        """Write what is waiting and end. Blocks."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group, reads, stopping = self._take()
            if self._held and (time.monotonic() >= self._retry_at or stopping):  # stopping: this is the last chance
                group = [*self._held, *group]
                self._held.clear()
            ended: list[Work | Read] = []
            if group:
                ended += self._write(group)
            for read in reads:
                self._read(read)
                ended.append(read)
            if ended:
                self._report(ended)
        for work in self._held:
            log.error("not written when the store closed: %s", _names(work))

    def _take(self) -> tuple[list[Work], list[Read], bool]:
        """All that is waiting, up to a read: it has to run after what stood before it."""
        group: list[Work] = []
        try:
            item = self._inbox.get(timeout=RETRY if self._held else None)
        except Empty:
            return group, [], False
        while True:
            if item is None:
                return group, [], True
            if isinstance(item, Read):
                return group, [item], False
            if item.patient and self._held:
                self._hold(item)
            else:
                group.append(item)
            if len(group) >= GROUP:
                return group, [], False
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return group, [], False

    def _write(self, group: list[Work]) -> list[Work]:
        try:
            self._transaction(group)
            return group
        except Exception as error:
            if len(group) == 1:
                return self._failed(group[0], error)
        ended: list[Work] = []
        for work in group:
            if work.patient and self._held:
                self._hold(work)
                continue
            try:
                self._transaction([work])
                ended.append(work)
            except Exception as error:
                ended += self._failed(work, error)
        return ended

    def _transaction(self, group: list[Work]) -> None:
        execute, executemany = self._connection.execute, self._connection.executemany
        try:
            execute("BEGIN IMMEDIATE")
            for work in group:
                effects = work.effects = []
                for sql, parameters in work.statements:
                    many = isinstance(parameters, (list, tuple))
                    cursor = (executemany if many else execute)(sql, parameters)
                    returned = cursor.fetchall() if cursor.description is not None else []  # counted when they have been read
                    effects.append(Effect(cursor.rowcount, returned))
                    if work.fenced and len(effects) == 1 and not cursor.rowcount:
                        break
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    def _failed(self, work: Work, error: Exception) -> list[Work]:
        if work.patient and passing(error):
            if not self._held:
                log.warning("cannot write for now, trying again every second: %s", error)
            self._hold(work)
            self._retry_at = time.monotonic() + RETRY
            return []
        if work.patient:
            log.error("lost a write: %s: %s", _names(work), error)
        work.error = mapped(error)
        return [work]

    def _hold(self, work: Work) -> None:
        if len(self._held) >= HELD:
            self.dropped += 1
            if self.dropped == 1:
                log.error("too much waits to be written; newer write-behind is dropped until the disk takes it")
            return
        self._held.append(work)

    def _read(self, read: Read) -> None:
        try:
            read.rows = rows(self._connection, read.sql, read.parameters)
        except DayflyError as error:
            read.error = error


def _names(work: Work) -> str:
    return ", ".join(sql.split("\n", 1)[0][:60] for sql, _ in work.statements)


def rows(connection: sqlite3.Connection, sql: str, parameters: Parameters) -> list[Row]:
    """All rows of a query; raises DayflyError."""
    try:
        return connection.execute(sql, parameters).fetchall()
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        raise mapped(error) from error
