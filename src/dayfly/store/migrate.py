"""Bring a database to the schema of this version.

Migrations are the files `sql/migrations/NNNN_what.sql`, applied in the order of their numbers, all that are missing in one
transaction: a crash in the middle leaves the old schema. The number of the last one stands in SQLite's `user_version`. A file,
once released, is never edited; a change is a new file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from ..errors import Internal


class Migration(NamedTuple):
    number: int
    name: str
    sql: str


def available() -> list[Migration]:
    """The migrations of this version, by number; raises ValueError if one is missing in the row."""
    folder = resources.files(__package__).joinpath("sql", "migrations")
    found = [
        Migration(int(file.name.split("_", 1)[0]), file.name, file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".sql")
    ]
    for expected, migration in enumerate(found, 1):
        if migration.number != expected:
            raise ValueError(f"migration {migration.name} should have number {expected:04d}")
    return found


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """Apply what is missing and return the version reached.

    The connection must be in autocommit mode. Raises errors.Internal if the database was written by a newer version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        newest = migrations[-1].number if migrations else 0
        if version > newest:
            raise Internal(
                f"The database has schema {version}, this version of Dayfly knows schemas up to {newest}.",
                hint="A newer Dayfly wrote it. Start that version, or give this one another data directory (--data).",
            )
        for migration in migrations[version:]:
            for statement in statements(migration.sql):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return newest


def statements(script: str) -> list[str]:
    """The single statements of a script. (sqlite3's executescript would end the transaction that makes us safe.)"""
    found: list[str] = []
    piece = ""
    for line in script.splitlines(keepends=True):
        piece += line
        if sqlite3.complete_statement(piece):
            found.append(piece.strip())
            piece = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in piece.splitlines()):
        raise ValueError(f"a statement does not end: {piece.strip()[:80]}")
    return found
