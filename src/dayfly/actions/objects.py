"""Buckets and their objects."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import field

from .base import Action

__all__ = [
    "ComposeObject",
    "DeleteBucket",
    "DeleteObjects",
    "GetBucket",
    "GetObject",
    "HeadObject",
    "ListBuckets",
    "ListObjects",
    "PutBucket",
    "PutObject",
]


class PutBucket(Action, frozen=True, kw_only=True):
    """Create a bucket, or change its labels. -> model.bucket.Bucket"""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    new: bool = False  # raise Conflict if it is there


class GetBucket(Action, frozen=True, kw_only=True):
    """-> model.bucket.Bucket"""

    name: str


class ListBuckets(Action, frozen=True, kw_only=True):
    """By name. -> Page of model.bucket.Bucket"""

    prefix: str = ""


class DeleteBucket(Action, frozen=True, kw_only=True):
    """Raises Conflict while there is an object in it. -> None"""

    name: str


class PutObject(Action, frozen=True, kw_only=True):
    """Store bytes under a key, in the place of what was there. It is on disk when this returns. -> model.bucket.Object"""

    name: str  # of the bucket
    key: str
    body: AsyncIterator[bytes]
    content_type: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)
    md5: str = ""  # of the bytes in hex: with other bytes, nothing is stored
    expect: str | None = None  # the etag that it has; "": it is not there. Else Conflict


class ComposeObject(Action, frozen=True, kw_only=True):
    """Put the bytes of objects together as one object, whatever becomes of those. With one source: a copy. -> model.bucket.Object"""

    name: str  # of the bucket
    key: str
    sources: tuple[tuple[str, str], ...]  # bucket and key of each
    start: int = 0  # with one source: only a part of it
    length: int = -1  # bytes; -1: to the end
    content_type: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)
    etag: str = ""  # in the place of the MD5
    expect: str | None = None  # as in PutObject


class HeadObject(Action, frozen=True, kw_only=True):
    """-> model.bucket.Object"""

    name: str  # of the bucket
    key: str


class GetObject(Action, frozen=True, kw_only=True):
    """An object with its bytes, from `start` on. One that is replaced meanwhile is read to its end as it was. -> model.bucket.Download"""

    name: str  # of the bucket
    key: str
    start: int = 0  # negative: so many bytes at the end
    length: int = -1  # bytes at most; -1: all


class ListObjects(Action, frozen=True, kw_only=True):
    """Objects by key, in the order of their bytes. -> model.bucket.Listing"""

    name: str  # of the bucket
    prefix: str = ""
    delimiter: str = ""  # keys that have it behind the prefix are told of as folders
    cursor: str = ""  # or any key: what comes behind it
    limit: int = 1000


class DeleteObjects(Action, frozen=True, kw_only=True):
    """What is not there is no error. -> how many there were"""

    name: str  # of the bucket
    keys: tuple[str, ...]
