"""Namespaces: tenancy boundaries."""

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from ..actions import DeleteNamespace, GetQuota, ListNamespaces, Page, PutNamespace, SetQuota
from ..clock import Clock
from ..errors import Conflict, NotFound
from ..model.package import NamespaceInfo
from ..model.quota import Quota, QuotaInfo
from .endpoint import NAMESPACE, V1, Ask, Endpoint, Fields
from .query import NATIVE_NAME
from .serve import show


async def _one(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    name = fields["namespace"]
    for namespace in (await ask(ListNamespaces())).items:
        if namespace.name == name:
            return show(endpoint, namespace)
    raise NotFound(f"There is no namespace {name!r} that you may see.", hint=f"PUT {V1}/namespaces/{name} creates it.")


class QuotaBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Bounds; what is left out has none."""

    quota: Quota


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
        method="GET",
        path=NAMESPACE + "/quota",
        summary="Show what the namespace may use at most, and what it uses",
        action=GetQuota,
        gives=QuotaInfo,
    ),
    Endpoint(
        method="PUT",
        path=NAMESPACE + "/quota",
        summary="Bound what the namespace may use; for who owns the whole server",
        action=SetQuota,
        body=QuotaBody,
        gives=QuotaInfo,
    ),
    Endpoint(
        method="DELETE",
        path=NAMESPACE,
        summary="Delete an empty namespace",
        action=DeleteNamespace,
        raises=(NotFound, Conflict),
    ),
)
