"""XML documents to values and back, by a service's model (https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ..faults import AwsError

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CR = {"\r": "&#13;"}  # a parser would make a line feed of it


def decode(shape: Any, body: bytes) -> Any:
    """Raises AwsError for what is no such document. Declarations, which could make a little text endless, are not read."""
    try:
        if b"<!" in body:
            raise ValueError
        return _value(shape, ElementTree.fromstring(body))
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            400,
        ) from None


def _value(shape: Any, element: ElementTree.Element) -> Any:
    kind = shape.type_name
    if kind == "structure":
        children: dict[str, list[ElementTree.Element]] = {}
        for child in element:
            children.setdefault(child.tag.rpartition("}")[2], []).append(child)
        made = {}
        for name, member in shape.members.items():
            found = children.get(member.serialization.get("name", name))
            if found and member.type_name == "list" and member.serialization.get("flattened"):
                made[name] = [_value(member.member, each) for each in found]
            elif found:
                made[name] = _value(member, found[0])
        return made
    if kind == "list":
        return [_value(shape.member, child) for child in element]
    text = element.text or ""
    if kind in ("integer", "long"):
        return int(text)
    return text.strip().lower() == "true" if kind == "boolean" else text


def encode(root: str, shape: Any, value: Any) -> bytes:
    """A whole document. Members that a header carries, and those that are None, are left out."""
    return f'{_HEAD}<{root} xmlns="{NAMESPACE}">{_inner(shape, value)}</{root}>'.encode()


def text(value: str) -> str:
    return escape(value, _CR)


def _inner(shape: Any, value: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        return "".join(_members(shape, value))
    if kind == "list":
        name = shape.member.serialization.get("name", "member")
        return "".join(f"<{name}>{_inner(shape.member, item)}</{name}>" for item in value)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return text(str(value))


def _members(shape: Any, value: dict[str, Any]) -> Iterator[str]:
    for name, member in shape.members.items():
        given, place = value.get(name), member.serialization
        if given is None or "location" in place:
            continue
        wire = place.get("name", name)
        for each, kind in ((item, member.member) for item in given) if place.get("flattened") else ((given, member),):
            yield f"<{wire}>{_inner(kind, each)}</{wire}>"
