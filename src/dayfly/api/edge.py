"""What every request passes first: an id, the path as it was sent, and the headers that every answer carries.

Starlette routes on the path with its percent-encoding kept: an encoded slash stays inside its segment, and no two spellings of a path can
be taken for each other. Segments are decoded once, when they are read.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..model.ids import new_id

REQUEST_ID = "dayfly.request_id"  # key in the scope

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = b"content-security-policy"
_OWN_ORIGIN = (
    _POLICY,
    b"sandbox; default-src 'none'",
)  # pages that functions serve share our origin: they must not look inside


class Edge:
    """ASGI middleware. The answer says the request's id in X-Request-Id; a sound one from the client is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        identifier = given if _GIVEN_ID.match(given) else new_id().encode()
        head = scope["method"] == "HEAD"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"x-request-id", identifier), *_ALWAYS]
                if not any(name == _POLICY for name, _ in headers):
                    headers.append(_OWN_ORIGIN)
                message = {**message, "headers": headers}
            elif head:
                message = {**message, "body": b""}
            await send(message)

        raw = scope.get("raw_path")
        path = raw.decode("latin-1") if raw else quote(scope["path"])
        await self._app({**scope, "path": path, REQUEST_ID: identifier.decode()}, receive, sending)


def request_id(scope: Scope) -> str:
    """The id of this request."""
    return str(scope.get(REQUEST_ID, ""))
