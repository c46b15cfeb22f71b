"""Bytes to a server and back, without an HTTP client that would mend them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

from tests.support.site import Site

SPY = """
def handler(request, context):
    names = [name for name, _ in request.headers.items()]
    return {"path": request.path, "body": request.body.decode("latin-1"), "headers": sorted(names)}
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def send(site: Site, *pieces: bytes) -> bytes:
    """All that comes back on one connection until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def answers(data: bytes) -> list[Answer]:
    """The answers in a stream of bytes; none of them chunked."""
    found = []
    while data.startswith(b"HTTP/1.1 "):
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = int(fields.get("content-length", "0"))
        found.append(Answer(int(first.split()[1]), fields, rest[:size]))
        data = rest[size:]
    assert not data, data[:200]
    return found


def post(path: str, body: bytes = b"", headers: str = "", *, close: bool = True) -> bytes:
    end = "connection: close\r\n" if close else ""
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{headers}{end}\r\n".encode("latin-1") + body
    )
