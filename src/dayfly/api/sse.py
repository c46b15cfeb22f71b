"""Server-sent events: an answer that stays open.

The stream pulls: the next item is asked for when the one before is written, so a slow reader slows the source and nothing piles up here.
Silence is broken by a comment every `HEARTBEAT` seconds, so that proxies keep the connection and we notice a client that is gone.
Whatever ends the stream (the source, the client, an error) also closes the source.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..clock import Clock
from ..errors import DayflyError, Internal

HEARTBEAT = 15.0  # seconds

log = logging.getLogger(__name__)

Encode = Callable[[Any], bytes]  # item -> event; empty: leave it out


def event(name: str, document: object, identifier: str = "") -> bytes:
    """One event in wire form. The document is JSON, which has no raw line ends, so one data line holds it."""
    head = f"id: {identifier}\nevent: {name}\n" if identifier else f"event: {name}\n"
    return head.encode() + b"data: " + msgspec.json.encode(document, enc_hook=str) + b"\n\n"


async def stream(source: AsyncIterator[Any], encode: Encode, clock: Clock) -> AsyncGenerator[bytes, None]:
    """The source's items as events, comments in the silence between, at last an event `end` (or `error` with a problem document)."""
    coming: asyncio.Future[Any] | None = None
    beat: asyncio.Future[None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(source))
            beat = asyncio.ensure_future(clock.sleep(HEARTBEAT))
            await asyncio.wait({coming, beat}, return_when=asyncio.FIRST_COMPLETED)
            beat.cancel()
            if not coming.done():
                yield b": still here\n\n"
                continue
            try:
                item = coming.result()
            except StopAsyncIteration:
                yield event("end", {})
                return
            except DayflyError as error:
                yield event("error", error.problem())
                return
            except Exception:
                log.exception("a stream of events broke")
                yield event(
                    "error", Internal("Dayfly failed in the middle of this stream.", hint="Its log has the reason.").problem()
                )
                return
            coming = None
            if piece := encode(item):
                yield piece
    finally:
        await _cancel(coming, beat)


class EventStream(Response):
    """Sends the source's items until it ends or the client leaves, then closes the source."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncIterator[Any], encode: Encode, clock: Clock) -> None:
        self.source = source
        self.pieces = stream(source, encode, clock)
        self.status_code = 200
        self.background = None
        self.init_headers({"x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(OSError):  # the client left while we wrote
                    sending.result()
        finally:
            await _cancel(sending, leaving)
            await self.pieces.aclose()
            close = getattr(self.source, "aclose", None)
            if close is not None:
                await close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel what is under way and wait until it has ended."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
