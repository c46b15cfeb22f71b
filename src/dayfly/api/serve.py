"""One path of the API as an ASGI application: from request to action, from outcome to answer.

The order is fixed: method, identity, parameters, body, action. So nobody without an identity makes us read a body, and every failure,
wherever it happens, leaves as a problem document.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..actions import Action
from ..clock import Clock
from ..errors import BadInput, DayflyError, Internal, MethodNotAllowed, Throttled
from ..model.identity import Identity
from . import body
from .edge import request_id
from .endpoint import Ask, Endpoint, Fields, Perform
from .problems import problem_response
from .query import read_path, read_query

Authenticate = Callable[[Iterable[tuple[bytes, bytes]], str, str, str], Identity]  # headers, host, peer, method

MAX_PACKAGE = 50 << 20  # bytes of an uploaded archive
MAX_UPLOADS = 4  # archives in memory at the same time

log = logging.getLogger(__name__)


@dataclass
class Context:
    """What all paths share. `uploads` counts the archives being received."""

    perform: Perform
    authenticate: Authenticate
    clock: Clock
    max_package: int = MAX_PACKAGE
    uploads: int = 0

    def identify(self, request: Request) -> Identity:
        """Who sends this request. Raises errors.Unauthenticated or errors.Forbidden."""
        peer = request.client.host if request.client else ""
        return self.authenticate(request.scope["headers"], request.headers.get("host", ""), peer, request.method)


class Resource:
    """All methods of one path."""

    def __init__(self, endpoints: Iterable[Endpoint], context: Context) -> None:
        self._endpoints: Mapping[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}
        self._context = context
        methods = set(self._endpoints) | {"OPTIONS"} | ({"HEAD"} if "GET" in self._endpoints else set())
        self._allow = ", ".join(sorted(methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return  # nobody is left to answer
        except DayflyError as error:
            response = problem_response(error, request_id(scope))
        except Exception:
            response = problem_response(unexpected(request), request_id(scope))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": self._allow})
        endpoint = self._endpoints.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            raise MethodNotAllowed(
                f"{request.method} is not possible here.", hint=f"Possible: {self._allow}.", allow=self._allow
            )
        context = self._context
        identity = context.identify(request)
        fields = self._parameters(endpoint, request)

        def ask(action: Action) -> Awaitable[Any]:
            return context.perform(action, identity)

        if endpoint.body is not None:
            document = body.decode_document(await body.read_body(request, body.MAX_DOCUMENT, body.JSON), endpoint.body)
            fields |= {name: getattr(document, name) for name in document.__struct_fields__}
        if endpoint.upload:
            return await self._upload(endpoint, request, fields, ask)
        if endpoint.answer is not None:
            return await endpoint.answer(endpoint, request, fields, ask, context.clock)
        return show(endpoint, await ask(endpoint.action(**fields)))

    def _parameters(self, endpoint: Endpoint, request: Request) -> Fields:
        now = self._context.clock.now()
        fields = read_path(request.path_params, endpoint.path_parameters, now)
        return fields | read_query(request.scope["query_string"], endpoint.query_parameters, now)

    async def _upload(self, endpoint: Endpoint, request: Request, fields: Fields, ask: Ask) -> Response:
        context = self._context
        if context.uploads >= MAX_UPLOADS:
            raise Throttled("Too many uploads are under way.", hint="Try again when one has ended.", retry_after=1)
        context.uploads += 1
        try:
            data = await body.read_body(request, context.max_package, body.ARCHIVE)
            if not data:
                raise BadInput("The body is empty.", hint="Send a zip archive or one source file.")
            return show(endpoint, await ask(endpoint.action(**fields | {endpoint.upload: data})))
        finally:
            context.uploads -= 1


def show(endpoint: Endpoint, outcome: Any) -> Response:
    """The outcome as the endpoint shows it."""
    if endpoint.gives is None:
        return Response(status_code=204)
    status = 201 if endpoint.created is not None and endpoint.created(outcome) else 200
    return Response(msgspec.json.encode(endpoint.view(outcome)), status_code=status, media_type="application/json")


def unexpected(request: Request) -> Internal:
    """Log the exception under way, and say no more about it than where it is logged."""
    identifier = request_id(request.scope)
    log.exception("request %s failed: %s %s", identifier, request.method, request.url.path)
    return Internal("Dayfly failed at this request.", hint=f"The server's log has the reason, under request {identifier}.")
