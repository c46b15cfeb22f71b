"""From an operation's result, or its failure, to the wire, by the model. What a result does not have is left out, not empty."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..hook import Reply
from .faults import AwsError
from .service import Operation, errors

_encode = msgspec.json.encode
JSON = ("content-type", "application/json")


def reply(operation: Operation, result: dict[str, Any], request: str) -> Reply:
    """The answer of a REST-JSON operation. `request`: the request's id."""
    status = operation.status
    headers = [JSON, ("x-amzn-requestid", request)]
    shape = operation.output
    if shape is None:
        return Reply(status, headers)
    payload = shape.serialization.get("payload")
    body: dict[str, Any] = {}
    for name, member in shape.members.items():
        value = result.get(name)
        if value is None:
            continue
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "header":
            headers.append((wire, str(value)))
        elif place == "statusCode":
            status = value
        elif name == payload:
            return Reply(status, headers, value)
        else:
            body[wire] = plain(member, value)
    return Reply(status, headers, b"" if status == 204 else _encode(body))


def plain(shape: Any, value: Any) -> Any:
    """As JSON; members that the model does not know stay behind."""
    kind = shape.type_name
    if kind == "structure":
        return {
            member.serialization.get("name", name): plain(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [plain(shape.member, item) for item in value]
    if kind == "map":
        return {key: plain(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp" and shape.serialization.get("timestampFormat") == "iso8601":
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return value


def failure(service: str, error: AwsError, request: str) -> Reply:
    """An error in the words of REST-JSON services."""
    shape = errors(service).get(error.code)
    status = error.status_code or (shape.metadata["error"]["httpStatusCode"] if shape is not None else 400)
    headers = [JSON, ("x-amzn-requestid", request), ("x-amzn-errortype", error.code)]
    body: dict[str, Any] = {}
    known = {"message": error.message, "type": "Server" if status >= 500 else "User"} | {
        name.lower(): value for name, value in error.members_.items()
    }
    if shape is None:
        body["message"] = error.message
    else:
        for name, member in shape.members.items():
            value = known.get(name.lower())
            if value is None or (name == "Type" and error.untyped):
                continue
            if member.serialization.get("location") == "header":
                headers.append((member.serialization["name"], str(value)))
            else:
                body[name] = value
    return Reply(status, headers, _encode(body))
