"""What belongs to no resource: the entrance, health, metrics, and the description of the API itself.

Health and the description are open to anybody: they say nothing about who uses this server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..errors import DayflyError, Forbidden, MethodNotAllowed
from ..model.identity import EVERYWHERE, Identity
from . import reference
from .edge import request_id
from .endpoint import V1, Endpoint
from .openapi import describe
from .problems import problem_response
from .serve import Context, unexpected

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ANYBODY = Identity(name="anybody")
_READS = ("GET", "HEAD")
_ALLOW = "GET, HEAD, OPTIONS"


class Page:
    """A document that is read with GET. `context` is given if an identity is needed; else everybody may read it."""

    def __init__(self, make: Callable[[Identity], Response], context: Context | None = None) -> None:
        self._make = make
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = self._respond(request)
        except DayflyError as error:
            response = problem_response(error, request_id(scope))
        except Exception:
            response = problem_response(unexpected(request), request_id(scope))
        await response(scope, receive, send)

    def _respond(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": _ALLOW})
        if request.method not in _READS:
            raise MethodNotAllowed(f"{request.method} is not possible here.", hint=f"Possible: {_ALLOW}.", allow=_ALLOW)
        return self._make(self._context.identify(request) if self._context is not None else ANYBODY)


def routes(
    context: Context,
    endpoints: Sequence[Endpoint],
    metrics: Callable[[], str],
    healthy: Callable[[], bool],
    runtimes: Sequence[str],
) -> list[BaseRoute]:
    """The routes of these pages."""

    @cache
    def description() -> bytes:
        return msgspec.json.encode(describe(endpoints, __version__))

    @cache
    def manual() -> str:
        return reference.render(describe(endpoints, __version__))

    def measurements(identity: Identity) -> Response:
        if EVERYWHERE not in identity.grants:
            raise Forbidden("Metrics tell of all namespaces, and you may see only some.")
        return Response(metrics(), media_type=METRICS_TYPE)

    def entrance(identity: Identity) -> Response:
        links = {
            "namespaces": f"{V1}/namespaces",
            "functions": f"{V1}/namespaces/default/functions",
            "openapi": f"{V1}/openapi.json",
            "docs": f"{V1}/docs",
            "health": "/healthz",
            "metrics": "/metrics",
        }
        return _json({"name": "Dayfly", "version": __version__, "runtimes": runtimes, "links": links})

    def health(identity: Identity) -> Response:
        return _json({"status": "ok"}) if healthy() else _json({"status": "stopping"}, 503)

    return [
        Route("/healthz", Page(health)),
        Route("/metrics", Page(measurements, context)),
        Route(V1, Page(entrance, context)),
        Route(V1 + "/openapi.json", Page(lambda identity: Response(description(), media_type="application/json"))),
        Route(V1 + "/docs", Page(lambda identity: HTMLResponse(manual(), headers=reference.HEADERS))),
    ]


def _json(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status_code=status, media_type="application/json")
