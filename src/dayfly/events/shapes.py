"""How events become what a target gets. Dialects bring further shapes under names of their own.

* `cloudevents` (the default): a function for events gets the event in the JSON format, one that speaks HTTP gets it in binary mode;
  batches are lists of the JSON format
* `data`: the data alone; batches are lists of it
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..model.call import HttpRequest
from ..model.delivery import Delivered, Destination, Input, Shape
from ..model.event import Event
from ..model.function import Flavour
from . import cloudevents

DEFAULT: Final = "cloudevents"


def as_cloudevents(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
    if batch:
        body, media = cloudevents.batch_to_json(one.event for one in events), cloudevents.BATCH
        headers = [("content-type", media)]
    elif flavour is Flavour.EVENT and to.kind != "http":
        return Input(body=cloudevents.to_json(events[0].event), content_type=cloudevents.STRUCTURED)
    else:
        headers = cloudevents.to_headers(events[0].event)
        body = events[0].event.data or b""
        media = events[0].event.datacontenttype or "application/json"
    return Input(body=body, content_type=media, http=_post(headers) if flavour is Flavour.HTTP or to.kind == "http" else None)


def as_data(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
    if batch:
        return Input(body=msgspec.json.encode([json_value(one.event) for one in events]), http=_post([]))
    event = events[0].event
    media = event.datacontenttype or "application/json"
    if flavour is Flavour.EVENT and to.kind == "function" and not cloudevents.is_json(media):
        return Input(body=msgspec.json.encode(json_value(event)))
    return Input(body=event.data or b"", content_type=media, http=_post([("content-type", media)]))


def json_value(event: Event) -> Any:
    """The data as a JSON value: JSON as it is, text as text, all else as base64."""
    if event.data is None:
        return None
    if cloudevents.is_json(event.datacontenttype):
        try:
            msgspec.json.decode(event.data)
            return msgspec.Raw(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return event.data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(event.data).decode("ascii")


def _post(headers: list[tuple[str, str]]) -> HttpRequest:
    return HttpRequest(method="POST", path="/", query="", headers=tuple(headers or [("content-type", "application/json")]))


SHAPES: Final[dict[str, Shape]] = {"": as_cloudevents, DEFAULT: as_cloudevents, "data": as_data}
