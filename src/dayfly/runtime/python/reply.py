"""What a handler may return, and how it becomes an answer.

    value                                     body                       content type
    None                                      `null` (http: empty, 204)  application/json
    dict, list, tuple, number, bool           its JSON                   application/json
    str                                       its UTF-8                  text/plain; charset=utf-8
    bytes, bytearray, memoryview              as it is                   application/octet-stream
    object with .status, .headers, .body      .body by these rules       the same, unless headers name one
    http only: dict of status (or statusCode) and body and/or headers: the same as such an object
    generator, async generator, iterator      streams: each item goes out at once

A stream's items are text, bytes or JSON values; a JSON value is one line (NDJSON). The first item may be a response without body: it
sets status and headers. Otherwise the first item's type decides the content type. Under `text/event-stream` a text becomes one
server-sent event, and so does a JSON value; a dict with only the keys event, data, id and retry sets those fields.
"""

from __future__ import annotations

import json
import re

from .strict_json import Unencodable, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JSON = b""  # the empty head means application/json
TEXT = b'"headers":[["content-type","text/plain; charset=utf-8"]],'
BYTES = b'"headers":[["content-type","application/octet-stream"]],'
LINES = b'"headers":[["content-type","application/x-ndjson"]],'
_EMPTY = b'"status":204,'
_HEAD_LIMIT = 64 << 10  # bytes of status and headers
_DICT_KEYS = frozenset(("status", "statusCode", "headers", "body"))
_EVENT_KEYS = frozenset(("event", "data", "id", "retry"))
_HEADERS = 200  # headers of one answer
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_JSON_TYPES = frozenset((dict, list, tuple, int, float, bool))


class Refused(Exception):
    """The answer breaks the contract; the message tells the author of the function how."""


class Stream:
    """A body that comes in pieces. `fields` is the head if it is known already."""

    __slots__ = ("fields", "is_async", "items", "sse")

    def __init__(self, items: Any, fields: bytes | None, sse: bool) -> None:
        self.is_async = hasattr(items, "__anext__")
        self.items = items
        self.fields = fields
        self.sse = sse

    def first(self, item: Any) -> tuple[bytes, bytes]:
        """Head and data that follow from the first item of a stream without head."""
        if _is_response(item) and item.body is None:
            fields, _, _ = _response(item.status, item.headers, None)
            self.sse = b'"text/event-stream' in fields.lower()
            return fields, b""
        if isinstance(item, str):
            return TEXT, self.piece(item)
        if isinstance(item, (bytes, bytearray, memoryview)):
            return BYTES, self.piece(item)
        return LINES, self.piece(item)

    def piece(self, item: Any) -> bytes:
        if isinstance(item, (bytes, bytearray, memoryview)):
            return bytes(item)
        if self.sse:
            return _event(item)
        if isinstance(item, str):
            return item.encode("utf-8", "replace")
        return dumps(item) + b"\n"


def prepare(result: Any, http: bool) -> tuple[bytes, bytes, Stream | None]:
    """(fields of the head, body, None) or (b"", b"", stream). Raises Refused or Unencodable."""
    kind = type(result)
    if kind in _JSON_TYPES:
        if http and kind is dict and _is_response_dict(result):
            status = result["status"] if "status" in result else result.get("statusCode")
            return _response(status, result.get("headers"), result.get("body"))
        return JSON, dumps(result), None
    if kind is str:
        return TEXT, result.encode("utf-8", "replace"), None
    if kind is bytes:
        return BYTES, result, None
    if result is None:
        return (_EMPTY, b"", None) if http else (JSON, b"null", None)
    if isinstance(result, (bytearray, memoryview)):
        return BYTES, bytes(result), None
    if hasattr(kind, "__anext__") or hasattr(kind, "__next__"):
        return b"", b"", Stream(result, None, False)
    if _is_response(result):
        return _response(result.status, result.headers, result.body)
    return JSON, dumps(result), None


def _is_response(value: Any) -> bool:
    return hasattr(value, "status") and hasattr(value, "headers") and hasattr(value, "body")


def _is_response_dict(value: dict[Any, Any]) -> bool:
    keys = value.keys()
    if not keys <= _DICT_KEYS:
        return False
    return "statusCode" in keys or ("status" in keys and len(keys) > 1)


def _response(status: Any, headers: Any, body: Any) -> tuple[bytes, bytes, Stream | None]:
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise Refused(f"the response's status is {status!r:.80}; it must be a whole number from 200 to 599")
    pairs = _headers(headers)
    kinds = [value for name, value in pairs if name == "content-type"]
    data, stream, default = b"", None, ""
    if hasattr(type(body), "__anext__") or hasattr(type(body), "__next__"):
        default = "application/octet-stream"
        stream = Stream(body, b"", bool(kinds) and kinds[0].lower().startswith("text/event-stream"))
    elif isinstance(body, str):
        data, default = body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    elif isinstance(body, (bytes, bytearray, memoryview)):
        data, default = bytes(body), "application/octet-stream"
    elif body is not None:
        data, default = dumps(body), "application/json"
    if status in (204, 205, 304):
        data, stream, default = b"", None, ""
    if default and not kinds:
        pairs.append(("content-type", default))
    fields = json.dumps({"status": int(status), "headers": pairs}).encode("ascii")[1:-1] + b","
    if len(fields) > _HEAD_LIMIT:
        raise Refused(f"the response's headers take {len(fields)} bytes; at most {_HEAD_LIMIT} are allowed")
    if stream is not None:
        stream.fields = fields
        return b"", b"", stream
    return fields, data, None


def _headers(headers: Any) -> list[tuple[str, str]]:
    """Checked pairs, names in lower case."""
    if headers is None:
        return []
    try:
        items = list(headers.items() if hasattr(headers, "items") else headers)
        pairs = [(name, value) for name, value in items]
    except (TypeError, ValueError):
        raise Refused("the response's headers must be a mapping or a list of (name, value) pairs") from None
    checked = []
    for name, values in pairs:
        if not isinstance(name, str) or not _TOKEN.match(name):
            raise Refused(f"the response has the header name {name!r:.80}, which HTTP does not allow")
        for value in values if isinstance(values, (list, tuple)) else (values,):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                value = str(value)
            if not isinstance(value, str) or _UNPRINTABLE.search(value):
                raise Refused(
                    f"the response's header {name!r:.80} has the value {value!r:.80}; it must be one line of latin-1 text"
                )
            checked.append((name.lower(), value))
    if len(checked) > _HEADERS:
        raise Refused(f"the response has {len(checked)} headers; at most {_HEADERS} are allowed")
    return checked


def _event(item: Any) -> bytes:
    """One server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    fields = item if isinstance(item, dict) and item and item.keys() <= _EVENT_KEYS else {"data": item}
    lines: list[str] = []
    for name in ("event", "id", "retry", "data"):
        if name in fields:
            value = fields[name]
            text = value if isinstance(value, str) else dumps(value).decode("utf-8")
            if name != "data":
                text = " ".join(text.splitlines())
            lines.extend(f"{name}: {line}" for line in re.split("\r\n|\r|\n", text))
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


__all__ = ["BYTES", "Refused", "Stream", "Unencodable", "prepare"]
