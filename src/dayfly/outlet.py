"""Writes that leave at once, where the event loop would keep them until all its callbacks have run.

uvloop collects what is written and sends it at the end of its turn. So an answer waits for the work that follows it (the record, the
slot, the next call), and an instance for its call: that was a seventh of a warm call's time. Here the first bytes go straight to the
socket. What that does not take, and whatever is written while something waits already, goes through the transport: its order, its
buffer and its flow control stay as they are.
"""

from __future__ import annotations

import asyncio
import os
import ssl


class Outlet:
    """The writing end of a connected transport. Its descriptor is used only while the transport is open: it closes it later than
    it says so, never earlier, so that no other connection can have got the number meanwhile."""

    __slots__ = ("_closing", "_fd", "_transport", "_waiting")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._waiting = transport.get_write_buffer_size
        self._closing = transport.is_closing
        link = transport.get_extra_info("socket")
        tls: ssl.SSLContext | None = transport.get_extra_info("sslcontext")
        self._fd: int = -1 if link is None or tls is not None else link.fileno()

    def write(self, data: bytes) -> None:
        """As `asyncio.Transport.write`. A connection that is broken is noticed by whoever reads, not here."""
        if self._fd < 0 or self._closing() or self._waiting():
            self._transport.write(data)
            return
        try:
            sent = os.write(self._fd, data)
        except OSError:  # full or broken: the transport knows how to go on
            sent = 0
        if sent < len(data):
            self._transport.write(memoryview(data)[sent:] if sent else data)
