"""Keys: made here and shown once, listed without their secrets, revoked."""

from typing import Annotated

from msgspec import Meta, Struct

from ..actions import CreateKey, CreateToken, ListKeys, Page, RevokeKey
from ..errors import NotFound
from ..model.identity import Key, KeyKind, NewKey, NewToken, Role
from .endpoint import NAMESPACE, Endpoint
from .query import name

Roles = Annotated[tuple[Role, ...], Meta(min_length=1, max_length=len(Role))]


class KeyBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whom a key lets in, and what for."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    roles: Annotated[Roles, Meta(description="in this namespace")] = (Role.DEPLOYER,)
    elsewhere: Annotated[
        dict[Annotated[str, Meta(max_length=256)], Roles], Meta(max_length=100, description="roles in other namespaces")
    ] = {}
    kind: KeyKind = KeyKind.TOKEN
    ttl_s: Annotated[float, Meta(ge=0, le=315360000, description="seconds until it ends; 0: when it is revoked")] = 0.0


class TokenBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a short-lived token is for."""

    roles: Roles = (Role.INVOKER,)
    ttl_s: Annotated[float, Meta(gt=0, le=86400, description="seconds until it ends")] = 900.0


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=NAMESPACE + "/tokens",
        summary="Make a token for a short while; it allows no more than you may do",
        action=CreateToken,
        body=TokenBody,
        gives=NewToken,
        created=lambda _: True,
        raises=(),
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/keys",
        summary="List the keys that open this namespace, without their secrets",
        action=ListKeys,
        gives=Page[Key],
        raises=(),
    ),
    Endpoint(
        method="POST",
        path=NAMESPACE + "/keys",
        summary="Make a key; its secret is in the answer and never shown again",
        action=CreateKey,
        body=KeyBody,
        gives=NewKey,
        created=lambda _: True,
        raises=(NotFound,),
    ),
    Endpoint(
        method="DELETE",
        path=NAMESPACE + "/keys/{id}",
        summary="Revoke a key: it lets nobody in any more",
        action=RevokeKey,
        renamed={"id": name("the id of a key", r"^[A-Za-z0-9_-]{1,64}$(?!\n)")},
    ),
)
