"""PostgreSQL: an outbox table, or notifications.

    outbox    rows of a table, in the order of their ids. They are locked (SKIP LOCKED), their events go to our disk, then they are
              deleted or marked, and committed: a crash in between tells of them again, under the same ids. A NOTIFY on `channel` wakes
              the source at once; without one it looks every `poll_s`.
    listen    NOTIFY on `channel`. PostgreSQL hands a notification to who listens at that moment and keeps it for nobody.

Source: postgresql.org/docs/current, "NOTIFY" and "SELECT ... FOR UPDATE SKIP LOCKED".
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Any, Literal

import msgspec
import psycopg
from msgspec import Meta, Struct
from psycopg import sql

from ...model.event import Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed, guessed

Column = Annotated[str, Meta(max_length=63)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: Literal["outbox", "listen"]
    dsn: Annotated[str, Meta(max_length=4096, description="postgresql://user@host/database; best: secret:NAME")] = (
        "postgresql:///"
    )
    channel: Annotated[str, Meta(max_length=63, description="of NOTIFY")] = ""
    table: Annotated[str, Meta(max_length=128, description="outbox: the table, or schema.table")] = ""
    id_column: Column = "id"
    data_column: Column = "payload"
    type_column: Annotated[Column, Meta(description="of the event's type; empty: dayfly.postgres.row")] = ""
    subject_column: Column = ""
    done_column: Annotated[Column, Meta(description="a timestamp to be set; empty: the row is deleted")] = ""
    poll_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    batch: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = MAX_BATCH

    def __post_init__(self) -> None:
        if self.mode == "listen" and not self.channel:
            raise ValueError("mode listen needs `channel`")
        if self.mode == "outbox" and not self.table:
            raise ValueError("mode outbox needs `table`")


class Postgres(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings
        self._count = itertools.count(1)

    async def run(self) -> None:
        try:
            connection = await psycopg.AsyncConnection.connect(self._settings.dsn, connect_timeout=5)
        except psycopg.Error as error:
            raise SourceFailed(f"PostgreSQL: {error}") from None
        try:
            if self._settings.channel:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._settings.channel)))
                await connection.commit()
            await (self._outbox if self._settings.mode == "outbox" else self._listen)(connection)
        except psycopg.Error as error:
            raise SourceFailed(f"PostgreSQL: {error}") from None
        finally:
            await connection.close()

    async def _listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.context.ready()
        began = f"{self.context.clock.now():.6f}"
        async for notice in connection.notifies():
            payload = notice.payload.encode()
            event = Event(
                id=f"{notice.channel}/{began}/{next(self._count)}",
                source=self.context.source,
                type="dayfly.postgres.notification",
                subject=notice.channel,
                datacontenttype=guessed(payload),
                data=payload or None,
            )
            await self.emit([event])

    async def _outbox(self, connection: psycopg.AsyncConnection[Any]) -> None:
        take, done = self._queries()
        await connection.execute(take, {"limit": 0})  # a wrong table or column shows now
        await connection.rollback()
        self.context.ready()
        while True:
            cursor = await connection.execute(take, {"limit": self._settings.batch})
            rows = await cursor.fetchall()

            async def confirm(rows: list[Any] = rows) -> None:
                if rows:
                    await connection.execute(done, {"ids": [row[0] for row in rows]})
                await connection.commit()

            await self.deliver([self._event(*row) for row in rows], confirm)
            if len(rows) < self._settings.batch:
                await self._woken(connection)

    def _queries(self) -> tuple[sql.Composed, sql.Composed]:
        settings = self._settings
        table = sql.Identifier(*settings.table.split(".", 1))
        id, data = sql.Identifier(settings.id_column), sql.Identifier(settings.data_column)
        type_, subject = (
            sql.SQL("{}::text").format(sql.Identifier(name)) if name else sql.SQL("''")
            for name in (settings.type_column, settings.subject_column)
        )
        mark = sql.Identifier(settings.done_column) if settings.done_column else None
        take = sql.SQL("SELECT {}, {}, {}, {} FROM {} {} ORDER BY {} LIMIT %(limit)s FOR UPDATE SKIP LOCKED").format(
            id, data, type_, subject, table, sql.SQL("WHERE {} IS NULL").format(mark) if mark else sql.SQL(""), id
        )
        change = sql.SQL("UPDATE {} SET {} = now()").format(table, mark) if mark else sql.SQL("DELETE FROM {}").format(table)
        return take, change + sql.SQL(" WHERE {} = ANY(%(ids)s)").format(id)

    async def _woken(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Return at a notification, or when it is time to look again."""
        if not self._settings.channel:
            await asyncio.sleep(self._settings.poll_s)
            return
        async for _ in connection.notifies(timeout=self._settings.poll_s, stop_after=1):
            pass

    def _event(self, id: Any, data: Any, type_: str | None, subject: str | None) -> Event:
        if isinstance(data, bytes | memoryview):
            body = bytes(data)
        elif isinstance(data, str):
            body = data.encode()
        else:
            body = b"" if data is None else msgspec.json.encode(data, enc_hook=str)
        return Event(
            id=f"{self._settings.table}/{id}",
            source=self.context.source,
            type=type_ or "dayfly.postgres.row",
            subject=subject or "",
            datacontenttype=guessed(body),
            data=body or None,
        )


def source(context: Context, settings: Settings) -> Postgres:
    return Postgres(context, settings)
