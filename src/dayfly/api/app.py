"""The control API as one Starlette application, built from the tables of the resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..clock import Clock, SystemClock
from ..errors import NotFound
from . import (
    audit,
    brokers,
    dead,
    functions,
    instances,
    invocations,
    keys,
    logs,
    namespaces,
    packages,
    pages,
    queues,
    revisions,
    secrets,
    time,
    triggers,
    usage,
)
from .body import MAX_BODIES, Budget
from .edge import Edge, request_id
from .endpoint import V1, Endpoint, Perform
from .problems import problem_response
from .serve import MAX_PACKAGE, Authenticate, Context, Resource

ENDPOINTS: tuple[Endpoint, ...] = (
    *namespaces.ENDPOINTS,
    *packages.ENDPOINTS,
    *functions.ENDPOINTS,
    *revisions.ENDPOINTS,
    *invocations.ENDPOINTS,
    *logs.ENDPOINTS,
    *secrets.ENDPOINTS,
    *keys.ENDPOINTS,
    *audit.ENDPOINTS,
    *usage.ENDPOINTS,
    *instances.ENDPOINTS,
    *brokers.ENDPOINTS,
    *triggers.ENDPOINTS,
    *queues.ENDPOINTS,
    *dead.ENDPOINTS,
    *time.ENDPOINTS,
)


def create_app(
    perform: Perform,
    authenticate: Authenticate,
    metrics: Callable[[], str],
    *,
    clock: Clock | None = None,
    max_package: int = MAX_PACKAGE,
    max_bodies: int = MAX_BODIES,
    healthy: Callable[[], bool] = lambda: True,
    runtimes: Sequence[str] = (),
) -> Starlette:
    """The application.

    `perform` is the core with authorisation around it. `authenticate` says whose request it is, e.g. `auth.gate.Gate.control`.
    `metrics` gives the text of `/metrics`. `max_package` is the limit of an upload, `max_bodies` of all request
    bodies in memory, in bytes. `healthy` is false while the server stops.
    `runtimes` are those this server has, for clients that choose one.
    """
    context = Context(perform, authenticate, clock or SystemClock(), Budget(max_bodies), max_package)
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    routes: list[BaseRoute] = [
        *pages.routes(context, ENDPOINTS, metrics, healthy, runtimes),
        *(Route(path, Resource(endpoints, context)) for path, endpoints in by_path.items()),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Edge)], exception_handlers={HTTPException: _no_such_path})
    app.router.redirect_slashes = False
    return app


async def _no_such_path(request: Request, error: Exception) -> Response:
    missing = NotFound(f"There is nothing at {request.scope['path'][:200]}.", hint=f"GET {V1}/docs lists what there is.")
    return problem_response(missing, request_id(request.scope))
