"""How the answer of a web action is read, by the extension of its address.

.http   {"statusCode", "headers", "body"}; a body of a binary type is base64, an empty one is 204
.json   an object or array           .html, .svg   member `body`, `html` or `svg`, or the answer itself: a text
.text   member `body` or `text`, or the answer itself: anything
"""

from __future__ import annotations

import base64
import binascii
import http
import re
from typing import Any

import msgspec

from ..hook import Reply
from .actions import is_binary
from .entities import is_json
from .faults import Rejected

EXTENSIONS = (".http", ".json", ".html", ".svg", ".text")
_MISMATCH = "Response type in header did not match generated content type."
_MEDIA = re.compile(r"([\w!#$&^.+-]+/[\w!#$&^.+-]+)\s*(;.*)?\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_TEXTS = frozenset(
    f"application/{name}"
    for name in ("xml", "javascript", "x-javascript", "ecmascript", "x-www-form-urlencoded", "graphql", "sql", "x-yaml", "yaml")
)
_OURS = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer"})


def is_text(content_type: str) -> bool:
    """Whether a body of that type is text. What is not known counts as binary unless it names a charset."""
    kind, _, rest = content_type.partition(";")
    kind = kind.strip().lower()
    textual = kind.startswith("text/") or kind in _TEXTS or is_json(kind)
    return textual or (kind.endswith("+xml") and not kind.startswith("image/")) or "charset=" in rest.lower()


def render(extension: str, result: Any) -> Reply:
    """Status, content type, the action's own headers, and body. Raises Rejected where the answer does not fit."""
    if extension == ".http":
        return _http(result)
    if extension == ".json":
        if not isinstance(result, dict | list):
            raise _not("application/json")
        return _reply("application/json", pretty(result))
    name = extension[1:]
    value = result
    if isinstance(result, dict):
        value = result["body"] if "body" in result else result.get(name, msgspec.UNSET)
    if name == "text":
        if value is msgspec.UNSET:
            raise Rejected(404, "Response does not include requested property.")
        return _reply("text/plain; charset=UTF-8", value if isinstance(value, str) else pretty(value))
    if not isinstance(value, str):
        raise _not("text/html" if name == "html" else "image/svg+xml")
    return _reply("text/html; charset=UTF-8" if name == "html" else "image/svg+xml", value)


def accepted(accept: str, reply: Reply) -> Reply:
    """The answer, or 406 where its caller says that it does not take that type."""
    kind = next((value for name, value in reply.headers if name == "content-type"), "")
    if not accept or not reply.body or not kind:
        return reply
    media = kind.partition(";")[0].strip().lower()
    for one in accept.split(","):
        wanted, *parameters = (part.strip().lower() for part in one.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
        if not refused and wanted in ("*/*", "*", media, media.partition("/")[0] + "/*"):
            return reply
    headers = [pair for pair in reply.headers if pair[0] != "content-type"]
    told = f"Resource representation is only available with these types:\n{kind}"
    return Reply(406, [*headers, ("content-type", "text/plain; charset=UTF-8")], told.encode("latin-1", "replace"))


def _reply(content_type: str, text: str) -> Reply:
    return Reply(200, [("content-type", content_type)], text.encode("utf-8", "replace"))


def _not(media: str) -> Rejected:
    return Rejected(400, f"Response is not valid '{media}'.")


def _http(result: Any) -> Reply:
    if not isinstance(result, dict):
        raise _not("message/http")
    status = _status(result["statusCode"]) if "statusCode" in result else None
    headers = _headers(result.get("headers"))
    content_type = next((value for name, value in headers if name == "content-type"), "")
    kept = [(name, value) for name, value in headers if name not in _OURS]
    body = result.get("body")
    if body is None or body == "":
        return Reply(status or 204, kept)
    if content_type and _MEDIA.match(content_type) is None:
        raise Rejected(400, "Response did not specify a known content-type.")
    if not isinstance(body, str):
        content_type = content_type or "application/json"
        if not is_json(content_type.partition(";")[0].strip().lower()):
            raise Rejected(400, _MISMATCH)
        return Reply(status or 200, [*kept, ("content-type", content_type)], pretty(body).encode("utf-8", "replace"))
    content_type = content_type or "text/html"
    kind = content_type.partition(";")[0].strip().lower()
    if not is_text(content_type) or (is_json(kind) and is_binary(body)):
        try:
            data = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise Rejected(400, _MISMATCH) from None
    else:
        data = body.encode("utf-8", "replace")
        if "charset=" not in content_type.lower() and not is_json(kind):
            content_type += "; charset=UTF-8"
    return Reply(status or 200, [*kept, ("content-type", content_type)], data)


def _status(given: Any) -> int:
    try:
        status = int(given) if isinstance(given, str) or (isinstance(given, int | float) and int(given) == given) else -1
    except (ValueError, OverflowError):
        status = -1
    if isinstance(given, bool) or status < 200 or status not in {known.value for known in http.HTTPStatus}:
        raise _not("message/http")
    return status


def _headers(given: Any) -> list[tuple[str, str]]:
    if given is None:
        return []
    if not isinstance(given, dict):
        raise _not("message/http")
    return [(name.lower(), text) for name, value in given.items() for text in _values(name, value)]


def _values(name: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _values(name, item)]
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or _TOKEN.match(name) is None or _UNPRINTABLE.search(value):
        raise _not("message/http")
    return [value]


def pretty(value: Any, indent: str = "") -> str:
    """JSON as OpenWhisk prints it for people: objects over several lines, arrays in one."""
    if isinstance(value, dict) and value:
        inner = indent + "  "
        items = [f"{inner}{_plain(key)}: {pretty(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list):
        return "[" + ", ".join(pretty(item, indent) for item in value) + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    return msgspec.json.encode(value).decode()
