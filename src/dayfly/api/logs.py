"""Logs: read in pages, or followed as server-sent events.

An event's id is the line's time and how many lines of that same time came before it, so that a client that reconnects with
Last-Event-ID goes on with the very next line.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from ..actions import FollowLogs, Page, ReadLogs
from ..clock import Clock
from ..errors import BadInput
from ..model.log import LogLine
from .endpoint import NAMESPACE, Ask, Endpoint, Fields
from .serve import show
from .sse import EventStream, event

_EVENT_ID = re.compile(r"([0-9]{1,11}\.[0-9]{6})-([0-9]{1,9})\Z")


class Numbering:
    """Makes events of lines, in order. Lines up to `seen` (a time with six decimals, and the count within it) make none."""

    def __init__(self, seen: tuple[str, int] | None = None) -> None:
        self._seen = (float(seen[0]), seen[1]) if seen else (-1.0, 0)
        self._stamp = ""
        self._count = 0

    def __call__(self, line: LogLine) -> bytes:
        stamp = f"{line.time:.6f}"
        self._count = self._count + 1 if stamp == self._stamp else 0
        self._stamp = stamp
        if (float(stamp), self._count) <= self._seen:
            return b""
        return event("log", line, f"{stamp}-{self._count}")


async def _answer(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    follow = fields.pop("follow", "text/event-stream" in request.headers.get("accept", ""))
    if not follow or request.method == "HEAD":
        return show(endpoint, await ask(ReadLogs(**fields)))
    for name in ("limit", "cursor"):
        if name in fields:
            raise BadInput(f"`{name}` means nothing when the logs are followed.", hint=f"Leave `{name}` out.", field=name)
    seen = _seen(request)
    if seen is not None:
        fields["since"] = float(seen[0]) - 1e-6  # times are rounded in ids
    lines: AsyncIterator[LogLine] = await ask(FollowLogs(**fields))
    return EventStream(lines, Numbering(seen), clock)


def _seen(request: Request) -> tuple[str, int] | None:
    text = request.headers.get("last-event-id", "")
    if not text:
        return None
    match = _EVENT_ID.match(text)
    if match is None:
        raise BadInput(f"Last-Event-ID cannot be {text[:100]!r}.", hint="Send the id of the last event that you got.")
    return match[1], int(match[2])


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/logs",
        summary="Read log lines, oldest first, or follow them (Accept: text/event-stream, or `follow`)",
        action=ReadLogs,
        query=("function", "invocation", "since", "limit", "cursor", "follow"),
        gives=Page[LogLine],
        events=LogLine,
        answer=_answer,
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/invocations/{invocation}/logs",
        summary="Read the log lines of one invocation, or follow them",
        action=ReadLogs,
        operation="ReadInvocationLogs",
        query=("since", "limit", "cursor", "follow"),
        gives=Page[LogLine],
        events=LogLine,
        answer=_answer,
    ),
)
