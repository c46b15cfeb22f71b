"""A line of a function's output."""

from __future__ import annotations

from msgspec import Struct


class LogLine(Struct, frozen=True, kw_only=True):
    """One line, tagged. `stream` is stdout, stderr or platform (what Dayfly itself has to say about the call)."""

    time: float  # seconds since the epoch
    namespace: str
    function: str
    revision: int
    instance: str
    invocation: str  # empty: written while the code was loaded
    stream: str
    text: str
