"""Packages, namespaces and secrets as the API shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct


class Package(Struct, frozen=True, kw_only=True):
    """Source code as it was handed over, addressed by its content."""

    digest: str  # sha256 in hexadecimal
    size: int  # bytes, unpacked
    files: int
    created: bool = True  # False: the same content was there already


class Archive(Struct, frozen=True, kw_only=True):
    """What a package was uploaded as."""

    size: int  # bytes
    pieces: AsyncIterator[bytes]


class NamespaceInfo(Struct, frozen=True, kw_only=True):
    name: str
    created: float


class SecretInfo(Struct, frozen=True, kw_only=True):
    """A secret without its value."""

    name: str
    updated: float
