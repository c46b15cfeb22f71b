"""Namespaces: tenancy boundaries."""

from ..actions import DeleteNamespace, ListNamespaces, Page, PutNamespace
from ..errors import Conflict, NotFound
from ..model.package import NamespaceInfo
from .endpoint import NAMESPACE, V1, Endpoint
from .query import NATIVE_NAME

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
