"""Tokens that nobody stores: what they allow is written in them, and signed.

    dfs_ base64url(claims as MessagePack) . base64url(HMAC-SHA256 of everything before the dot)

There is one algorithm and no header that could name another one. A short-lived token never allows more than who asked for it may do,
and dies with the key it was asked with. A token of an instance lives as long as the instance, and says which function calls.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from ..model.identity import Identity, Role

PREFIX: Final = "dfs_"
MAX_TTL: Final = 86400.0  # seconds; what is to live longer is a key, which can be revoked
_REMEMBERED: Final = 4096  # tokens whose signature was checked
_MAX_BYTES: Final = 8192


class Claims(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says."""

    name: str
    id: str
    grants: Mapping[str, tuple[Role, ...]]
    expires: float = 0.0  # seconds since the epoch; 0: with its instance
    parent: str = ""  # id of the key it was asked with
    revision: str = ""  # key of the revision that the instance runs, e.g. `shop/cart@3`
    instance: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claims).decode


class Signer:
    """Makes and reads such tokens. In memory alone; all cells with the same key read each other's."""

    def __init__(
        self,
        key: bytes,
        *,
        now: Callable[[], float],
        holds: Callable[[str], bool],
        runs: Callable[[str, str], bool],
    ) -> None:
        """`holds(id)`: whether a key of that id still lets in; `runs(revision key, id)`: whether that instance is there."""
        self._key = key
        self._now = now
        self._holds = holds
        self._runs = runs
        self._known: dict[bytes, tuple[Claims, Identity]] = {}

    def mint(self, claims: Claims) -> str:
        body = PREFIX.encode() + base64.urlsafe_b64encode(_encode(claims)).rstrip(b"=")
        return (body + b"." + self._mac(body)).decode()

    def mint_for_instance(self, namespace: str, function: str, revision: str, instance: str) -> str:
        """For a function that calls the platform, in its own namespace. `revision` is the revision's key."""
        grants = {namespace: (Role.FUNCTION,)}
        name = f"{namespace}/{function}"
        claims = Claims(name=name, id=f"function:{name}", grants=grants, revision=revision, instance=instance)
        return self.mint(claims)

    def complete(self, body: bytes) -> bytes:
        """The whole token whose body was shown. Who shows it as the secret of a signature needs to have the rest, too."""
        return body + b"." + self._mac(body)

    def identify(self, token: bytes) -> Identity | None:
        """Whose token this is; None if it is forged, has expired, or what it depends on has ended."""
        known = self._known.get(token)
        if known is None:
            known = self._read(token)
            if known is None:
                return None
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[token] = known
        claims, identity = known
        if claims.instance:
            return identity if self._runs(claims.revision, claims.instance) else None
        return identity if claims.expires > self._now() and self._holds(claims.parent) else None

    def _read(self, token: bytes) -> tuple[Claims, Identity] | None:
        body, dot, mac = token.rpartition(b".")
        if not dot or len(token) > _MAX_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            return None
        try:
            claims = _decode(base64.urlsafe_b64decode(body[len(PREFIX) :] + b"=="))
        except (msgspec.MsgspecError, binascii.Error):  # signed by another version of ours
            return None
        return claims, Identity(
            name=claims.name, id=claims.id, grants=claims.grants, expires=claims.expires, instance=claims.instance
        )

    def _mac(self, body: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, "sha256")).rstrip(b"=")
