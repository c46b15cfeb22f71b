"""From a request of a REST-JSON service to the operation's arguments, by its model.

https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ..hook import Head
from .faults import AwsError
from .service import Operation

_json = msgspec.json.Decoder()
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


def arguments(operation: Operation, head: Head, params: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The arguments by the names of the model; what is not sent is not there. Raises AwsError for what cannot be read."""
    shape = operation.input
    if shape is None:
        return {}
    found: dict[str, Any] = {}
    query = parse_qs(head.query, keep_blank_values=True) if head.query else {}
    payload = shape.serialization.get("payload")
    plain: dict[str, Any] | None = None
    for name, member in shape.members.items():
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        value: Any = None
        if place == "uri":
            value = params.get(wire.rstrip("+"))
            value = None if value is None else _text(member, value)
        elif place == "querystring":
            value = _of_query(member, query.get(wire))
        elif place == "header":
            value = head.get(wire.lower().encode()) or None
            value = None if value is None else _text(member, value)
        elif name == payload:
            value = body if member.type_name == "blob" else _value(member, _body(body))
        elif payload is None:
            if plain is None:
                plain = _body(body)
            value = _value(member, plain.get(wire))
        if value is not None:
            found[name] = value
    return found


def _of_query(shape: Any, values: list[str] | None) -> Any:
    if values is None:
        return None
    if shape.type_name == "list":
        return [_text(shape.member, value) for value in values]
    return _text(shape, values[0])


def _text(shape: Any, value: str) -> Any:
    """A value that stands in a header or the query."""
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except ValueError:
        raise AwsError("SerializationException", f"{value[:100]} can not be converted to a number", 400) from None
    if kind == "boolean":
        return value.lower() == "true"
    return value


def _body(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        decoded = _json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise AwsError("InvalidRequestContentException", f"Could not parse request body into json: {error}") from None
    if not isinstance(decoded, dict):
        raise AwsError("InvalidRequestContentException", "Could not parse request body into json: it is not an object")
    return decoded


def _value(shape: Any, value: Any) -> Any:
    """A JSON value as the model says; members that the model does not know are dropped."""
    if value is None:
        return None
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            raise _wrong(value, "a structure")
        made = {}
        for name, member in shape.members.items():
            inner = _value(member, value.get(member.serialization.get("name", name)))
            if inner is not None:
                made[name] = inner
        return made
    if kind == "list":
        if not isinstance(value, list):
            raise _wrong(value, "a list")
        return [_value(shape.member, item) for item in value]
    if kind == "map":
        if not isinstance(value, dict):
            raise _wrong(value, "a map")
        return {key: _value(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise _wrong(value, "base64") from None
    if kind in ("integer", "long") and isinstance(value, float) and value.is_integer():
        return int(value)
    expected = _TYPES.get(kind)
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean")):
        raise _wrong(value, f"of the type {kind}")
    return value


def _wrong(value: Any, what: str) -> AwsError:
    return AwsError("SerializationException", f"{str(value)[:100]!r} is not {what}", 400)
