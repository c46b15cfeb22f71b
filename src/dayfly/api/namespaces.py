"""Namespaces: tenancy boundaries."""

from starlette.requests import Request
from starlette.responses import Response

from ..actions import DeleteNamespace, ListNamespaces, Page, PutNamespace
from ..clock import Clock
from ..errors import Conflict, NotFound
from ..model.package import NamespaceInfo
from .endpoint import NAMESPACE, V1, Ask, Endpoint, Fields
from .query import NATIVE_NAME
from .serve import show


async def _one(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    name = fields["namespace"]
    for namespace in (await ask(ListNamespaces())).items:
        if namespace.name == name:
            return show(endpoint, namespace)
    raise NotFound(f"There is no namespace {name!r} that you may see.", hint=f"PUT {V1}/namespaces/{name} creates it.")


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=V1 + "/namespaces",
        summary="List the namespaces that you may see",
        action=ListNamespaces,
        gives=Page[NamespaceInfo],
        raises=(),
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE,
        summary="Show a namespace",
        action=ListNamespaces,
        operation="GetNamespace",
        gives=NamespaceInfo,
        answer=_one,
    ),
    Endpoint(
        method="PUT",
        path=NAMESPACE,
        summary="Create a namespace; nothing happens if it exists",
        action=PutNamespace,
        gives=NamespaceInfo,
        raises=(),
        renamed={"namespace": NATIVE_NAME},
    ),
    Endpoint(
        method="DELETE",
        path=NAMESPACE,
        summary="Delete an empty namespace",
        action=DeleteNamespace,
        raises=(NotFound, Conflict),
    ),
)
