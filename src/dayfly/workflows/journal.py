"""The journal of workflows under way: what was asked, and what has happened since.

It is written behind: nobody waits for the disk between two parts. What a crash takes along is done again, so a part runs at least once.
The journal of a workflow that has ended is deleted; what it did is in the records.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ..actions import Invoke
from ..store.port import Store
from .state import Event

_encode = msgspec.msgpack.Encoder().encode
_invoke = msgspec.msgpack.Decoder(Invoke).decode
_event = msgspec.msgpack.Decoder(Event).decode


class Left(Struct, frozen=True):
    """A workflow that an earlier server did not bring to its end."""

    invoke: Invoke
    top: bool  # no other workflow has begun it
    events: list[Event]


class Journal:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def left(self) -> dict[str, Left]:
        """By id, what was under way when the server before this one ended."""
        found: dict[str, Left] = {}
        for identifier, top, body in await self._store.fetch("workflows_all"):
            found[identifier] = Left(_invoke(body), bool(top), [])
        for identifier, body in await self._store.fetch("workflow_events_all"):
            if identifier in found:
                found[identifier].events.append(_event(body))
        return found

    def begin(self, invoke: Invoke, *, top: bool) -> None:
        self._store.write_behind(("workflow_put", {"id": invoke.invocation, "top": top, "body": _encode(invoke)}))

    def add(self, identifier: str, number: int, event: Event) -> None:
        self._store.write_behind(("workflow_event_put", {"id": identifier, "number": number, "body": _encode(event)}))

    def end(self, identifier: str) -> None:
        self._store.write_behind(("workflow_events_delete", {"id": identifier}), ("workflow_delete", {"id": identifier}))
