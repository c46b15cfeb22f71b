"""What a client sends, on a real socket: every answer is HTTP, and who sends something sensible next is served."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import strategies as st

from dayfly.gateway.limits import EdgeLimits
from tests.fuzz.clock import SECONDS, fuzz
from tests.unit.test_gateway import Site, site

LIMITS = EdgeLimits(head_timeout_s=0.3, body_timeout_s=0.3, idle_timeout_s=0.3)
SANE = b"POST /fn/default/hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"

methods = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"PO ST"]) | st.binary(
    max_size=6
)
paths = st.sampled_from(
    [b"/fn/default/hello", b"/fn/default/web/a/b", b"/fn/default/none", b"/v1/x", b"*", b"http://localhost/fn/default/hello", b"//", b"/%2e%2e/",
     b"/fn/default/hello%00", b"/fn//hello", b"/fn/default/web/%ff?a=%zz&&"]
) | st.binary(max_size=30).map(b"/".__add__)  # fmt: skip
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 "]) | st.binary(max_size=9)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"])
names = st.sampled_from(
    [b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"content-type", b"prefer", b"authorization",
     b"content-encoding", b"dayfly-invocation-id", b"traceparent", b" folded", b"", b"te", b"cookie"]
) | st.binary(max_size=10)  # fmt: skip
values = st.sampled_from(
    [b"localhost", b"evil", b"0", b"2", b"+2", b"-1", b"0x2", b"2, 2", b"99999999999999999999", b"chunked", b"\x0bchunked", b"chunked, identity",
     b"close", b"keep-alive", b"100-continue", b"websocket", b"h2c", b"application/json", b"respond-async", b"gzip", b"x" * 9000]
) | st.binary(max_size=20)  # fmt: skip
chunks = st.sampled_from(
    [
        b"2\r\n{}\r\n0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"2;x=y\r\n{}\r\n0\r\nt: u\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"-1\r\n",
        b"2\r\n{}XX0\r\n\r\n",
    ]
)
bodies = st.sampled_from([b"", b"{}", b"[" * 5000, b'{"a":NaN}', SANE]) | chunks | st.binary(max_size=60)


@st.composite
def request(draw: st.DrawFn) -> bytes:
    line = b" ".join((draw(methods), draw(paths), draw(versions))) + draw(ends)
    head = b"".join(
        draw(names) + draw(st.sampled_from([b": ", b":", b" : ", b""])) + draw(values) + draw(ends)
        for _ in range(draw(st.integers(0, 5)))
    )
    return line + head + draw(ends) + draw(bodies)


streams = st.tuples(st.lists(request() | st.just(SANE.replace(b"close", b"keep-alive")) | st.binary(max_size=60), min_size=1, max_size=3).map(b"".join),
                    st.lists(st.integers(1, 120), max_size=3))  # fmt: skip


async def speak(target: Site, stream: tuple[bytes, list[int]]) -> None:
    data, cuts = stream
    reader, writer = await asyncio.open_connection("127.0.0.1", target.listener.port)
    at = 0
    try:
        for size in [*cuts, len(data)]:
            writer.write(data[at : at + size])
            await writer.drain()
            at += size
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    assert not answer or re.match(rb"HTTP/1\.[01] [1-5]\d\d ", answer), answer[:200]
    assert b"Traceback" not in answer
    assert not re.search(rb"HTTP/1\.1 500", answer), answer[:500]
    assert (await target.send(SANE)).startswith(b"HTTP/1.1 200"), "it still serves"


@pytest.mark.timeout(SECONDS + 120)
def test_http() -> None:
    faults: list[dict[str, object]] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: faults.append(context))
        place = site(limits=LIMITS)
        target = runner.run(place.__aenter__())

        def check(stream: tuple[bytes, list[int]]) -> None:
            runner.run(speak(target, stream))
            assert not faults, faults

        try:
            assert fuzz(streams, check) > 0
        finally:
            runner.run(place.__aexit__(None, None, None))
