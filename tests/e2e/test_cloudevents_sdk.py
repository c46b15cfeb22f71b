"""The CloudEvents project's own Python SDK publishes, answers and receives, in every mode of the HTTP binding."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import http
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

NAMES = ("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "partitionkey", "note")


def event(number: str, data: Any, kind: str = "application/json", **attributes: Any) -> CloudEvent:
    given = {"id": number, "source": "/sdk", "type": "told", "specversion": "1.0", "datacontenttype": kind, **attributes}
    return CloudEvent(attributes=given, data=data)


def events() -> list[CloudEvent]:
    """What is hard to carry: text beyond ASCII in headers, per cent signs, a time with zone, bytes, text, no data at all."""
    zone = timezone(timedelta(hours=5, minutes=30))
    return [
        event(
            "1",
            {"n": 1, "é": ["ü", None, 1.5]},
            subject="Grüße, 100 % \u20ac\U0001f600",
            time=datetime(2026, 3, 1, 12, 0, 0, 5000, zone),
        ),
        event("2", "plain text, ünïcode", "text/plain"),
        event("3", bytes(range(256)), "application/octet-stream", partitionkey="k", note='a "quoted" note'),
        event("4", {"a": "map"}, dataschema="https://example.com/schema", time=datetime(2026, 1, 1, tzinfo=UTC)),
        CloudEvent(attributes={"id": "5", "source": "urn:x:y", "type": "empty", "specversion": "1.0"}),
    ]


def said(told: BaseCloudEvent) -> dict[str, Any]:
    """Everything an event says, to compare: times as moments, data as the bytes or the value that its type means."""
    found = {
        name: told.get_extension(name) if name in ("partitionkey", "note") else getattr(told, f"get_{name}")() for name in NAMES
    }
    data = told.get_data()
    if isinstance(data, bytes) and told.get_datacontenttype() == "application/json":
        data = json.loads(data)
    if isinstance(data, bytes) and told.get_datacontenttype() == "text/plain":
        data = data.decode()
    return {**found, "data": data or None}


class Receiver:
    """An HTTP server that parses what it is sent with the SDK."""

    def __init__(self) -> None:
        self.got: dict[str, BaseCloudEvent] = {}
        self.faults: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    received = http.from_http(HTTPMessage(dict(self.headers.items()), body), JSONFormat())
                    receiver.got[received.get_id()] = received
                except Exception as error:  # the test tells it
                    receiver.faults.append(f"{error!r}: {dict(self.headers.items())} {body!r}")
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    async def all(self, number: int) -> dict[str, dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.got) < number and not self.faults:
                await asyncio.sleep(0.01)
        assert not self.faults
        return {identifier: said(received) for identifier, received in self.got.items()}


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path / "data", allow_targets=("127.0.0.0/8",)) as site:
        yield site


async def post(site: Site, message: HTTPMessage, broker: str = "default") -> None:
    response = await site.http.post(f"/events/default/{broker}", content=message.body, headers=message.headers)
    assert response.status_code == 202, response.text


async def into(site: Site, receiver: Receiver, broker: str = "default") -> None:
    await site.api("PUT", "/triggers/out", json={"broker": broker, "target": {"kind": "http", "name": receiver.url}})


@pytest.mark.parametrize("mode", ["binary", "structured", "batched"])
async def test_what_the_sdk_publishes_the_sdk_receives(open_site: Site, mode: str) -> None:
    with receiving() as receiver:
        sent = events()
        await into(open_site, receiver)
        if mode == "batched":
            batch = b"[" + b",".join(JSONFormat().write(one) for one in sent) + b"]"
            await post(open_site, HTTPMessage({"content-type": "application/cloudevents-batch+json"}, batch))
        else:
            write = http.to_binary_event if mode == "binary" else http.to_structured_event
            for one in sent:
                await post(open_site, write(one))
        assert await receiver.all(len(sent)) == {one.get_id(): said(one) for one in sent}


ANSWERING = """
import json
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

class Response:
    def __init__(self, message):
        self.status, self.headers, self.body = 200, message.headers, message.body

def handler(event, context):
    answer = CloudEvent({"id": "answer-" + event["id"], "source": "/f", "type": "answered", "specversion": "1.0",
                         "subject": "dépôt", "datacontenttype": "application/json"}, {"to": event["data"]})
    return Response(http.to_%s_event(answer))
"""


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_a_function_answers_with_an_event_of_the_sdk(open_site: Site, mode: str) -> None:
    files = {"handler.py": ANSWERING % mode, "requirements.txt": "cloudevents\n"}
    await open_site.deploy("answers", files)
    with receiving() as receiver:
        await open_site.api("PUT", "/brokers/answers", json={})
        asked = {"target": {"kind": "function", "name": "answers"}, "delivery": {"reply": "answers"}}
        await open_site.api("PUT", "/triggers/asked", json=asked)
        await into(open_site, receiver, "answers")
        await post(open_site, http.to_binary_event(event("7", {"n": 7})))
        got = await receiver.all(1)
        answer = got["answer-7"]
        assert (answer["type"], answer["source"], answer["subject"], answer["data"]) == (
            "answered",
            "/f",
            "dépôt",
            {"to": {"n": 7}},
        )
