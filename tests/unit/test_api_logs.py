"""Logs as pages, and as server-sent events: ids, heartbeats, reconnecting, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dayfly import actions as a
from dayfly.api.sse import HEARTBEAT
from dayfly.errors import NotFound, Unavailable
from dayfly.model.log import LogLine
from dayfly.testing.clock import settle
from tests.support.api_client import ID, NS, Client
from tests.support.fake_platform import NOW

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_stray_tasks")]

LOGS = NS + "/logs"


@pytest.fixture
def api() -> Client:
    return Client()


def events(text: str) -> list[tuple[str, str, dict]]:
    """(id, event, data) of each event in a finished stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "event" in fields:
            found.append((fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"])))
    return found


async def test_a_page_of_lines(api):
    api.platform.say("one")
    page = await api("GET", f"{LOGS}?function=hello&since=1h&limit=10&cursor=c")
    assert [item["text"] for item in page.json()["items"]] == ["one"]
    assert api.platform.last == a.ReadLogs(function="hello", since=NOW - 3600, limit=10, cursor="c")


async def test_lines_of_one_invocation(api):
    await api("GET", f"{NS}/invocations/{ID}/logs?limit=10")
    assert api.platform.last == a.ReadLogs(invocation=ID, limit=10)
    await api("GET", f"{NS}/invocations/{ID}/logs?follow=true")
    assert api.platform.last == a.FollowLogs(invocation=ID)


@pytest.mark.parametrize(
    ("query", "accept", "follows"),
    [
        ("?follow=true", "*/*", True),
        ("", "text/event-stream", True),
        ("?follow=false", "text/event-stream", False),
        ("", "application/json", False),
    ],
)
async def test_who_asks_for_events_gets_events(api, query, accept, follows):
    response = await api("GET", LOGS + query, headers={"accept": accept})
    expected = "text/event-stream; charset=utf-8" if follows else "application/json"
    assert response.headers["content-type"] == expected
    assert isinstance(api.platform.last, a.FollowLogs if follows else a.ReadLogs)


async def test_head_never_follows(api):
    assert (await api("HEAD", f"{LOGS}?follow=true")).content == b""


async def test_each_line_is_an_event_with_an_id_of_its_own(api):
    api.platform.say("one", NOW)
    api.platform.say("two\nlines", NOW)
    api.platform.say("three", NOW + 1)
    *lines, end = events((await api("GET", f"{LOGS}?follow=true")).text)
    assert [identifier for identifier, _, _ in lines] == ["1700000000.000000-0", "1700000000.000000-1", "1700000001.000000-0"]
    assert [(name, data["text"]) for _, name, data in lines] == [("log", "one"), ("log", "two\nlines"), ("log", "three")]
    assert end == ("", "end", {})


@pytest.mark.parametrize("seen", [0, 1, 2, 3, 4])
async def test_a_client_that_reconnects_goes_on_with_the_next_line(api, seen):
    times = [NOW, NOW + 1e-7, NOW + 0.25, NOW + 0.25, NOW + 3]
    for number, time in enumerate(times):
        api.platform.say(str(number), time)
    first = events((await api("GET", f"{LOGS}?follow=true")).text)
    again = await api("GET", f"{LOGS}?follow=true", headers={"last-event-id": first[seen][0]})
    assert [data.get("text") for _, _, data in events(again.text)[:-1]] == [str(n) for n in range(seen + 1, 5)]
    assert [identifier for identifier, _, _ in events(again.text)] == [identifier for identifier, _, _ in first[seen + 1 :]]


@pytest.mark.parametrize("identifier", ["x", "1-1", "1700000000.000000", "-1.000000-0", "1700000000.000000-0 "])
async def test_an_event_id_that_is_not_ours(api, identifier):
    response = await api("GET", f"{LOGS}?follow=true", headers={"last-event-id": identifier.encode()})
    assert response.status_code == 400
    assert "Last-Event-ID" in response.json()["detail"]


@pytest.mark.parametrize("query", ["limit=5", "cursor=x"])
async def test_paging_and_following_exclude_each_other(api, query):
    response = await api("GET", f"{LOGS}?follow=true&{query}")
    assert (response.status_code, response.json()["field"]) == (400, query.split("=")[0])


async def test_a_refusal_before_the_stream_is_a_problem(api):
    api.platform.fails = NotFound("There is no function 'x'.")
    response = await api("GET", f"{LOGS}?follow=true&function=x")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.fixture
async def no_stray_tasks():
    """Nothing that a test began runs on after it."""
    yield
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert [name for name in names if not name.startswith("TestRunner.")] == []  # the test runner's own


class Source:
    """Lines that a test feeds; knows whether it was closed."""

    def __init__(self, api: Client) -> None:
        self.queue: asyncio.Queue[LogLine | BaseException | None] = asyncio.Queue()
        self.closed = False
        api.platform.FollowLogs = lambda action: self

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> LogLine:
        item = await self.queue.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed = True


class Follower:
    """A client on the other end of an open stream, at the level of ASGI."""

    def __init__(self, api: Client) -> None:
        self.received: list[bytes] = []
        self.finished = False
        self.room = asyncio.Event()
        self.room.set()
        self._leaving = asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": LOGS,
            "raw_path": LOGS.encode(),
            "query_string": b"follow=true",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 5000),
        }
        self.task = asyncio.create_task(api.app(scope, self._receive, self._send))

    async def _receive(self):
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        await self.room.wait()
        if self._leaving.is_set():
            raise OSError("the client is gone")
        if message["type"] == "http.response.body":
            self.received.append(message["body"])
            self.finished = not message.get("more_body", False)

    async def leave(self) -> None:
        self._leaving.set()
        self.room.set()
        await self.task


