"""Secrets: written, listed and deleted here, never read."""

from typing import Annotated

from msgspec import Meta, Struct

from ..actions import DeleteSecret, ListSecrets, Page, PutSecret, RotateSecretKey
from ..errors import Unavailable
from ..model.package import SecretInfo
from .endpoint import NAMESPACE, V1, Endpoint
from .query import SECRET_NAME


class SecretBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """The value of a secret."""

    value: Annotated[str, Meta(max_length=65536)]


_ONE = NAMESPACE + "/secrets/{name}"


class Rotated(Struct, kw_only=True):
    """How many values were encrypted anew."""

    values: int


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=V1 + "/secrets/rotate-key",
        summary="Encrypt all secrets anew, with a new key",
        action=RotateSecretKey,
        gives=Rotated,
        view=lambda count: Rotated(values=count),
        raises=(Unavailable,),
    ),
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
