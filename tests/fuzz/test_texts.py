"""What strangers write for us to read: events, filters, signatures, tokens, timers. It is understood, or refused with a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from dayfly.auth.signed import Claims, Signer
from dayfly.dialects.aws import sigv4
from dayfly.dialects.aws.streams import Streams
from dayfly.dialects.hook import Head
from dayfly.errors import DayflyError
from dayfly.events import cloudevents
from dayfly.events.filters import compile_filters
from dayfly.events.filters.cesql import Refused, parse_expression
from dayfly.model.event import Event
from dayfly.model.identity import LOCAL, Role
from dayfly.triggers.timers.parse import DIALECTS, parse
from dayfly.triggers.webhooks.signatures import Settings, verify
from tests.fuzz.clock import SECONDS, fuzz
from tests.fuzz.test_frames import json_like

pytestmark = pytest.mark.timeout(SECONDS + 120)


def pieces(*known: str, most: int = 12) -> st.SearchStrategy[str]:
    """Texts put together from what means something, and from anything."""
    return st.lists(st.sampled_from(known) | st.text(max_size=4), max_size=most).map("".join)


# --- events -----------------------------------------------------------------------------------------------------------

names = st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data", "data_base64", "datacontenttype", "dataschema",
                         "x", "dayflyhops", "traceparent"]) | st.text(max_size=5)  # fmt: skip
members = st.sampled_from(["1.0", "0.3", "1", "/a", "a b", "2026-01-01T00:00:00Z", "2026-99-99T99:99:99Z", "application/json",
                           "eyJhIjoxfQ==", "not base64!", "é\ud800", 2**31, -(2**31) - 1]) | json_like  # fmt: skip
valid = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
documents = st.dictionaries(names, members, max_size=6).flatmap(
    lambda it: st.sampled_from([it, {**valid, **it}, {**it, **valid}])
)
written = st.one_of(
    documents.map(lambda it: json.dumps(it).encode()),
    st.lists(documents, max_size=4).map(lambda it: json.dumps(it).encode()),
    st.tuples(st.sampled_from([b'{"data":', b"["]), st.integers(1, 20_000)).map(lambda it: it[0] * it[1]),
    st.binary(max_size=60),
)
kinds = st.sampled_from(["application/cloudevents+json", "application/cloudevents-batch+json", "application/json; charset=utf-16",
                         "application/cloudevents+json; charset=latin-1", "text/plain", ""]) | st.text(max_size=20)  # fmt: skip
fields = st.tuples(names.map("ce-".__add__), pieces("1.0", "%C3%A9", "%", "%zz", '"', "\\", "2026-01-01T00:00:00Z", most=4))
requests = st.tuples(kinds, st.lists(fields, max_size=6), st.booleans(), written)


def read_events(request: tuple[str, list[tuple[str, str]], bool, bytes]) -> None:
    """What is understood once is written and understood again, as the same."""
    kind, found, whole, body = request
    headers = [("content-type", kind), *((f"ce-{name}", value) for name, value in valid.items() if whole), *found]
    try:
        events = cloudevents.from_http(headers, body)
    except DayflyError as error:
        assert error.status < 500
        return
    for event in events:
        assert cloudevents.from_json(cloudevents.to_json(event)) == event
        again = cloudevents.from_http(cloudevents.to_headers(event), event.data or b"")[0]
        assert (again.id, again.source, again.type, again.subject) == (event.id, event.source, event.type, event.subject)


def test_events() -> None:
    assert fuzz(requests, read_events) > 0


# --- filters ----------------------------------------------------------------------------------------------------------

EVENT = Event(id="1", source="/s", type="t", extensions={"n": 7, "yes": True, "min": -(2**31)}, data=b'{"a": [1, {"b": null}]}')
expressions = pieces(
    *"( ) , ' \" \\ + - * / % = != <> < <= > >= AND OR XOR NOT LIKE IN EXISTS TRUE FALSE".split(),
    *"type n min yes missing 0 7 2147483648 -2147483648 'a%_b' ABS( LENGTH( CONCAT( SUBSTRING( INT( BOOL( LEFT( nothing(".split(),
    " ", " AND ", " LIKE ", " IN (1, ", "(" * 200, "NOT " * 200, "-" * 200, "1 + " * 200, most=20,
)  # fmt: skip
specs = st.recursive(
    st.one_of(
        st.dictionaries(st.sampled_from(["exact", "prefix", "suffix", "x"]), st.dictionaries(names, st.text(max_size=5), max_size=2)),
        st.builds(lambda text: {"sql": text}, expressions),
        st.builds(
            lambda name, op, body: {"pattern": {name: [{op: body}]}},
            st.sampled_from(["type", "source", "data", "n"]),
            st.sampled_from(["prefix", "suffix", "wildcard", "anything-but", "numeric", "cidr", "exists", "equals-ignore-case", "x"]),
            json_like | st.sampled_from(["*" * 50, "**a" * 20, "10.0.0.0/99", [">", 1, "<", "x"]]),
        ),
        json_like,
    ),
    lambda inner: st.dictionaries(st.sampled_from(["all", "any", "not"]), st.lists(inner, max_size=3) | inner, max_size=2),
    max_leaves=6,
)  # fmt: skip


def read_filter(spec: Any) -> None:
    try:
        holds = compile_filters([spec])
    except DayflyError as error:
        assert error.status == 400
        return
    assert holds(EVENT) in (True, False)


def test_filters() -> None:
    assert fuzz(specs, read_filter) > 0


def read_expression(text: str) -> None:
    try:
        expression = parse_expression(text)
    except Refused as refused:
        assert 0 <= refused.at <= len(text)
        return
    value, errors = expression.evaluate(EVENT)
    assert type(value) in (str, int, bool)
    assert len(errors) <= 1


def test_expressions() -> None:
    assert fuzz(expressions, read_expression) > 0


# --- signatures and tokens --------------------------------------------------------------------------------------------


class Holders:
    def identify(self, token: bytes) -> None: ...

    def secret(self, access_key: str) -> Any:
        return (b"secret", LOCAL) if access_key == "AKID" else None


TODAY = datetime.now(UTC).strftime("%Y%m%d")
credential = f"AKID/{TODAY}/us-east-1/lambda/aws4_request"
signatures = st.sampled_from(["0" * 64, "é" * 64, "٣" * 64, ""]) | st.text(max_size=64)
authorizations = st.one_of(
    st.builds(
        lambda signed, signature: f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}",
        pieces("host", ";", "x-amz-date", "x", most=6),
        signatures,
    ),
    pieces("AWS4-HMAC-SHA256", " ", "Credential=", credential, ",", "SignedHeaders=host", "Signature=", "0" * 64),
)
queries = pieces("X-Amz-Signature=", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "&", f"X-Amz-Credential={credential.replace('/', '%2F')}", "%ff",
                 f"X-Amz-Date={TODAY}T000000Z", "X-Amz-Expires=604800", "X-Amz-SignedHeaders=host", "0" * 64, "%C3%A9", "=", "+", "٣")  # fmt: skip
signed_requests = st.tuples(
    authorizations,
    queries,
    pieces("/", "a", "%2F", "%zz", ".."),
    st.sampled_from([f"{TODAY}T000000Z", ""]) | st.text(max_size=17),
)


def read_signature(request: tuple[str, str, str, str]) -> None:
    authorization, query, path, moment = request
    headers = [(b"host", b"localhost"), (b"x-amz-date", moment.encode("utf-8", "surrogatepass"))]
    if authorization:
        headers.append((b"authorization", authorization.encode("utf-8", "surrogatepass")))
    wire = query.encode("utf-8", "surrogatepass").decode("latin-1")
    head = Head("POST", "/" + path.encode("utf-8", "surrogatepass").decode("latin-1"), wire, headers, "localhost", "http", "")
    try:
        identity = sigv4.authenticate(head, b"", Holders())
    except DayflyError as error:
        assert error.status < 500
        return
    assert identity is None, "nobody guesses a signature"


def test_signatures() -> None:
    assert fuzz(signed_requests, read_signature) > 0


SIGNER = Signer(b"k" * 32, now=lambda: 0.0, holds=lambda _: True, runs=lambda *_: True)
TOKEN = SIGNER.mint(Claims(name="x", id="y", grants={"*": (Role.OWNER,)}, expires=9e9, parent="")).encode()
changes = st.lists(st.tuples(st.integers(0, len(TOKEN) - 1), st.binary(max_size=3)), min_size=1, max_size=3)


def read_token(change: list[tuple[int, bytes]]) -> None:
    token = TOKEN
    for at, put in change:
        token = token[:at] + put + token[at + 1 :]
    found = SIGNER.identify(token)
    assert token == TOKEN or found is None, "no token but the one that was signed"


def test_tokens() -> None:
    assert SIGNER.identify(TOKEN)
    assert fuzz(changes, read_token) > 0


schemes = st.sampled_from(["github", "stripe", "slack", "standard", "hmac", "token"])
proofs = st.dictionaries(
    st.sampled_from(["x-hub-signature-256", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp", "webhook-signature",
                     "webhook-id", "webhook-timestamp", "x-sig"]),
    pieces("sha256=", "t=", "v1=", "v0=", "v1,", ",", "0" * 64, "99999999999999999999", "1e400", "nan", "-1", "٣", "=", most=6),
)  # fmt: skip


def read_webhook(given: tuple[str, dict[str, str], bytes]) -> None:
    scheme, headers, body = given
    settings = Settings(signature=scheme, secret="whsec_c2VjcmV0c2VjcmV0", header="x-sig")  # type: ignore[arg-type]
    try:
        verify(settings, lambda name: headers.get(name, ""), body, 0.0)
    except DayflyError as error:
        assert error.status == 401
        return
    raise AssertionError("nobody guesses a signature")


def test_webhooks() -> None:
    assert fuzz(st.tuples(schemes, proofs, st.binary(max_size=20)), read_webhook) > 0


# --- timers -----------------------------------------------------------------------------------------------------------

field = pieces(
    "*",
    "/",
    ",",
    "-",
    "?",
    "L",
    "W",
    "LW",
    "#",
    "0",
    "1",
    "5",
    "31",
    "59",
    "60",
    "MON",
    "FRI",
    "JAN",
    "2027",
    "99999999999",
    most=4,
)
timers = st.one_of(
    st.lists(field, min_size=4, max_size=8).map(" ".join),
    st.lists(field, min_size=5, max_size=6).map(lambda it: f"cron({' '.join(it)})"),
    pieces("@every ", "1h", "30m", "1e9s", "99999999999d", "-", ".", "rate(", "5 minutes", ")", "at(", "2027-01-31T08:30:00", "9999-12-31T23:59:59",
           "0001-01-01T00:00:00", "CRON_TZ=", "TZ=", "Europe/Berlin ", "../../etc/passwd ", "@daily", most=5),
)  # fmt: skip
starts = st.datetimes(datetime(1971, 1, 2), datetime(2200, 1, 1)).map(lambda it: it.replace(tzinfo=UTC))


def read_timer(given: tuple[str, str, str, datetime]) -> None:
    """A timer that is understood never goes back, however often it is asked."""
    text, dialect, zone, start = given
    try:
        schedule = parse(text, zone=zone, dialect=dialect, anchor=start)
    except DayflyError as error:
        assert error.status == 400
        return
    moment: datetime | None = start
    for _ in range(3):
        following = schedule.next(moment)
        if following is None:
            return
        assert following > moment
        moment = following


def test_timers() -> None:
    zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "nowhere", "/etc/passwd", "\0"])
    assert fuzz(st.tuples(timers, st.sampled_from(["", *DIALECTS, "x"]), zones, starts), read_timer) > 0


# --- event streams ----------------------------------------------------------------------------------------------------


def frame_stream(data: list[bytes]) -> None:
    """What AWS's own client reads of an answer in pieces is what the function sent."""
    from botocore.eventstream import EventStreamBuffer

    reader = EventStreamBuffer()
    reader.add_data(b"".join(Streams.frame(piece, False, None) for piece in data) + Streams.frame(b"", True, None))
    found = list(reader)
    assert [event.payload for event in found[:-1]] == [piece for piece in data if piece]
    assert found[-1].headers[":event-type"] == "InvokeComplete"


def test_streams() -> None:
    assert fuzz(st.lists(st.binary(max_size=200), max_size=5), frame_stream) > 0
