"""What synchronous calls were given, for replays: of those that failed, of all, or of none, as the operator chose.

Asynchronous calls and events keep theirs in the queue. Written behind, in slices; up to a size, then the oldest go. Where the disk does
not keep up, inputs are dropped rather than held: memory stays bounded, and nobody waits for a recording.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import msgspec

from ..actions import Invoke
from ..clock import Clock
from ..model.call import Status
from ..store.port import Store
from .slices import Slices

KEEP_BYTES: Final = 64 << 20  # unless the operator says otherwise
WAITING_BYTES: Final = 16 << 20  # of bodies that are not handed to the store yet, at most
SLICE_BYTES: Final = 1 << 20  # of bodies, enough for a slice
SLICES: Final = 2  # that wait for the disk; beyond, inputs are not kept
BITE: Final = 1000  # rows deleted in one go

_encode = msgspec.msgpack.Encoder().encode


class Keep(enum.StrEnum):
    """Which inputs of synchronous calls are kept."""

    FAILED = "failed"
    ALL = "all"
    NONE = "none"


class Inputs:
    """`keep_bytes`: of what is kept on disk, about."""

    def __init__(self, store: Store, clock: Clock, *, keep: Keep = Keep.FAILED, keep_bytes: int = KEEP_BYTES) -> None:
        self._store = store
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._waiting = 0  # bytes
        self._slices: Slices[tuple[str, bytes]] = Slices(clock, self._write, self._spill, SLICES)

    async def open(self) -> None:
        [(last,)] = await self._store.fetch("inputs_last")
        self._slices.next = last + 1

    def close(self) -> None:
        self._slices.close()

    def keep(self, invoke: Invoke, status: Status) -> None:
        """Of a synchronous call that has ended."""
        if self._keep is Keep.NONE or (status is Status.OK and self._keep is Keep.FAILED):
            return
        size = len(invoke.body)
        if self._waiting + size > WAITING_BYTES or size > self._keep_bytes:
            return
        try:
            self._slices.add((invoke.invocation, _encode(invoke)))
        except UnicodeEncodeError:  # half a character in a header: not worth more than this
            return
        self._waiting += size
        if self._waiting >= SLICE_BYTES:
            self._slices.cut()

    def _spill(self, items: list[tuple[str, bytes]]) -> None:
        self._waiting = 0

    def _write(self, first: int, items: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        self._waiting = 0
        rows = [{"seq": first + index, "id": id, "body": body} for index, (id, body) in enumerate(items)]
        if rows:
            prune = {"bite": BITE, "keep": self._keep_bytes}
            self._store.write_behind(("inputs_put", rows), ("inputs_prune", prune), done=done)
        else:
            done()
