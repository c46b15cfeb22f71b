"""The wide lane of dialects: an ASGI application that finds the route, performs its action and encodes the outcome.

It stands before the control API, which gets every request that no dialect knows.
"""

from __future__ import annotations

from typing import Any

from ..dialects.hook import Head, Reply
from ..errors import DayflyError, Internal, TooLarge
from .edge import Edge


class WideLane:
    """ASGI: dialects first, then `fallback`."""

    def __init__(self, edge: Edge, fallback: Any) -> None:
        self._edge = edge
        self._fallback = fallback

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._fallback(scope, receive, send)
            return
        client = scope.get("client")
        head = Head(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            scope["headers"],
            next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), ""),
            scope["scheme"],
            client[0] if client else "",
        )
        match = self._edge.find(head.method, head.host, head.path)
        if match is None:
            await self._fallback(scope, receive, send)
            return
        try:
            identity = self._edge.control(head.headers, head.host, head.peer, head.method)
            body = await self._collect(receive)
            action = match.route.decode(head, match.params, body)
            outcome = await self._edge.perform(action, identity)
            reply = match.route.encode(head, action, outcome)
        except DayflyError as error:
            reply = match.mount.dialect.fault(head, error)
        except Exception as error:
            reply = match.mount.dialect.fault(head, Internal(f"{type(error).__name__} while {head.method} was performed"))
            await _answer(send, reply)
            raise
        await _answer(send, reply)

    async def _collect(self, receive: Any) -> bytes:
        limit = self._edge.limits.body_bytes
        parts = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes", limit=limit)
            if not message.get("more_body", False):
                return b"".join(parts)


async def _answer(send: Any, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    headers.append((b"content-security-policy", b"sandbox"))  # pages that functions serve share our origin: not for their eyes
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
