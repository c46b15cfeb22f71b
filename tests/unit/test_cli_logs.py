"""Following logs: the wire format, and what happens when the stream breaks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.cli import logs
from dayfly.cli.errors import Unreachable
from dayfly.cli.sse import Event, read_events
from tests.support.cli import Run, Stub, no_settings, run, stub

__all__ = ["no_settings", "run", "stub"]

PATH = "/v1/namespaces/default/logs"
WIRE = b': hello\n\nevent: log\nid: 1-0\ndata: {"a":\ndata:  1}\n\nevent: end\r\ndata: {}\r\n\r\ndata: \xc3\xa9\n\n'


@given(st.lists(st.integers(1, len(WIRE) - 1)))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(WIRE)]
    pieces = [WIRE[start:end] for start, end in pairwise(edges)]
    assert list(read_events(pieces)) == [
        Event("log", '{"a":\n 1}', "1-0"),
        Event("end", "{}", "1-0"),
        Event("message", "é", "1-0"),
    ]


def test_an_event_that_did_not_end_is_none() -> None:
    assert list(read_events([b"data: half"])) == []


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    def endless() -> Any:
        while True:
            yield b"x" * (1 << 20)

    with pytest.raises(Unreachable, match="without an end"):
        list(read_events(endless()))


def line(text: str, time: float = 1_700_000_000.25) -> dict[str, Any]:
    return {
        "time": time,
        "namespace": "default",
        "function": "hello",
        "revision": 1,
        "instance": "i",
        "invocation": "018bcfe568007000800000000000000a",
        "stream": "stdout",
        "text": text,
    }


def events(*lines: dict[str, Any], end: bytes = b"event: end\ndata: {}\n\n") -> bytes:
    return b"".join(b"event: log\nid: %f-0\ndata: %s\n\n" % (item["time"], json.dumps(item).encode()) for item in lines) + end


def test_a_broken_stream_is_taken_up_after_the_last_line(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RECONNECT", 0.0)

    def break_off(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        piece = events(line("one"), end=b"")
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.close_connection = True
        stub.give("GET", PATH, events(line("two", 1_700_000_001.0)), content_type="text/event-stream")

    stub.script("GET", PATH, break_off)
    ran = run("logs", "hello", "-f", "-o", "json")
    assert ran.code == 0
    assert [json.loads(text)["text"] for text in ran.out.splitlines()] == ["one", "two"]
    assert "broke" in ran.err
    first, second = stub.asked
    assert first.query["follow"] == second.query["follow"] == "true"
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "1700000000.250000-0"
    assert first.query["since"] == "0s"  # from now on, by the server's clock


def test_a_server_that_stays_away_is_an_error_at_last(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RECONNECT", 0.0)
    ran = run("--url", "http://127.0.0.1:1", "logs", "-f")
    assert ran.code == 3
    assert "Cannot reach Dayfly" in ran.err


def test_an_error_event_ends_the_stream_with_its_problem(run: Run, stub: Stub) -> None:
    problem = {"type": "https://dayfly.dev/problems/not-found", "title": "Gone", "status": 404, "detail": "Gone now"}
    wire = events(line("one"), end=b"event: error\ndata: " + json.dumps(problem).encode() + b"\n\n")
    stub.give("GET", PATH, wire, content_type="text/event-stream")
    ran = run("logs", "-f")
    assert ran.code == 4
    assert ran.out.endswith("one\n")
    assert "Gone now" in ran.err
