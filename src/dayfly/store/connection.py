"""SQLite connections as Dayfly sets them up."""

from __future__ import annotations

import contextlib
import os
import sqlite3

MEMORY = ":memory:"
PATIENCE = 5.0  # seconds to wait for a lock that another program holds


def connect(path: str, *, writer: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: the only writer (WAL, every commit on disk), or a reader that cannot write."""
    if writer and path != MEMORY:  # secrets are in there: readable by its owner only, as SQLite's side files then are too
        with contextlib.suppress(OSError):  # it exists; or SQLite will say what is wrong
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        if writer:
            connection.execute("PRAGMA page_size = 1024")  # of a new file: a small commit writes a little of many pages
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 16000")  # pages: 16 MiB
            connection.execute("PRAGMA journal_size_limit = 67108864")  # bytes the -wal file keeps after a checkpoint
        else:
            connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection
