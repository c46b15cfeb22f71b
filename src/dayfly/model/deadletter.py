"""What could not be delivered."""

from __future__ import annotations

from msgspec import Struct

from .delivery import Condition
from .event import Event


class Dead(Struct, frozen=True, kw_only=True):
    """An item whose deliveries are over without success. It can be looked into, redriven and purged."""

    id: str
    namespace: str
    trigger: str  # of which; empty for an asynchronous call or a message
    function: str  # that would have got it, if it was one
    queue: str  # it was a message of
    condition: Condition
    reason: str
    attempts: int
    created: float  # seconds since the epoch
    ended: float
    event: Event | None = None  # only in the answer to GetDead
    input: bytes | None = None  # of a call, or the body of a message; only in the answer to GetDead
