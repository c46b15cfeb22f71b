"""The journal of workflows under way: what was asked, and what has happened since.

It is written behind, FLUSH seconds' worth at a time: nobody waits for the disk between two parts, and a workflow that is over before
then leaves no trace here. What a crash takes along is done again, so a part runs at least once. The journal of a workflow that has ended
is deleted; what it did is in the records.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from ..actions import Invoke
from ..clock import Clock, Timer
from ..store.port import Statement, Store
from .state import Event

FLUSH: Final = 0.02  # seconds

_FORGET: Final = ("workflow_delete", "workflow_events_delete")
_encode = msgspec.msgpack.Encoder().encode
_invoke = msgspec.msgpack.Decoder(Invoke).decode
_event = msgspec.msgpack.Decoder(Event).decode


class Left(Struct, frozen=True):
    """A workflow that an earlier server did not bring to its end."""

    invoke: Invoke
    top: bool  # no other workflow has begun it
    events: list[Event]


class Journal:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, list[Statement]] = {}  # by workflow, what is not handed to the store yet
        self._written: set[str] = set()  # workflows of which the store has something
        self._timer: Timer | None = None

    async def left(self) -> dict[str, Left]:
        """By id, what was under way when the server before this one ended."""
        found: dict[str, Left] = {}
        for identifier, top, body in await self._store.fetch("workflows_all"):
            found[identifier] = Left(_invoke(body), bool(top), [])
        for identifier, body in await self._store.fetch("workflow_events_all"):
            if identifier in found:
                found[identifier].events.append(_event(body))
        self._written.update(found)
        return found

    def begin(self, invoke: Invoke, *, top: bool) -> None:
        self._add(invoke.invocation, ("workflow_put", {"id": invoke.invocation, "top": top, "body": _encode(invoke)}))

    def add(self, identifier: str, number: int, event: Event) -> None:
        self._add(identifier, ("workflow_event_put", {"id": identifier, "number": number, "body": _encode(event)}))

    def end(self, identifier: str, *, within: str = "") -> None:
        """Forget a workflow. `within` is the one that has begun it, if any: what that one knows of the end is on disk before."""
        gone = [one for one in self._waiting.pop(identifier, ()) if one[0] in _FORGET]  # nested ones that ended before it
        if identifier in self._written:
            self._written.remove(identifier)
            gone += [(query, {"id": identifier}) for query in _FORGET]
        if within:
            for statement in gone:
                self._add(within, statement)
        elif gone:
            self._store.write_behind(*gone)

    def close(self) -> None:
        """Hand over what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    def _add(self, identifier: str, statement: Statement) -> None:
        self._waiting.setdefault(identifier, []).append(statement)
        if self._timer is None:
            self._timer = self._clock.call_later(FLUSH, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._waiting:
            self._written.update(self._waiting)
            self._store.write_behind(*(statement for statements in self._waiting.values() for statement in statements))
            self._waiting = {}
