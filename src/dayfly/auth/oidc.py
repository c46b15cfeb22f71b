"""OpenID Connect: identities that somebody else vouches for, by signed JSON Web Tokens (RFC 7519, RFC 8725).

The keys of the issuer come from a file or from its JWKS address, and are fetched again when they are an hour old or a token names one
that is not there. Only algorithms with a public key are allowed, and only those that are listed: a token cannot choose another one,
and a public key is never taken for a shared secret. Checking a signature takes a tenth of a millisecond, so a token that was good is
remembered until it ends.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from ..errors import BadInput
from ..model.identity import Identity, Role
from .hosts import is_loopback

ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
MAX_TOKEN: Final = 16 << 10  # bytes
MAX_JWKS: Final = 1 << 20  # bytes
FRESH: Final = 3600.0  # seconds
AGAIN: Final = 30.0  # seconds between two fetches at least
LEEWAY: Final = 60  # seconds that clocks may differ
_REMEMBERED: Final = 4096  # tokens
_TIMEOUT: Final = 10.0  # seconds

log = logging.getLogger("dayfly.auth")


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to believe what. Read from a JSON file."""

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    jwks: Annotated[str, Meta(min_length=1, description="https address or path of a JSON Web Key Set")]
    algorithms: Annotated[tuple[str, ...], Meta(min_length=1)] = ("RS256", "ES256", "EdDSA")
    name_claim: str = "sub"
    grants_claim: str = "groups"  # a text or a list of texts
    grants: dict[str, dict[str, tuple[Role, ...]]] = {}  # value of that claim, `*`: of any token -> namespace -> roles


def read(path: Path) -> Issuer:
    """Raises BadInput."""
    try:
        issuer = msgspec.json.decode(path.read_bytes(), type=Issuer)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{path} does not describe an issuer: {error}") from None
    wrong = [name for name in issuer.algorithms if name not in ASYMMETRIC]
    if wrong:
        raise BadInput(f"{path}: {wrong[0]} is no algorithm with a public key", hint=f"There are {', '.join(ASYMMETRIC)}.")
    parts = urlsplit(issuer.jwks)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise BadInput(f"{path}: keys that come over plain http can be exchanged on the way", hint="Use https, or a file.")
    return issuer


class Oidc:
    """Knows whose token is whose. `open` fetches the keys."""

    def __init__(self, issuer: Issuer, *, now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._now = now
        self._keys: Any = None
        self._fetched = 0.0  # seconds since the epoch
        self._fetching: asyncio.Task[None] | None = None
        self._known: dict[bytes, Identity] = {}

    async def open(self) -> None:
        """Raises BadInput if the keys cannot be had."""
        try:
            self._keys = await asyncio.to_thread(_fetch, self._issuer.jwks)
        except ModuleNotFoundError as error:
            raise BadInput(f"OpenID Connect needs {error.name}", hint="Install it: pip install 'dayfly[oidc]'") from None
        except Exception as error:
            raise BadInput(f"the keys of {self._issuer.issuer} cannot be read from {self._issuer.jwks}: {error}") from None
        self._fetched = self._now()

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def identify(self, token: bytes) -> Identity | None:
        """Whose token this is; None if it is not the issuer's, not for us, or over."""
        now = self._now()
        known = self._known.get(token)
        if known is not None:
            return known if known.expires > now else None
        if len(token) > MAX_TOKEN:
            return None
        claims = self._verified(token, now)
        if claims is None:
            return None
        identity = self._identity(claims)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[token] = identity
        return identity

    def _verified(self, token: bytes, now: float) -> dict[str, Any] | None:
        from joserfc import errors, jwt

        issuer = self._issuer
        if now - self._fetched > FRESH:
            self._refresh(now)
        try:
            claims = jwt.decode(token, self._keys, algorithms=list(issuer.algorithms)).claims
            jwt.JWTClaimsRegistry(
                now=int(now),
                leeway=LEEWAY,
                iss={"essential": True, "value": issuer.issuer},
                aud={"essential": True, "value": issuer.audience},
                exp={"essential": True},
                sub={"essential": True},
            ).validate(claims)
        except errors.InvalidKeyIdError:
            if now - self._fetched > AGAIN:
                self._refresh(now)  # the issuer may have a new key; who asks again is let in
            return None
        except (errors.JoseError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        issuer = self._issuer
        values = claims.get(issuer.grants_claim, ())
        values = [values] if isinstance(values, str) else values if isinstance(values, list) else []
        grants: dict[str, tuple[Role, ...]] = {}
        for value in ("*", *(value for value in values if isinstance(value, str) and value != "*")):
            for namespace, roles in issuer.grants.get(value, {}).items():
                grants[namespace] = tuple(dict.fromkeys((*grants.get(namespace, ()), *roles)))
        subject = str(claims["sub"])
        name = str(claims.get(issuer.name_claim, subject))[:128]
        return Identity(
            name=name if name.isprintable() else subject[:128],
            id=f"oidc:{issuer.issuer}#{subject}",
            grants=grants,
            expires=float(claims["exp"]),
        )

    def _refresh(self, now: float) -> None:
        if self._fetching is None or self._fetching.done():
            self._fetched = now
            self._fetching = asyncio.ensure_future(self._fetch_again())

    async def _fetch_again(self) -> None:
        try:
            self._keys = await asyncio.to_thread(_fetch, self._issuer.jwks)
            self._known.clear()  # among them may be those of a key that was withdrawn
        except Exception as error:
            log.warning("the keys of %s stay as they were: %s", self._issuer.issuer, error)


def _fetch(where: str) -> Any:
    from joserfc.jwk import KeySet

    if where.startswith(("https://", "http://")):
        with _opener().open(where, timeout=_TIMEOUT) as answer:
            data = answer.read(MAX_JWKS + 1)
    else:
        data = Path(where).read_bytes()
    if len(data) > MAX_JWKS:
        raise ValueError(f"more than {MAX_JWKS} bytes")
    found = msgspec.json.decode(data, type=dict[str, Any])["keys"]
    usable = [key for key in found if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"]
    if not usable:
        raise ValueError("no key in it signs")
    return KeySet.import_key_set({"keys": usable})


def _opener() -> urllib.request.OpenerDirector:
    """Follows no redirects: they could lead from https to elsewhere."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    return urllib.request.build_opener(Stay)
