"""Bearer tokens: made once, kept in a file only its owner can read, held in memory as hashes.

A token is `dft_` and 43 URL-safe characters, which is 256 random bits. The prefix lets secret scanners find one that leaked.
Because a token is random and long, a plain SHA-256 protects it as well as a slow password hash would, at a microsecond a request.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from ..errors import BadInput
from ..model.identity import Identity

PREFIX = "dft_"
_TOKEN = re.compile(r"dft_[A-Za-z0-9_-]{43}\Z")


def new_token() -> str:
    """A fresh token."""
    return PREFIX + secrets.token_urlsafe(32)


def load_or_create(path: Path) -> str:
    """The token in that file, which is made with a fresh one (mode 0600) if it is missing.

    Of several processes that start at once, all get the same token. Raises errors.BadInput if the file belongs to somebody else,
    can be read by others, or does not hold a token.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _create(path, new_token())
        return _read(path)


def _create(path: Path, token: str) -> None:
    # Written aside and linked into place: nobody ever reads half a token, and the first of two writers wins.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(temporary)


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"The token file {path} cannot be read: {error.strerror}.") from error
    try:
        _check(path, os.fstat(descriptor))
        token = os.read(descriptor, 256).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    if _TOKEN.match(token) is None:
        raise BadInput(f"The token file {path} does not hold a token.", hint=f"Remove {path} to get a new one.")
    return token


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path} is not a regular file, so it cannot hold the token.", hint=f"Remove {path}.")
    if status.st_uid != os.geteuid():
        raise BadInput(f"The token file {path} belongs to another user.", hint=f"Remove {path}, or run as its owner.")
    if status.st_mode & 0o077:
        raise BadInput(
            f"The token file {path} is open to other users of this machine.",
            hint=f"Run `chmod 600 {path}`, or remove the file to get a new token.",
        )


class Keyring:
    """Knows which token belongs to whom, without keeping the tokens (a secret that signs has to be kept)."""

    def __init__(self, tokens: Mapping[str, Identity], signers: Mapping[str, tuple[bytes, Identity]] | None = None) -> None:
        """`signers`: access key -> secret and holder."""
        self._signers = dict(signers or {})
        self._holders = [(sha256(token.encode()).digest(), identity) for token, identity in tokens.items()]

    def identify(self, token: bytes) -> Identity | None:
        """Whose token this is. Takes the same time for a wrong token as for a right one."""
        digest = sha256(token).digest()
        found = None
        for expected, identity in self._holders:
            if hmac.compare_digest(digest, expected):
                found = identity
        return found

    def secret(self, access_key: str) -> tuple[bytes, Identity] | None:
        """The secret to an access key, for requests that are signed."""
        return self._signers.get(access_key)
