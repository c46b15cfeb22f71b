"""What synchronous calls were given, for replays: of those that failed, or, on a development server, of all.

Asynchronous calls and events keep theirs in the queue. Written behind, in slices; up to a size, then the oldest go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..actions import Invoke
from ..clock import Clock
from ..model.call import Status
from ..store.port import Store
from .slices import Slices

LARGEST: Final = 256 << 10  # bytes of a body that is kept
SLICES: Final = 2  # that wait for the disk; beyond, inputs are not kept
KEEP_BYTES: Final = 64 << 20
BITE: Final = 1000  # rows deleted in one go

_encode = msgspec.msgpack.Encoder().encode


class Inputs:
    """`everything`: also of calls that went well."""

    def __init__(self, store: Store, clock: Clock, *, everything: bool = False) -> None:
        self._store = store
        self._everything = everything
        self._slices: Slices[tuple[str, bytes]] = Slices(clock, self._write, lambda _: None, SLICES)

    async def open(self) -> None:
        [(last,)] = await self._store.fetch("inputs_last")
        self._slices.next = last + 1

    def close(self) -> None:
        self._slices.close()

    def keep(self, invoke: Invoke, status: Status) -> None:
        """Of a synchronous call that has ended."""
        if (status is Status.OK and not self._everything) or len(invoke.body) > LARGEST:
            return
        try:
            self._slices.add((invoke.invocation, _encode(invoke)))
        except UnicodeEncodeError:  # half a character in a header: not worth more than this
            pass

    def _write(self, first: int, items: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        rows = [{"seq": first + index, "id": id, "body": body} for index, (id, body) in enumerate(items)]
        if rows:
            self._store.write_behind(("inputs_put", rows), ("inputs_prune", {"bite": BITE, "keep": KEEP_BYTES}), done=done)
        else:
            done()
