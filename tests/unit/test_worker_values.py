"""What a Python handler may return, what it may not, and how either reaches the caller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from instance import PYTHON, Link, running, write_files

from dayfly.sdk import Response

HANDLER = """
import collections, dataclasses, datetime, decimal, enum, types
from dayfly_sdk import Response

class Level(enum.IntEnum):
    HIGH = 3

@dataclasses.dataclass
class Point:
    x: int = 1

cycle = {"a": []}
cycle["a"].append(cycle)
deep = []
for _ in range(100_000):
    deep = [deep]

def numbers():
    yield {"n": 1}
    yield [2]

def texts():
    yield "a"
    yield ""
    yield b"b"

def events():
    yield Response(headers={"Content-Type": "text/event-stream"})
    yield "two\\nlines"
    yield {"event": "tick", "id": 7, "data": {"n": 1}}
    yield {"n": 2}

def breaks():
    yield "begun"
    raise LookupError("in the middle")

def refused():
    yield {"n": 1}
    yield {"n": {1}}

def empty():
    return
    yield

async def later():
    yield "x"
    yield "y"

def handler(event, context):
    return eval(event if isinstance(event, str) else event.text())
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("values"), {"handler.py": HANDLER})


@pytest.fixture(scope="module")
def event(root: Path) -> Iterator[Link]:
    with running(PYTHON, root) as instance:
        link = instance.connect()
        link.ready()
        yield link


@pytest.fixture(scope="module")
def http(root: Path) -> Iterator[Link]:
    with running(PYTHON, root, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        yield link


JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("expression", "content_type", "body"),
    [
        ("{'a': [1, 2.5, None, True, 'ü']}", JSON, '{"a":[1,2.5,null,true,"ü"]}'),
        ("[]", JSON, "[]"),
        ("(1, 2)", JSON, "[1,2]"),
        ("0", JSON, "0"),
        ("False", JSON, "false"),
        ("None", JSON, "null"),
        ("10 ** 30", JSON, "1" + "0" * 30),
        ("{'status': 404, 'body': 'data, not a response'}", JSON, '{"status":404,"body":"data, not a response"}'),
        ("collections.OrderedDict(b=1, a=2)", JSON, '{"b":1,"a":2}'),
        ("[Level.HIGH]", JSON, "[3]"),
        ("'half a pair: \\ud800'", TEXT, "half a pair: ?"),
        ("['\\ud800']", JSON, '["\\ud800"]'),
        ("'text ü'", TEXT, "text ü"),
        ("''", TEXT, ""),
        ("b'raw'", OCTETS, "raw"),
        ("bytearray(b'raw')", OCTETS, "raw"),
        ("memoryview(b'raw')", OCTETS, "raw"),
        ("Response('x')", TEXT, "x"),
        ("Response({'a': 1})", JSON, '{"a":1}'),
        ("Response('<p>', headers={'Content-Type': 'text/html'})", "text/html", "<p>"),
        ("types.SimpleNamespace(status=200, headers=[('content-type', 'a/b')], body=b'duck')", "a/b", "duck"),
    ],
)
def test_values_become_bodies(event: Link, expression: str, content_type: str, body: str) -> None:
    answer = event.call(expression)
    assert (answer.refused, answer.error) == ("", None)
    assert (answer.content_type, answer.body.decode(), answer.status) == (content_type, body, 200)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("float('nan')", "result is nan, which JSON cannot hold"),
        ("{'a': [1, {'b': float('-inf')}]}", 'result["a"][1]["b"] is -inf'),
        ("{'a': [0, 1, 2, {3}]}", 'result["a"][3] is of type set'),
        ("{'a': {1: 2}}", 'result["a"] has the key 1, of type int; keys of a JSON object are text'),
        ("{(1, 2): 3}", "result has the key (1, 2), of type tuple"),
        ("[{None: 1}]", "result[0] has the key None"),
        ("cycle", 'result["a"][0] contains itself'),
        ("deep", "is nested too deeply for JSON"),
        ("[datetime.date(2024, 1, 1)]", "result[0] is of type datetime.date, which JSON cannot hold"),
        ("{'p': decimal.Decimal(1)}", 'result["p"] is of type decimal.Decimal'),
        ("Point()", "result is of type handler.Point"),
        ("{'b': b'x'}", 'result["b"] is of type bytes'),
        ("object()", "result is of type object"),
        ("Response(status=99)", "status is 99; it must be a whole number from 200 to 599"),
        ("Response(status='200')", "status is '200'"),
        ("Response(status=True)", "status is True"),
        ("Response(headers={'a b': 'c'})", "header name 'a b'"),
        ("Response(headers={'a': 'b\\r\\nset-cookie: c'})", "it must be one line"),
        ("Response(headers={'a': '\\u20ac'})", "latin-1"),
        ("Response(headers={'a': None})", "has the value None"),
        ("Response(headers={'a': 'b\\x7f'})", "it must be one line"),
        ("Response(headers=[('a', 'b')] * 201)", "has 201 headers; at most 200"),
        ("Response(headers=7)", "must be a mapping or a list"),
        ("Response(headers={'a': 'x' * 100_000})", "at most 65536 are allowed"),
        ("Response({1, 2})", "result is of type set"),
        ("refused()", 'result["n"] is of type set'),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_place(event: Link, expression: str, message: str) -> None:
    assert message in event.call(expression).refused
    assert event.call("1").json == 1  # and the instance goes on


