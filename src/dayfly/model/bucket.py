"""Objects: named bytes in buckets, for functions and for what is too large for a message."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from msgspec import Struct, field

from .names import END

BUCKET_PATTERN = rf"^[a-z0-9][a-z0-9._-]{{1,61}}[a-z0-9]{END}"  # as S3 has it, and `_`
KEY_BYTES = 1024  # of a key in UTF-8
ABOVE = "\U0010ffff"  # sorts behind whatever else may stand in a key
METADATA_BYTES = 8 << 10  # names and values

_BUCKET = re.compile(BUCKET_PATTERN)


def valid_bucket(name: str) -> bool:
    """Whether a bucket may have this name. One that begins with a dot belongs to a dialect and is listed to nobody else."""
    return _BUCKET.match(name.removeprefix(".")) is not None


def valid_key(key: str) -> bool:
    """Whether an object may have this key: 1 to 1024 bytes of text."""
    try:
        return 0 < len(key.encode()) <= KEY_BYTES and "\0" not in key and ABOVE not in key
    except UnicodeEncodeError:
        return False


class Bucket(Struct, frozen=True, kw_only=True):
    namespace: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    created: float = 0.0


class Object(Struct, frozen=True, kw_only=True):
    """What is known of an object besides its bytes. It is never changed: who puts one again makes another."""

    namespace: str
    bucket: str
    key: str
    version: str  # of these bytes; another one for every put
    size: int  # bytes
    etag: str  # MD5 of the bytes in hex, unless who put it gave another one
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)  # whatever who put it wants to know again
    modified: float = 0.0


class Download(Struct, frozen=True):
    """An object and its bytes, or those from `start` on. Whoever asks reads all of `pieces`, or closes it."""

    object: Object
    start: int
    length: int
    pieces: AsyncIterator[bytes]


class Listing(Struct, frozen=True, kw_only=True):
    """A piece of a list of objects. `folders` are the beginnings of keys up to the delimiter, each standing for all keys behind it."""

    items: tuple[Object, ...]
    folders: tuple[str, ...] = ()
    cursor: str = ""  # empty on the last one
