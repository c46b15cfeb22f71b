"""Which of S3's operations a request is, and what it says, by the service's model.

Paths do not tell operations apart: the members of the query and the headers that an operation requires do. Of all that fit, the one
that requires most is meant (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from ...hook import Head
from ..faults import AwsError
from ..service import Operation, model, operations
from .xml import decode

LOCAL = ".localhost"  # BUCKET.localhost is a bucket, as BUCKET.s3.amazonaws.com is one of AWS


class Asked(Struct, frozen=True):
    """A request for S3."""

    operation: Operation
    bucket: str
    key: str
    args: dict[str, Any]  # by the model's names; without what stands in the body


class _Candidate(Struct, frozen=True):
    operation: Operation
    query: tuple[tuple[str, str], ...]  # that the request must have; an empty value: any
    headers: tuple[bytes, ...]

    def fits(self, query: Mapping[str, str], head: Head) -> bool:
        return all(name in query and value in ("", query[name]) for name, value in self.query) and all(
            head.get(name) for name in self.headers
        )


def asked(head: Head) -> Asked:
    """Raises AwsError."""
    bucket, key = _place(head)
    try:
        query = dict(parse_qsl(head.query, keep_blank_values=True, errors="strict"))
    except ValueError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.", 400) from None
    fitting = (each for each in _candidates()[head.method, bool(bucket) + bool(key)] if each.fits(query, head))
    found = max(fitting, key=lambda each: len(each.query) + len(each.headers), default=None)
    if found is None:
        raise AwsError("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
    return Asked(found.operation, bucket, key, _arguments(found.operation, head, query))


def body_of(operation: Operation, body: bytes) -> dict[str, Any]:
    """What stands in the body of an operation that brings a document. Raises AwsError."""
    shape = operation.input
    payload = shape.serialization.get("payload")
    return {payload: decode(shape.members[payload], body)} if payload and body else {}


def _place(head: Head) -> tuple[str, str]:
    host = head.host.rpartition(":")[0] or head.host
    path = head.path.removeprefix("/")
    if host.endswith(LOCAL):
        bucket, key = host.removesuffix(LOCAL), path
    else:
        bucket, _, key = path.partition("/")
    try:
        return unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.", 400) from None


@functools.cache
def _candidates() -> dict[tuple[str, int], list[_Candidate]]:
    """By method and whether a bucket (1) and a key (2) are named."""
    found: dict[tuple[str, int], list[_Candidate]] = {
        (method, depth): [] for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH") for depth in range(3)
    }
    for operation in operations("s3").values():
        if model("s3").operation_model(operation.name).deprecated:  # asked for like the one that stands in for it
            continue
        query, headers = list(operation.literals), []
        shape = operation.input
        for name in shape.required_members if shape is not None else ():
            place = shape.members[name].serialization
            if place.get("location") == "querystring":
                query.append((place["name"], ""))
            elif place.get("location") == "header":
                headers.append(place["name"].lower().encode())
        depth = ("{Bucket}" in operation.path) + ("{Key+}" in operation.path)
        found[operation.method, depth].append(_Candidate(operation, tuple(query), tuple(headers)))
    return found


def _arguments(operation: Operation, head: Head, query: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    shape = operation.input
    for name, member in shape.members.items() if shape is not None else ():
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "querystring" and wire in query:
            found[name] = _text(member, query[wire])
        elif place == "header" and (value := head.get(wire.lower().encode())):
            found[name] = _text(member, value)
        elif place == "headers":
            prefix = wire.lower().encode()
            found[name] = {
                key[len(prefix) :].decode("latin-1"): value.decode("utf-8", "replace")
                for key, value in head.headers
                if key.startswith(prefix)
            }
    return found


def _text(shape: Any, value: str) -> Any:
    """A value of a header or of the query."""
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind == "timestamp":
            return parsedate_to_datetime(value).timestamp()
    except ValueError:
        raise AwsError("InvalidArgument", f"{value[:100]!r} is no {kind}", 400) from None
    return value.lower() == "true" if kind == "boolean" else value
