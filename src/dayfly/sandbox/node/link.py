"""One end of the conversation between a server and a node agent: an asyncio protocol that carries `messages`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

from . import messages
from .messages import Event, MalformedMessage, Request, Splitter

T = TypeVar("T")


class Link(asyncio.Protocol, Generic[T]):
    """Decodes what comes with `decode`. After `on_lost`, which comes once, nothing else does."""

    def __init__(self, decode: Callable[[bytes], T], on_message: Callable[[T], None], on_lost: Callable[[str], None]) -> None:
        self._decode = decode
        self._on_message = on_message
        self._on_lost = on_lost
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._lost = False

    def send(self, message: Request | Event) -> None:
        """Write one message; if the link is gone, nobody hears it."""
        if self._transport is not None and not self._lost:
            self._transport.write(messages.pack(message))

    @property
    def waiting(self) -> int:
        """Bytes the other side has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Send what is waiting, then hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._splitter.feed(data):
                if self._lost:
                    return
                self._on_message(self._decode(message))
        except (MalformedMessage, msgspec.DecodeError) as error:
            self._end(f"it does not speak this protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "the connection was closed")

    def _end(self, reason: str) -> None:
        if self._lost:
            return
        self._lost = True
        if self._transport is not None:
            self._transport.abort()
        self._on_lost(reason)
