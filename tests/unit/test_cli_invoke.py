"""`invoke`: bodies in and out, streams, errors of functions and of the platform."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Run, Stub, no_settings, run, stub

__all__ = ["no_settings", "run", "stub"]

HELLO = "/fn/default/hello"
ID = "018bcfe568007000800000000000000a"


def test_the_body_of_the_answer_is_stdout_and_nothing_else(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, {"sum": 3}, dayfly_invocation_id=ID, dayfly_cold="true")
    assert run("invoke", "hello", "-d", '{"a": 1}') == (0, '{"sum": 3}', "")
    asked = stub.asked[0]
    assert asked.json == {"a": 1}
    assert asked.headers["content-type"] == "application/json"
    assert "prefer" not in asked.headers


def test_without_data_the_body_is_empty(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, None)
    assert run("invoke", "hello").code == 0
    assert stub.asked[0].body == b""
    assert "content-type" not in stub.asked[0].headers


def test_binary_goes_in_and_comes_out_unchanged(run: Run, stub: Stub, tmp_path: Path) -> None:
    picture = bytes(range(256)) * 1000
    (tmp_path / "photo").write_bytes(picture)
    stub.give("POST", HELLO, picture, content_type="image/jpeg")
    ran = run("invoke", "hello", "-d", f"@{tmp_path / 'photo'}", "-H", "Content-Type: image/jpeg")
    assert ran.out.encode("utf-8", "surrogateescape") == picture
    assert stub.asked[0].body == picture
    assert stub.asked[0].headers["transfer-encoding"] == "chunked"
    assert stub.asked[0].headers["content-type"] == "image/jpeg"


def test_a_stream_is_printed_while_it_comes(stub: Stub) -> None:
    seen = threading.Event()

    def stream(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"6\r\nfirst\n\r\n")
        handler.wfile.flush()
        assert seen.wait(10), "the first piece was not printed before the second was sent"
        handler.wfile.write(b"7\r\nsecond\n\r\n0\r\n\r\n")

    stub.script("POST", HELLO, stream)
    with subprocess.Popen([sys.executable, "-m", "dayfly", "invoke", "hello"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        seen.set()
        assert process.stdout.read() == b"second\n"
    assert process.returncode == 0


def test_standard_input_is_streamed_too(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, b"ok")
    command = [sys.executable, "-m", "dayfly", "invoke", "hello", "-d", "-", "-H", "content-type: text/plain"]
    done = subprocess.run(command, input=b"some text", capture_output=True, check=True)
    assert done.stdout == b"ok"
    assert stub.asked[0].body == b"some text"


@pytest.mark.parametrize("data", ["{", "hello", "{'a': 1}", ""])
def test_what_is_not_json_does_not_travel(run: Run, stub: Stub, data: str) -> None:
    ran = run("invoke", "hello", "-d", data)
    assert ran.code == 2
    assert "this is not JSON" in ran.err
    assert "-H 'content-type: text/plain'" in ran.err
    assert stub.asked == []


def test_http_functions_get_method_path_query_and_headers(run: Run, stub: Stub) -> None:
    stub.give("PUT", HELLO + "/items/a%20b/7", b"")
    arguments = ["--method", "put", "--path", "/items/a b/7", "--query", "x=1&y=%2F", "-H", "X-One: 1", "-H", "X-Two:2"]
    assert run("invoke", "hello", *arguments).code == 0
    asked = stub.asked[0]
    assert (asked.method, asked.query) == ("PUT", {"x": "1", "y": "/"})
    assert (asked.headers["x-one"], asked.headers["x-two"]) == ("1", "2")


@pytest.mark.parametrize("header", ["novalue", "a b: c", "x: a\r\nevil: 1", ": x"])
def test_headers_that_are_none(run: Run, stub: Stub, header: str) -> None:
    assert run("invoke", "hello", "-H", header).code == 2
    assert stub.asked == []


@pytest.mark.parametrize(("name", "path"), [("hello@3", "/fn/shop/hello@3"), ("a/../b", "/fn/shop/a%2F..%2Fb")])
def test_qualifiers_and_hostile_names(run: Run, stub: Stub, name: str, path: str) -> None:
    stub.give("POST", path, b"")
    assert run("invoke", name, "-n", "shop").code == 0


def test_an_error_of_the_function_is_told_on_stderr_with_code_10(run: Run, stub: Stub) -> None:
    error = {"type": "ValueError", "message": "no\x1b[2J", "trace": ["handler.py:3 in handler\n    raise ValueError()"]}
    stub.give("POST", HELLO, {"error": error, "invocation": ID}, status=500, dayfly_error="function")
    ran = run("invoke", "hello")
    assert ran == (
        10,
        "",
        "ValueError: no\\x1b[2J\n  handler.py:3 in handler\n      raise ValueError()\n"
        f"Its logs: dayfly logs --invocation {ID}\n",
    )


def test_an_error_of_the_platform_is_told_apart(run: Run, stub: Stub) -> None:
    stub.refuse("POST", HELLO, 504, "timed-out", "It took too long", invocation=ID, hint="Make it faster.")
    ran = run("invoke", "hello")
    assert (ran.code, ran.out) == (11, "")
    assert ran.err == f"Error: Title: It took too long.\nMake it faster.\nInvocation {ID}\n"


def test_throttling_says_when_to_try_again(run: Run, stub: Stub) -> None:
    stub.refuse("POST", HELLO, 429, "throttled", "Too many", retry_after=2)
    ran = run("invoke", "hello")
    assert ran.code == 7
    assert "Try again in 2 s." in ran.err


def test_an_http_function_may_answer_what_looks_like_a_problem(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, {"title": "mine"}, status=404, content_type="application/problem+json", dayfly_invocation_id=ID)
    ran = run("invoke", "hello")
    assert (ran.code, ran.out) == (10, '{"title": "mine"}')
    assert ran.err == "The function answered with status 404.\n"


def test_an_asynchronous_call_prints_its_id(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, {"invocation": ID}, status=202)
    ran = run("invoke", "hello", "--async", "--idempotency-key", "k1")
    assert (ran.code, ran.out) == (0, f"{ID}\n")
    assert f"dayfly result --wait {ID}" in ran.err
    assert stub.asked[0].headers["prefer"] == "respond-async"
    assert stub.asked[0].headers["idempotency-key"] == "k1"
    assert run("invoke", "hello", "--async", "-o", "json").json == {"invocation": ID}


def test_a_delayed_call_is_asynchronous(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, {"invocation": ID}, status=202)
    assert run("invoke", "hello", "--delay", "1.5").out == f"{ID}\n"
    assert stub.asked[0].headers["dayfly-delay"] == "1.500"
    assert stub.asked[0].headers["prefer"] == "respond-async"


def test_headers_and_timings_on_request(run: Run, stub: Stub) -> None:
    stub.give("POST", HELLO, b"body", server_timing="queue;dur=0.1, run;dur=2", dayfly_cold="false")
    ran = run("invoke", "hello", "-i")
    assert ran.out == "body"
    assert ran.err.startswith("HTTP 200\n")
    assert "server-timing: queue;dur=0.1, run;dur=2\n" in ran.err


def test_a_stream_that_breaks_off_is_an_error(run: Run, stub: Stub) -> None:
    def break_off(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nfirst\r\n")
        handler.close_connection = True

    stub.script("POST", HELLO, break_off)
    ran = run("invoke", "hello")
    assert (ran.code, ran.out) == (3, "first")
    assert "broke" in ran.err


def test_a_function_cannot_steer_the_terminal_it_answers_to(stub: Stub) -> None:
    stub.give("POST", HELLO, b"\x1b]0;owned\x07h\xc3\xa9llo\n\xffend")
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "dayfly", "invoke", "hello"], stdout=slave) as process:
        os.close(slave)
        shown = b""
        try:
            while piece := os.read(master, 4096):
                shown += piece
        except OSError:  # how Linux reports that the other side of a terminal is closed
            pass
    os.close(master)
    assert shown == b"\\x1b]0;owned\\x07h\xc3\xa9llo\r\n\\xffend\r\n"
    assert process.returncode == 0


def test_waiting_for_a_result_asks_when_the_server_says_so(run: Run, stub: Stub) -> None:
    path = f"/v1/namespaces/default/invocations/{ID}/result"
    pending = stub.problem_writer(404, "not-found", "still running", retry_after=0.001)
    document = {"status": 200, "body": '{"done": 1}', "encoding": "utf-8", "error": None}

    def not_yet(handler: Any) -> None:
        pending(handler)
        if len(stub.asked) == 3:
            stub.give("GET", path, document)

    stub.script("GET", path, not_yet)
    assert run("result", ID).code == 4
    assert run("result", "--wait", ID) == (0, '{"done": 1}', "")
    assert len(stub.asked) == 4


def test_waiting_for_a_result_that_never_comes_ends(run: Run, stub: Stub) -> None:
    path = f"/v1/namespaces/default/invocations/{ID}/result"
    stub.refuse("GET", path, 404, "not-found", "it was cancelled")
    assert run("result", "--wait", ID).code == 4
