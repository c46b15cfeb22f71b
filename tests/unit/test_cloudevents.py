"""CloudEvents 1.0 on the wire: what goes out comes back in, in every mode, and what breaks the rules is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dayfly import errors
from dayfly.events import cloudevents as ce
from dayfly.model.event import CORE, Event

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in (*CORE, "data", "data_base64"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@st.composite
def events(draw: Any) -> Event:
    kind = draw(st.sampled_from(("none", "json", "text", "binary")))
    data, media = None, ""
    if kind == "json":
        data, media = json.dumps(draw(JSON)).encode(), draw(st.sampled_from(("application/json", "application/x+json")))
    elif kind == "text":
        data, media = draw(TEXT).encode(), "text/plain"
    elif kind == "binary":
        data, media = draw(st.binary(min_size=1)), "application/octet-stream"
    return Event(
        id=draw(TEXT),
        source=draw(TEXT),
        type=draw(TEXT),
        subject=draw(st.just("") | TEXT),
        time=draw(st.sampled_from(("", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123+01:00"))),
        datacontenttype=media,
        extensions=draw(st.dictionaries(NAMES, TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1), max_size=3)),
        data=data,
    )


def same(one: Event, other: Event) -> bool:
    """Equal, but for the blanks in JSON."""
    if one.datacontenttype.endswith("json"):
        assert one.data is not None
        assert other.data is not None
        return json.loads(one.data) == json.loads(other.data) and _without(one) == _without(other)
    return one == other


def _without(event: Event) -> Event:
    return Event(**{name: getattr(event, name) for name in event.__struct_fields__} | {"data": None})


@settings(max_examples=50, deadline=None)
@given(events())
def test_structured_mode_keeps_everything(event: Event) -> None:
    [back] = ce.from_http([("content-type", f"{ce.STRUCTURED}; charset=utf-8")], ce.to_json(event))
    assert same(event, back)


@settings(max_examples=30, deadline=None)
@given(st.lists(events(), max_size=5))
def test_so_does_batched_mode(batch: list[Event]) -> None:
    back = ce.from_http([("content-type", ce.BATCH)], ce.batch_to_json(batch))
    assert len(back) == len(batch)
    assert all(same(one, other) for one, other in zip(batch, back, strict=True))


@settings(max_examples=50, deadline=None)
@given(events())
def test_binary_mode_keeps_everything_but_the_types_of_extensions(event: Event) -> None:
    headers = ce.to_headers(event)
    assert all(value.isascii() and "\r" not in value and "\n" not in value for _, value in headers)
    [back] = ce.from_http(headers, event.data or b"")
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in event.extensions.items()}
    expected = {name: getattr(event, name) for name in event.__struct_fields__} | {"extensions": texts}
    if event.data is not None and not event.datacontenttype:
        expected["datacontenttype"] = "application/json"
    assert back == Event(**expected)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_an_event_or_bad_input(body: bytes) -> None:
    for media in (ce.STRUCTURED, ce.BATCH):
        try:
            ce.from_http([("content-type", media)], body)
        except errors.BadInput:
            pass


def structured(**change: Any) -> bytes:
    members = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | change
    return json.dumps({name: value for name, value in members.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ...}, "id"),
        ({"id": ""}, "id"),
        ({"source": 7}, "source"),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": ...}, "specversion"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-02-31T12:00:00Z"}, "time"),
        ({"Tenant": "x"}, "Tenant"),
        ({"tenant-id": "x"}, "tenant-id"),
        ({"count": 2**31}, "count"),
        ({"list": [1]}, "list"),
        ({"subject": "a\nb"}, "subject"),
        ({"data": 1, "data_base64": "AA=="}, "data_base64"),
        ({"data_base64": "no base64!"}, "data_base64"),
    ],
)
def test_what_breaks_the_rules_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        ce.from_json(structured(**change))
    assert caught.value.members.get("field") == field


def test_an_optional_attribute_that_is_null_is_absent() -> None:
    event = ce.from_json(structured(subject=None, tenant=None))
    assert (event.subject, event.extensions) == ("", {})


def test_header_values_are_decoded_as_the_binding_says() -> None:
    headers = [("ce-specversion", "1.0"), ("ce-id", '"a \\"b\\""'), ("ce-source", "/%E2%82%AC%20"), ("ce-type", "t")]
    [event] = ce.from_http(headers, b"")
    assert (event.id, event.source, event.data) == ('a "b"', "/€ ", None)
    assert ("ce-source", "/%E2%82%AC%20") in ce.to_headers(event)


def test_one_wrong_event_in_a_batch_is_named_by_its_place() -> None:
    batch = b"[" + structured() + b"," + structured(type="") + b"]"
    with pytest.raises(errors.BadInput, match="Event 1 of the batch"):
        ce.batch_from_json(batch)
    with pytest.raises(errors.TooLarge):
        ce.batch_from_json(b"[" + b",".join([structured()] * (ce.BATCH_LIMIT + 1)) + b"]")
