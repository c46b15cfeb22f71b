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
from msgspec.structs import replace
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..actions import Action
from ..clock import Clock
from ..errors import BadInput, DayflyError, Internal, MethodNotAllowed
from ..model.identity import Identity
from . import body
from .edge import request_id
from .endpoint import Endpoint, Fields, Perform
from .problems import problem_response
from .query import read_path, read_query

Authenticate = Callable[[Iterable[tuple[bytes, bytes]], str, str, str], Identity]  # headers, host, peer, method

MAX_PACKAGE = 50 << 20  # bytes of an uploaded archive

log = logging.getLogger(__name__)


@dataclass
class Context:
    """What all paths share."""

    perform: Perform
    authenticate: Authenticate
    clock: Clock
    bodies: body.Budget
    max_package: int = MAX_PACKAGE

    def identify(self, request: Request) -> Identity:
        """Who sends this request. Raises errors.Unauthenticated or errors.Forbidden."""
        peer = request.client.host if request.client else ""
        identity = self.authenticate(request.scope["headers"], request.headers.get("host", ""), peer, request.method)
        return replace(identity, peer=peer)


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

        with context.bodies.claim() as take:
            if endpoint.body is not None:
                data = await body.read_body(request, body.MAX_DOCUMENT, body.JSON, take)
                document = body.decode_document(data, endpoint.body)
                fields |= {name: getattr(document, name) for name in document.__struct_fields__}
            elif endpoint.upload:
                fields[endpoint.upload] = await body.read_body(request, context.max_package, body.ARCHIVE, take)
                if not fields[endpoint.upload]:
                    raise BadInput("The body is empty.", hint="Send a zip archive or one source file.")
            if endpoint.answer is not None:
                return await endpoint.answer(endpoint, request, fields, ask, context.clock)
            return show(endpoint, await ask(endpoint.action(**fields)))

    def _parameters(self, endpoint: Endpoint, request: Request) -> Fields:
        now = self._context.clock.now()
        fields = read_path(request.path_params, endpoint.path_parameters, now)
        return fields | read_query(request.scope["query_string"], endpoint.query_parameters, now)


def show(endpoint: Endpoint, outcome: Any) -> Response:
    """The outcome as the endpoint shows it."""
    if endpoint.gives is None:
        return Response(status_code=204)
    status = 201 if endpoint.created is not None and endpoint.created(outcome) else 200
    return Response(msgspec.json.encode(endpoint.view(outcome)), status_code=status, media_type="application/json")


def unexpected(request: Request) -> Internal:
    """Log the exception under way, and say no more about it than where it is logged."""
    identifier = request_id(request.scope)
    log.exception("request %s failed: %s %s", identifier, request.method, request.scope["path"])
    return Internal("Dayfly failed at this request.", hint=f"The server's log has the reason, under request {identifier}.")