async def test_lines_arrive_as_they_come(api):
    source, follower = Source(api), Follower(api)
    await settle()
    assert follower.received == []
    source.queue.put_nowait(api.platform.say("hello"))
    await settle()
    assert len(follower.received) == 1
    assert b'"text":"hello"' in follower.received[0]
    await follower.leave()


async def test_silence_is_broken_by_heartbeats(api):
    source, follower = Source(api), Follower(api)
    await api.clock.pass_time(HEARTBEAT - 1)
    assert follower.received == []
    await api.clock.pass_time(1)
    await api.clock.pass_time(HEARTBEAT)
    assert follower.received == [b": still here\n\n"] * 2
    source.queue.put_nowait(api.platform.say("after the silence"))
    await settle()
    assert b"after the silence" in follower.received[-1]
    await follower.leave()


async def test_a_client_that_leaves_closes_the_source(api):
    source, follower = Source(api), Follower(api)
    source.queue.put_nowait(api.platform.say("hello"))
    await settle()
    await follower.leave()
    assert source.closed


async def test_a_client_that_leaves_while_we_write_closes_the_source(api):
    source, follower = Source(api), Follower(api)
    await settle()
    follower.room.clear()
    source.queue.put_nowait(api.platform.say("hello"))
    await settle()
    await follower.leave()
    assert source.closed


async def test_a_client_that_was_never_there_closes_the_source(api):
    source, follower = Source(api), Follower(api)
    follower.room.clear()
    await settle()
    await follower.leave()
    assert source.closed


async def test_a_slow_reader_slows_the_source(api):
    source, follower = Source(api), Follower(api)
    await settle()
    follower.room.clear()
    for number in range(100):
        source.queue.put_nowait(api.platform.say(str(number)))
    await settle()
    assert source.queue.qsize() >= 98  # one is being written; at most one more is waiting
    follower.room.set()
    await settle(500)
    assert len(follower.received) == 100
    await follower.leave()


async def test_the_end_of_the_source_is_the_end_of_the_stream(api):
    source, follower = Source(api), Follower(api)
    source.queue.put_nowait(None)
    await follower.task
    assert follower.finished
    assert follower.received == [b"event: end\ndata: {}\n\n", b""]
    assert source.closed


async def test_an_error_in_the_middle_is_an_event(api):
    source, follower = Source(api), Follower(api)
    source.queue.put_nowait(Unavailable("The server stops.", retry_after=1))
    await follower.task
    (event,) = events(b"".join(follower.received).decode())
    assert event[1] == "error"
    assert event[2]["status"] == 503


async def test_a_fault_of_ours_in_the_middle_is_logged_not_told(api, caplog):
    source, follower = Source(api), Follower(api)
    source.queue.put_nowait(RuntimeError("the secret is 42"))
    await follower.task
    text = b"".join(follower.received).decode()
    assert events(text)[0][2]["status"] == 500
    assert "42" not in text
    assert "the secret is 42" in caplog.text
    assert source.closed


async def test_a_server_that_stops_closes_the_source(api):
    source, follower = Source(api), Follower(api)
    await settle()
    follower.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower.task
    assert source.closed
