"""What SQLite reports, as Dayfly's own errors."""

from __future__ import annotations

import sqlite3

from ..errors import BadInput, Conflict, DayflyError, Internal, TooLarge, Unavailable

_BY_CODE: dict[int, tuple[type[DayflyError], str, str]] = {
    sqlite3.SQLITE_FULL: (
        Unavailable,
        "The disk that holds the database is full.",
        "Free some space; what waits to be written is written then.",
    ),
    sqlite3.SQLITE_BUSY: (
        Unavailable,
        "Another process is writing to the database.",
        "Only one server may use a data directory; close other programs that write to it.",
    ),
    sqlite3.SQLITE_LOCKED: (Unavailable, "The database is locked.", "Try again."),
    sqlite3.SQLITE_CORRUPT: (
        Internal,
        "The database file is damaged.",
        "Restore it from a backup, or move it away to start with an empty one.",
    ),
    sqlite3.SQLITE_NOTADB: (
        Internal,
        "The database file is not a database.",
        "Restore it from a backup, or move it away to start with an empty one.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        Internal,
        "The database file cannot be opened.",
        "Check that its folder exists and that this user may write there.",
    ),
    sqlite3.SQLITE_READONLY: (
        Internal,
        "The database cannot be written.",
        "Check the permissions of the data directory and how its file system is mounted.",
    ),
    sqlite3.SQLITE_IOERR: (Unavailable, "The disk reports an error.", "See the kernel's log for the disk's troubles."),
    sqlite3.SQLITE_TOOBIG: (TooLarge, "A value is larger than the database takes.", "Keep it under 1 GB."),
}


def mapped(error: Exception) -> DayflyError:
    """The DayflyError that tells the same, for whoever asked the store.

    What is no error of SQLite comes from a value it cannot hold: an integer beyond 64 bits, half a character.
    """
    if not isinstance(error, sqlite3.Error):
        return BadInput(f"The database cannot hold this value: {error}.")
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"The database refuses this: {error}.")
    kind, detail, hint = _BY_CODE.get(_code(error), (Internal, "The database refused a statement.", ""))
    return kind(f"{detail} ({error})", hint=hint)


def passing(error: Exception) -> bool:
    """Whether the same statements may succeed later without anybody changing them."""
    return isinstance(error, sqlite3.Error) and _BY_CODE.get(_code(error), (Internal,))[0] is Unavailable


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where the error is of the Python module itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
