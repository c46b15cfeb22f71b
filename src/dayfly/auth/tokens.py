"""Bearer tokens and other keys: how they look, and who holds them.

A token is `dft_` and 43 URL-safe characters, which is 256 random bits. The prefix lets secret scanners find one that leaked.
Because a token is random and long, a plain SHA-256 protects it as well as a slow password hash would, at a microsecond a request.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import BadInput
from ..model.identity import Identity
from .oidc import Oidc
from .private import read_private, write_private
from .signed import Signer

PREFIX = "dft_"
_TOKEN = re.compile(r"dft_[A-Za-z0-9_-]{43}\Z")
_FOUND_BY: Final = 8  # bytes of a digest: 64 bits of a hash nobody can choose, so the look-up tells nothing about a token


def new_token() -> str:
    """A fresh token."""
    return PREFIX + secrets.token_urlsafe(32)


def load_or_create(path: Path) -> str:
    """The token in that file, which is made with a fresh one (mode 0600) if it is missing.

    Of several processes that start at once, all get the same token. Raises errors.BadInput if the file belongs to somebody else,
    can be read by others, or does not hold a token.
    """
    try:
        token = read_private(path)
    except FileNotFoundError:
        write_private(path, new_token() + "\n", replace=False)
        token = read_private(path)
    if _TOKEN.match(token) is None:
        raise BadInput(f"The token file {path} does not hold a token.", hint=f"Remove {path} to get a new one.")
    return token


class _Holder(NamedTuple):
    digest: bytes
    identity: Identity
    expires: float  # seconds since the epoch; 0: never


class Keyring:
    """Knows which token belongs to whom, without keeping the tokens (a secret that signs has to be kept). In memory alone.

    `now` tells the seconds since the epoch.
    """

    def __init__(self, tokens: Mapping[str, Identity] | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._holders: dict[bytes, _Holder] = {}
        self._ids: dict[str, float] = {}  # of keys, and when they end
        self.oidc: Oidc | None = None  # reads those of an issuer elsewhere
        self.signer: Signer | None = None  # reads the tokens that nobody stores
        self._signers: dict[str, tuple[bytes, Identity, float]] = {}
        for token, identity in (tokens or {}).items():
            self.hold(sha256(token.encode()).digest(), identity)

    def hold(self, digest: bytes, identity: Identity, expires: float = 0.0) -> None:
        """`digest` is the SHA-256 of what will be shown."""
        self._holders[digest[:_FOUND_BY]] = _Holder(digest, identity, expires)
        self._ids[identity.id] = expires

    def hold_signer(self, access_key: str, secret: bytes, identity: Identity, expires: float = 0.0) -> None:
        self._signers[access_key] = (secret, identity, expires)
        self._ids[identity.id] = expires

    def trust(self, identifier: str) -> None:
        """What somebody of this id asked for holds, though no key has the id."""
        self._ids[identifier] = 0.0

    def drop(self, digest: bytes, identifier: str) -> None:
        """Nobody gets in any more with the key of this id."""
        self._holders.pop(digest[:_FOUND_BY], None)
        self._signers.pop(identifier, None)
        self._ids.pop(identifier, None)

    def holds(self, identifier: str) -> bool:
        """Whether a key of this id lets in."""
        if self.oidc is not None and identifier.startswith("oidc:"):
            return True  # the token that it asked for ends with its own
        expires = self._ids.get(identifier)
        return expires is not None and (not expires or expires > self._now())

    def identify(self, token: bytes) -> Identity | None:
        """Whose token (or `uuid:key`) this is; None if it is nobody's, or has expired."""
        if self.signer is not None and token.startswith(b"dfs_"):
            return self.signer.identify(token)
        if self.oidc is not None and token.startswith(b"ey"):
            return self.oidc.identify(token)
        digest = sha256(token).digest()
        holder = self._holders.get(digest[:_FOUND_BY])
        if holder is None or not hmac.compare_digest(digest, holder.digest):
            return None
        if holder.expires and holder.expires <= self._now():
            return None
        return holder.identity

    def secret(self, access_key: str, session: str = "") -> tuple[bytes, Identity] | None:
        """The secret to an access key, for requests that are signed. `session`: the token that was shown with it, if any."""
        if self.signer is not None and session.startswith("dfs_"):
            token = self.signer.complete(session.encode())
            holder = self.signer.identify(token)
            return (token, holder) if holder is not None else None
        found = self._signers.get(access_key)
        if found is None or (found[2] and found[2] <= self._now()):
            return None
        return found[0], found[1]
