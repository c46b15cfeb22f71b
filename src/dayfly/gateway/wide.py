"""The wide lane of dialects: an ASGI application that finds the route, performs its action and encodes the outcome.

It stands before the control API, which gets every request that no dialect knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from ..dialects.hook import Do, Head, Reply
from ..errors import BadInput, DayflyError, Internal, TooLarge
from .edge import Edge, Match


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
            if match.route.receive is not None:
                head.identity = self._edge.identify_manager(match.mount, head, None)
                reply = await match.route.receive(head, match.params, _pieces(receive), self._doer(head))
            else:
                signs = self._edge.asks_login and match.mount.dialect.authenticate is not None
                if not signs:  # nobody unknown makes us read a body
                    head.identity = self._edge.identify_manager(match.mount, head, b"")
                body = await self._collect(receive, match.route.body_bytes or self._edge.limits.body_bytes)
                if signs:
                    head.identity = self._edge.identify_manager(match.mount, head, body)
                reply = await self._reply(match, head, body)
        except DayflyError as error:
            reply = match.mount.dialect.fault(head, error)
        except Exception as error:
            reply = match.mount.dialect.fault(head, Internal(f"{type(error).__name__} while {head.method} was performed"))
            await _answer(send, reply)
            raise
        await _answer(send, reply)

    async def _reply(self, match: Match, head: Head, body: bytes) -> Reply:
        route, do = match.route, self._doer(head)
        if route.handle is not None:
            return await route.handle(head, match.params, body, do)
        assert route.decode is not None
        assert route.encode is not None
        action = route.decode(head, match.params, body)
        return route.encode(head, action, await do(action))

    def _doer(self, head: Head) -> Do:
        """Performs actions for whoever sent the request."""
        assert head.identity is not None
        identity = replace(head.identity, peer=head.peer)
        return lambda action: self._edge.perform(action, identity)

    async def _collect(self, receive: Any, limit: int) -> bytes:
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


async def _pieces(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the client went away in the middle of its request")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _answer(send: Any, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    for line in reply.lines.splitlines():
        name, _, value = line.encode("latin-1", "replace").partition(b": ")
        headers.append((name, value))
    headers.append((b"content-length", str(len(reply.body) or reply.length).encode()))
    headers.append((b"content-security-policy", b"sandbox"))  # pages that functions serve share our origin: not for their eyes
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.pieces is not None:
        async with aclosing(reply.pieces) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": reply.body})
