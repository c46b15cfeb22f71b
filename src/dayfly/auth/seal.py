"""Encryption at rest: AES-256-GCM with keys from a file or the environment.

A sealed value is one byte of version, four that name the key (the beginning of its SHA-256), twelve of nonce, then ciphertext
and tag. The label, e.g. `secret/default/db`, is authenticated too: a row of the database cannot be passed off as another one.

The file `DATA/key` (mode 0600) holds a key a line, in base64; the first one seals, all of them open. DAYFLY_SECRET_KEY, with commas
between the keys, stands instead of the file where keys come from elsewhere. Nonces are random: one key is good for 2^32 values
(NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from ..errors import BadInput, Internal
from .private import read_private, write_private

VARIABLE = "DAYFLY_SECRET_KEY"
KEY_BYTES = 32
_VERSION = b"\x01"
_HEAD = 1 + 4
_NONCE = 12


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


class Seal:
    """Seals with the first of its keys, opens with any."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self.keys = list(keys)

    def seal(self, value: bytes, label: str) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self.keys[0]
        head = _VERSION + _name(key)
        nonce = os.urandom(_NONCE)
        return head + nonce + AESGCM(key).encrypt(nonce, value, head + label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        """Raises Internal if the key is not there, or if it was not sealed under this label."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        head, nonce, rest = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        key = next((key for key in self.keys if head == _VERSION + _name(key)), None)
        if key is None:
            raise Internal(
                f"{label} was encrypted with a key that is not there",
                hint=f"Put the key back into the file `key` of the data folder, or into {VARIABLE}.",
            )
        try:
            return AESGCM(key).decrypt(nonce, rest, head + label.encode())
        except InvalidTag:
            raise Internal(f"{label} was changed in the database, or moved there from another row") from None

    def current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the key that seals now."""
        return sealed[:_HEAD] == _VERSION + _name(self.keys[0])


def load(path: Path) -> Seal:
    """The keys of DAYFLY_SECRET_KEY; else those in the file, which is made with a fresh one if it is missing.

    Raises BadInput if they are no keys, or if others can read the file.
    """
    given = os.environ.get(VARIABLE, "")
    if given:
        return Seal(_parse(given.split(","), VARIABLE))
    try:
        lines = read_private(path)
    except FileNotFoundError:
        write_private(path, _line(new_key()), replace=False)  # of two that start at once, the first one's stands
        lines = read_private(path)
    return Seal(_parse(lines.split(), str(path)))


def save(path: Path, keys: Sequence[bytes]) -> None:
    """Replace the file by one with these keys, in one step."""
    write_private(path, "".join(map(_line, keys)))


def _line(key: bytes) -> str:
    return base64.b64encode(key).decode() + "\n"


def _parse(texts: Sequence[str], where: str) -> list[bytes]:
    keys = []
    for text in texts:
        try:
            keys.append(base64.b64decode(text.strip(), altchars=b"-_" if set(text) & {"-", "_"} else None, validate=True))
        except binascii.Error:
            keys.append(b"")
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise BadInput(f"{where} does not hold keys of {KEY_BYTES} bytes in base64.", hint="Make one: openssl rand -base64 32")
    return keys


def _name(key: bytes) -> bytes:
    return sha256(key).digest()[:4]
