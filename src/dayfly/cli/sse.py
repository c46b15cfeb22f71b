"""Server-sent events, read as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .errors import Unreachable

LINE_LIMIT = 4 << 20  # bytes; a longer one is no event of ours


class Event(NamedTuple):
    name: str
    data: str
    id: str = ""


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream of bytes; comments are skipped. Raises Unreachable for a line without an end."""
    name, identifier = "message", ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield Event(name, "\n".join(data), identifier)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            identifier = value  # stays for the events that follow, until another is given
        elif field == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > LINE_LIMIT:
            raise Unreachable("The server sent a line of log without an end.")