@pytest.mark.parametrize(
    ("expression", "content_type", "pieces"),
    [
        ("numbers()", "application/x-ndjson", [b'{"n":1}\n', b"[2]\n"]),
        ("texts()", TEXT, [b"a", b"b"]),
        ("later()", TEXT, [b"x", b"y"]),
        ("empty()", OCTETS, []),
        ("iter([b'a', b'b'])", OCTETS, [b"a", b"b"]),
        ("Response(numbers(), headers={'content-type': 'a/b'})", "a/b", [b'{"n":1}\n', b"[2]\n"]),
        ("Response(later(), 202)", OCTETS, [b"x", b"y"]),
        (
            "events()",
            "text/event-stream",
            [b"data: two\ndata: lines\n\n", b'event: tick\nid: 7\ndata: {"n":1}\n\n', b'data: {"n":2}\n\n'],
        ),
        (
            "Response(iter(['x']), headers={'content-type': 'text/event-stream; charset=utf-8'})",
            "text/event-stream; charset=utf-8",
            [b"data: x\n\n"],
        ),
    ],
)
def test_generators_stream_item_by_item(event: Link, expression: str, content_type: str, pieces: list[bytes]) -> None:
    answer = event.call(expression)
    assert answer.content_type == content_type
    assert answer.pieces == [*pieces, b""]


def test_a_stream_that_raises_breaks_off_with_an_error(event: Link) -> None:
    answer = event.call("breaks()")
    assert answer.pieces == [b"begun"]
    assert answer.error is not None
    assert (answer.error["type"], answer.error["message"]) == ("LookupError", "in the middle")


def test_each_item_of_a_stream_is_on_its_way_before_the_next_is_made(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "def handler(request, context):\n    yield 'begun'\n    for chunk in request.chunks():\n        yield chunk\n"
        },
    )
    with running(PYTHON, tmp_path, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin(end=False, http={"method": "POST", "path": "/", "query": "", "headers": []})
        assert link.frame()[1] == stream  # the head
        assert link.frame()[2] == b"begun"
        for piece in (b"one", b"two"):  # the handler waits for what we send, we for what it answers
            link.send(stream, piece, end=False)
            assert link.frame()[2] == piece
        link.send(stream, b"", end=True)
        assert link.frame()[2] == b""


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ("None", 204, JSON, b""),
        ("{'status': 404, 'body': 'gone'}", 404, TEXT, b"gone"),
        ("{'statusCode': 201, 'headers': {'Content-Type': 'a/b'}, 'body': b'x'}", 201, "a/b", b"x"),
        ("{'statusCode': 500}", 500, JSON, b""),
        ("{'status': 200}", 200, JSON, b'{"status":200}'),
        ("{'status': 200, 'body': 1, 'more': 2}", 200, JSON, b'{"status":200,"body":1,"more":2}'),
        ("Response('nobody sees this', 304)", 304, JSON, b""),
        ("{'status': 418, 'body': {'tea': True}}", 418, JSON, b'{"tea":true}'),
    ],
)
def test_the_http_flavour_reads_dicts_as_responses(
    http: Link, expression: str, status: int, content_type: str, body: bytes
) -> None:
    answer = http.http("POST", body=expression.encode())
    assert (answer.status, answer.content_type, answer.body) == (status, content_type, body)


def test_a_request_has_all_of_http(http: Link) -> None:
    def ask(expression: str, **request: object) -> object:
        return http.http(body=expression.encode(), **request).json  # type: ignore[arg-type]

    headers = [("accept", "a"), ("cookie", "x=1"), ("cookie", "y=2"), ("content-type", "Text/HTML; charset=x")]
    assert ask("[event.method, event.path, event.query]", method="PURGE", path="/a%2Fb/", query="x=1&x=%20&y") == [
        "PURGE",
        "/a%2Fb/",
        "x=1&x=%20&y",
    ]
    assert ask("event.query_params", query="x=1&x=%20&y") == {"x": ["1", " "], "y": [""]}
    assert ask("[event.headers['ACCEPT'], event.headers.get_all('Cookie')]", headers=headers) == ["a", ["x=1", "y=2"]]
    assert ask("[event.headers.get('no'), 'Accept' in event.headers, len(event.headers)]", headers=headers) == [
        None,
        True,
        3,
    ]
    assert ask("[event.content_type, event.headers.items()[1]]", headers=headers) == ["text/html", ["cookie", "x=1"]]
    assert ask("[len(event.body), event.text()[:2]]") == [35, "[l"]
    assert ask("event.form()") == {"event.form()": [""]}


def test_an_http_function_takes_events_as_posts(http: Link) -> None:
    assert http.call(b"[event.method, event.path, event.headers['content-type']]").json == ["POST", "/", JSON]


def test_the_response_class_is_the_same_outside() -> None:
    response = Response({"a": 1}, 201, {"x": "y"})
    assert (response.body, response.status, response.headers, repr(response)) == (
        {"a": 1},
        201,
        {"x": "y"},
        "<Response 201>",
    )
