"""Attack 38: bytes that two readers could read in two ways, headers in the platform's name, paths that mean something else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.attacks.raw import SPY, answers, post, send
from tests.support.neighbour import neighbour
from tests.support.site import Site

pytestmark = pytest.mark.anyio

HEAD = "POST /fn/default/spy HTTP/1.1\r\nhost: localhost\r\n"
HIDDEN = b"GET /fn/default/spy/smuggled HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
async def spied(site: Site) -> AsyncIterator[Site]:
    """The site, with a function that tells what reached it, and a neighbour who is served all the while."""
    await site.deploy("spy", SPY, flavour="http")
    async with neighbour(site):
        yield site


AMBIGUOUS = {
    "length and chunks": "content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "chunks and length": "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "two lengths": "content-length: 5\r\ncontent-length: 0\r\n",
    "the same length twice in one": "content-length: 5, 5\r\n",
    "a signed length": "content-length: +5\r\n",
    "a negative length": "content-length: -5\r\n",
    "a length in hexadecimal": "content-length: 0x5\r\n",
    "an empty length": "content-length:\r\n",
    "a length that overflows": "content-length: 18446744073709551621\r\n",
    "a vertical tab before chunked": "transfer-encoding: \x0bchunked\r\n",
    "a name with a space before its colon": "transfer-encoding : chunked\r\n",
    "chunked that is not the last coding": "transfer-encoding: chunked, identity\r\n",
    "chunked twice": "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "an unknown coding": "transfer-encoding: xchunked\r\n",
    "a folded line": "transfer-encoding:\r\n chunked\r\n",
    "a folded line elsewhere": "x: a\r\n b\r\n",
    "a bare line feed": "x: a\ntransfer-encoding: chunked\r\n",
    "a bare carriage return": "x: a\rtransfer-encoding: chunked\r\n",
    "a null byte": "x: a\x00b\r\n",
    "a name with a null byte": "x\x00: a\r\n",
    "a name with a bracket": "x(y): a\r\n",
    "no name": ": a\r\n",
    "no colon": "transfer-encoding chunked\r\n",
    "two hosts": "host: elsewhere\r\ncontent-length: 5\r\n",
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_38_what_can_be_read_in_two_ways_is_not_read_at_all(spied: Site, headers: str) -> None:
    for body in (b"0\r\n\r\n" + HIDDEN, b"5\r\nhello\r\n0\r\n\r\n" + HIDDEN):
        got = answers(await send(spied, (HEAD + headers + "\r\n").encode("latin-1") + body))
        assert [answer.status for answer in got] == [400], "one refusal, and the connection is closed: nothing hides behind it"
        assert b"smuggled" not in got[0].body


CHUNKS = {
    "no end of line": b"5\r\nhelloXX0\r\n\r\n",
    "a bare line feed after the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare line feed after the data": b"5\r\nhello\n0\r\n\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a space in the size": b"5 5\r\nhello\r\n0\r\n\r\n",
    "a size that overflows": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size that lies": b"4\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
async def test_38_chunks_that_are_none(spied: Site, body: bytes) -> None:
    got = answers(await send(spied, (HEAD + "transfer-encoding: chunked\r\n\r\n").encode() + body + HIDDEN))
    assert [answer.status for answer in got if answer.status < 400] == []
    assert len(got) <= 1
    assert all(b"smuggled" not in answer.body for answer in got)


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /fn/default/spy HTTP/1.1\r\n\r\n",  # no Host
        b"GET http://elsewhere/fn/default/spy HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /fn/default/spy HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"GET /fn/default/spy\r\n\r\n",
        b"GET /fn/default/spy x HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",  # a TLS client
        b"\x00" * 64,
    ],
)
async def test_38_what_is_no_request(spied: Site, data: bytes) -> None:
    got = answers(await send(spied, data))
    assert [answer.status // 100 for answer in got] in ([4], [5], [])


async def test_38_trailers_are_no_headers(spied: Site) -> None:
    head = (HEAD + "transfer-encoding: chunked\r\nconnection: close\r\n\r\n").encode()
    trailers = b"0\r\nauthorization: Bearer x\r\nprefer: respond-async\r\nx-late: 1\r\n\r\n"
    [answer] = answers(await send(spied, head + b"5\r\nhello\r\n" + trailers))
    assert answer.status == 200
    assert answer.json()["body"] == "hello"
    assert not {"authorization", "prefer", "x-late"} & set(answer.json()["headers"])


async def test_38_what_is_written_beside_the_size_of_a_chunk_is_not_read(spied: Site) -> None:
    head = (HEAD + "transfer-encoding: chunked\r\nconnection: close\r\n\r\n").encode()
    [answer] = answers(await send(spied, head + b'5;a=b;c="d e"\r\nhello\r\n0;x=y\r\n\r\n'))
    assert (answer.status, answer.json()["body"]) == (200, "hello")


async def test_38_a_cookie_as_big_as_a_book_is_refused(spied: Site) -> None:
    [answer] = answers(await send(spied, post("/fn/default/spy", b"", "cookie: " + "a=b; " * 20_000 + "\r\n")))
    assert answer.status == 431


async def test_38_nobody_speaks_in_the_platforms_name(spied: Site) -> None:
    forged = "dayfly-invocation-id: 0\r\nDayfly-Depth: 0\r\nDAYFLY-INSTANCE: x\r\ndayfly_identity: owner\r\nx-mine: 1\r\n"
    [answer] = answers(await send(spied, post("/fn/default/spy", b"", forged)))
    assert [name for name in answer.json()["headers"] if name.replace("_", "-").startswith("dayfly-")] in (
        [],
        ["dayfly_identity"],
    )
    assert "x-mine" in answer.json()["headers"]


@pytest.mark.parametrize(
    "header", ["a\\r\\nset-cookie: admin=1", "a\\nx: y", "a\\r\\n\\r\\nHTTP/1.1 200 OK", "a\\x00b", "\\u010d\\u010a"]
)
async def test_38_a_function_cannot_split_its_answer(spied: Site, header: str) -> None:
    for place in (f'{{"x-a": "{header}"}}', f'{{"{header}": "x"}}', f'{{"content-type": "{header}"}}'):
        source = f"def handler(request, context):\n    return {{'status': 200, 'headers': {place}, 'body': 'x'}}\n"
        await spied.deploy("splits", source, flavour="http")
        [answer] = answers(await send(spied, post("/fn/default/splits")))
        assert answer.status in (500, 502)
        assert "set-cookie" not in answer.headers


async def test_38_a_function_cannot_set_what_is_the_connections_or_the_platforms(spied: Site) -> None:
    headers = {
        "transfer-encoding": "chunked",
        "content-length": "1",
        "connection": "upgrade",
        "dayfly-invocation-id": "forged",
        "x-own": "1",
    }
    await spied.deploy(
        "sets",
        f"def handler(request, context):\n    return {{'status': 200, 'headers': {headers}, 'body': 'whole'}}\n",
        flavour="http",
    )
    [answer] = answers(await send(spied, post("/fn/default/sets")))
    assert (answer.status, answer.body, answer.headers["x-own"]) == (200, b"whole", "1")
    assert answer.headers["dayfly-invocation-id"] != "forged"
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/fn/default/../default/spy",
        "/fn/other/../default/spy",
        "/fn/default/%2e%2e/default/spy",
        "/fn/default/./spy",
        "/fn//default/spy",
        "//fn/default/spy",
        "/fn/default//spy",
        "/fn/default%2fspy",
        "/FN/default/spy",
        "/fn/Default/spy",
        "/fn/default/spy%00",
        "/fn/default/spy%0d%0ax:y",
        "/fn\\default\\spy",
        "/v1/../fn/default/spy",
        "/fn/default;x/spy",
    ],
)
async def test_38_a_path_names_one_function_in_one_spelling(spied: Site, path: str) -> None:
    [answer] = answers(await send(spied, post(path)))
    assert answer.status in (400, 403, 404, 405)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_38_what_follows_the_name_is_the_functions_and_reaches_it_as_it_was_sent(spied: Site) -> None:
    for rest in ("/../../v1/namespaces", "/%2e%2e/x", "//evil.example/", "/a%2fb", "/%00"):
        [answer] = answers(await send(spied, post("/fn/default/spy" + rest)))
        assert (answer.status, answer.json()["path"]) == (200, rest)
