"""A Redis stream, read through a consumer group: what is acknowledged there is on our disk here.

Entries that were read and never acknowledged (by us before a crash, or by a consumer that is gone) are claimed when they have been idle
for `reclaim_s`; our own are read again at once. There is no checkpoint: the group is one, in Redis.
Source: redis.io/docs/latest/develop/data-types/streams, commands XREADGROUP, XAUTOCLAIM, XACK.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from redis import exceptions
from redis.asyncio import Redis

from ...model.event import Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed

BLOCK: Final = 5000  # milliseconds that Redis waits for entries


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    stream: Annotated[str, Meta(min_length=1, max_length=512)]
    url: Annotated[str, Meta(pattern="^(redis|rediss|unix)://", max_length=2048)] = "redis://127.0.0.1:6379/0"
    group: Annotated[str, Meta(max_length=256, description="consumer group; empty: of the trigger's name")] = ""
    start: Annotated[str, Meta(max_length=64, description="where a new group begins: 0, $ or an id")] = "0"
    reclaim_s: Annotated[float, Meta(ge=1, le=86400, description="idle time after which what others hold is taken over")] = 60.0
    batch: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = MAX_BATCH


class RedisStream(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings
        trigger = context.trigger
        self._group = settings.group or f"dayfly-{trigger.namespace}-{trigger.name}"
        self._consumer = "dayfly"
        self._client: Any = None
        self._reading: asyncio.Future[Any] | None = None

    async def run(self) -> None:
        self._client = Redis.from_url(self._settings.url, socket_timeout=BLOCK / 1000 + 10, socket_connect_timeout=5)
        try:
            await self._read()
        except (exceptions.RedisError, OSError) as error:
            raise SourceFailed(f"Redis at {_shown(self._settings.url)}: {error}") from None
        finally:
            await self._client.aclose()
            if self._reading is not None:  # its connection is closed: it ends now
                self._reading.cancel()
                await asyncio.wait({self._reading}, timeout=1.0)

    async def _read(self) -> None:
        client, settings = self._client, self._settings
        try:
            await client.xgroup_create(settings.stream, self._group, id=settings.start, mkstream=True)
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self.context.ready()
        own = "0"  # first what was given to us and not acknowledged
        while own:
            entries = await self._next(own)
            own = entries[-1][0].decode() if entries else ""
            await self._take(entries)
        while True:
            await self._reclaim()
            await self._take(await self._next(">"))

    async def _next(self, after: str) -> list[Any]:
        block = BLOCK if after == ">" else None
        self._reading = asyncio.ensure_future(
            self._client.xreadgroup(
                self._group, self._consumer, {self._settings.stream: after}, count=self._settings.batch, block=block
            )
        )
        await asyncio.wait({self._reading})  # a stop ends this wait; the client swallows it at times
        answer = self._reading.result()
        streams = list(answer.values()) if isinstance(answer, dict) else [entries for _, entries in answer or []]
        entries: list[Any] = streams[0] if streams else []
        return entries[0] if entries and isinstance(entries[0], list) else entries

    async def _reclaim(self) -> None:
        start = b"0-0"
        while True:
            answer = await self._client.xautoclaim(
                self._settings.stream,
                self._group,
                self._consumer,
                int(self._settings.reclaim_s * 1000),
                start,
                count=self._settings.batch,
            )
            await self._take(answer[1])
            start = answer[0]
            if start == b"0-0":
                return

    async def _take(self, entries: list[Any]) -> None:
        if not entries:
            return
        events = [self._event(id.decode(), fields) for id, fields in entries if fields]  # without: deleted in the stream
        ids = [id for id, _ in entries]
        await self.deliver(events, lambda: self._client.xack(self._settings.stream, self._group, *ids))

    def _event(self, id: str, fields: dict[bytes, bytes]) -> Event:
        return Event(
            id=f"{self._settings.stream}/{id}",
            source=self.context.source,
            type="dayfly.redis.entry",
            subject=self._settings.stream,
            datacontenttype="application/json",
            data=msgspec.json.encode({_text(name): _text(value) for name, value in fields.items()}),
        )


def _text(value: bytes) -> str:
    """Text as it is; bytes that are no UTF-8 as base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _shown(url: str) -> str:
    """The address without what stands before @."""
    return url.rpartition("@")[2].rpartition("://")[2]


def source(context: Context, settings: Settings) -> RedisStream:
    return RedisStream(context, settings)
