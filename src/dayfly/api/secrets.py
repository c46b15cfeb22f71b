"""Secrets: written, listed and deleted here, never read."""

from typing import Annotated

from msgspec import Meta, Struct

from ..actions import DeleteSecret, ListSecrets, Page, PutSecret
from ..model.package import SecretInfo
from .endpoint import NAMESPACE, Endpoint
from .query import SECRET_NAME


class SecretBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """The value of a secret."""

    value: Annotated[str, Meta(max_length=65536)]


_ONE = NAMESPACE + "/secrets/{name}"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/secrets",
        summary="List the secrets: names and dates, never values",
        action=ListSecrets,
        gives=Page[SecretInfo],
    ),
    Endpoint(
        method="PUT",
        path=_ONE,
        summary="Store a secret",
        action=PutSecret,
        body=SecretBody,
        gives=SecretInfo,
        renamed={"name": SECRET_NAME},
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Delete a secret",
        action=DeleteSecret,
        renamed={"name": SECRET_NAME},
    ),
)
