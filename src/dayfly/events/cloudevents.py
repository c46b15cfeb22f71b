"""CloudEvents 1.0 on the wire: the JSON format, and the HTTP binding in its three modes.

* binary: attributes in `ce-` headers, the body is the data
* structured: one JSON document, `application/cloudevents+json`
* batched: a JSON array of them, `application/cloudevents-batch+json`

Sources: spec.md, formats/json-format.md and bindings/http-protocol-binding.md of https://github.com/cloudevents/spec, version 1.0.2.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from ..errors import BadInput, TooLarge, UnsupportedMedia
from ..model.event import CORE, SPEC_VERSION, Event, Value, valid_attribute

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
EXTENSIONS: Final = 64  # of one event
TEXT: Final = 8192  # characters of one attribute
BATCH_LIMIT: Final = 1000  # events in one request

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})\Z")
_KEEP = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')  # printable ASCII that a header carries as it is

Headers = Iterable[tuple[str, str]]


def is_json(content_type: str) -> bool:
    """Whether data of this type is JSON, as the JSON format understands it."""
    media = content_type.partition(";")[0].strip().lower()
    return not media or media.endswith(("/json", "+json"))


def check(event: Event) -> Event:
    """The event, if it keeps the rules of the specification. Raises BadInput with the attribute's name."""
    for name in ("id", "source", "type"):
        if not getattr(event, name):
            raise BadInput(f"The event has no {name!r}.", hint="CloudEvents 1.0 demands id, source and type.", field=name)
    for name in (*CORE[1:], *event.extensions):
        value = event.attribute(name)
        if isinstance(value, str) and (len(value) > TEXT or not value.isprintable()):
            raise BadInput(f"The attribute {name[:64]!r} is longer than {TEXT} characters or not printable.", field=name[:64])
    if event.time and (not _RFC3339.match(event.time) or not _is_date(event.time)):
        raise BadInput(f"The time {event.time[:64]!r} is not RFC 3339.", hint="E.g. 2026-01-31T12:00:00Z.", field="time")
    if len(event.extensions) > EXTENSIONS:
        raise BadInput(f"The event has more than {EXTENSIONS} extensions.", limit=EXTENSIONS)
    for name, value in event.extensions.items():
        if not valid_attribute(name):
            raise BadInput(
                f"{name[:64]!r} is not a name for an attribute.", hint="Use lower-case letters and digits.", field=name[:64]
            )
        if type(value) is int and not -(2**31) <= value < 2**31:
            raise BadInput(f"The attribute {name!r} is not an integer of 32 bits.", field=name)
    return event


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


# --- the JSON format ------------------------------------------------------------------------------------------------


def to_dict(event: Event) -> dict[str, Any]:
    """The members of the JSON format; data that is JSON as `msgspec.Raw`, not encoded again."""
    members: dict[str, Any] = {"specversion": SPEC_VERSION, "id": event.id, "source": event.source, "type": event.type}
    for name in ("subject", "time", "datacontenttype", "dataschema"):
        if value := getattr(event, name):
            members[name] = value
    members.update(event.extensions)
    if event.data is not None:
        members.update(_data_member(event))
    return members


def _data_member(event: Event) -> dict[str, Any]:
    assert event.data is not None
    if is_json(event.datacontenttype):
        try:
            msgspec.json.decode(event.data)
            return {"data": msgspec.Raw(event.data)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # it only says that it is JSON: carry the bytes
    elif event.datacontenttype.lower().startswith("text/"):
        try:
            return {"data": event.data.decode()}
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(event.data).decode("ascii")}


def to_json(event: Event) -> bytes:
    """One event in the JSON format."""
    return msgspec.json.encode(to_dict(event))


def batch_to_json(events: Iterable[Event]) -> bytes:
    return msgspec.json.encode([to_dict(event) for event in events])


def from_json(document: bytes) -> Event:
    """The event in a JSON document. Raises BadInput."""
    try:
        return from_dict(msgspec.json.decode(document, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The event is not a JSON object: {error}.", hint="Send one object in UTF-8.") from None


def batch_from_json(document: bytes) -> list[Event]:
    """Raises BadInput, naming the event's place in the list."""
    try:
        members = msgspec.json.decode(document, type=list[dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The batch is not a JSON array of objects: {error}.") from None
    if len(members) > BATCH_LIMIT:
        raise TooLarge(f"The batch has more than {BATCH_LIMIT} events.", limit=BATCH_LIMIT)
    events = []
    for index, member in enumerate(members):
        try:
            events.append(from_dict(member))
        except BadInput as error:
            raise BadInput(f"Event {index} of the batch: {error.detail}", hint=error.hint, event=index) from None
    return events


def from_dict(members: dict[str, msgspec.Raw]) -> Event:
    """The event with these members, each still JSON text. Raises BadInput."""
    fields: dict[str, Any] = {}
    extensions: dict[str, Value] = {}
    data: bytes | None = None
    for name, raw in members.items():
        if name == "data":
            data = bytes(raw)
            continue
        try:
            value = msgspec.json.decode(raw, type=str | int | bool | None)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadInput(
                f"The attribute {name[:64]!r} is neither text nor a whole number nor true or false.", field=name[:64]
            ) from None
        if value is None:
            continue
        if name == "data_base64" or name in CORE:
            if not isinstance(value, str):
                raise BadInput(f"The attribute {name!r} is not text.", field=name)
            fields[name] = value
        else:
            extensions[name] = value
    version = fields.pop("specversion", "")
    if version != SPEC_VERSION:
        raise BadInput(
            f"The specversion is {version[:16]!r}." if version else "There is no specversion.",
            hint=f"This is CloudEvents {SPEC_VERSION}.",
            field="specversion",
        )
    encoded = fields.pop("data_base64", None)
    if encoded is not None:
        if data is not None:
            raise BadInput("The event has both data and data_base64.", field="data_base64")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise BadInput(f"data_base64 is not base64: {error}.", field="data_base64") from None
    elif data is not None and not is_json(fields.get("datacontenttype", "")) and data[:1] == b'"':
        data = msgspec.json.decode(data, type=str).encode()  # text, wrapped for the JSON format
    for name in ("id", "source", "type"):
        fields.setdefault(name, "")
    return check(Event(**fields, extensions=extensions, data=data))


# --- the HTTP binding -----------------------------------------------------------------------------------------------


def to_headers(event: Event) -> list[tuple[str, str]]:
    """The headers of binary mode; the body is the data."""
    names = ("id", "source", "type", "subject", "time", "dataschema")
    headers = [("ce-specversion", SPEC_VERSION)]
    headers += [(f"ce-{name}", _escape(value)) for name in names if (value := getattr(event, name))]
    for name, value in event.extensions.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        headers.append((f"ce-{name}", _escape(text)))
    if event.datacontenttype:
        headers.append(("content-type", event.datacontenttype))
    elif event.data is not None:
        headers.append(("content-type", "application/json"))
    return headers


def from_http(headers: Sequence[tuple[str, str]], body: bytes) -> list[Event]:
    """The events in a request or answer; header names in lower case. Raises BadInput, or UnsupportedMedia if there is none."""
    content_type = next((value for name, value in headers if name == "content-type"), "")
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media.startswith("application/cloudevents"):
        if media not in (STRUCTURED, BATCH) or not _utf8(parameters):
            raise UnsupportedMedia(
                f"Events as {content_type[:100]} are not understood here.", hint=f"Send {STRUCTURED} or {BATCH}, in UTF-8."
            )
        return [from_json(body)] if media == STRUCTURED else batch_from_json(body)
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith("ce-"):
            attributes[name[3:]] = _unescape(value)
    if "specversion" not in attributes:
        raise UnsupportedMedia(
            "This is no CloudEvent: there is no ce-specversion header, and the content type is not a CloudEvents one.",
            hint=f"Send ce-specversion, ce-id, ce-source and ce-type headers, or {STRUCTURED}.",
        )
    return [from_attributes(attributes, content_type, body)]


def from_attributes(attributes: dict[str, str], content_type: str, data: bytes) -> Event:
    """An event from the texts of its attributes, as binary modes carry them. Raises BadInput."""
    version = attributes.pop("specversion", SPEC_VERSION)
    if version != SPEC_VERSION:
        raise BadInput(
            f"The specversion is {version[:16]!r}.", hint=f"This is CloudEvents {SPEC_VERSION}.", field="specversion"
        )
    attributes.pop("datacontenttype", None)
    core = {name: attributes.pop(name, "") for name in ("id", "source", "type", "subject", "time", "dataschema")}
    extensions: dict[str, Value] = {**attributes}
    return check(Event(**core, datacontenttype=content_type, extensions=extensions, data=data or None))


def _utf8(parameters: str) -> bool:
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    return charset is None or charset[1].lower() in ("utf-8", "us-ascii")


def _escape(text: str) -> str:
    """As the binding has it: percent-encoded, but for printable ASCII without space, quote and percent."""
    return quote(text, safe=_KEEP)


def _unescape(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return unquote(text, errors="replace")
