"""The `provided` runtime: a foreign HTTP server behind frames."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from instance import PYTHON, Instance, running

from dayfly.sandbox import frames

SERVER = (
    f"#!{sys.executable} -IS\n"
    + """
import json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

meet = threading.Barrier(2)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        print("connected", flush=True)

    def pieces(self):
        if self.headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.rfile.readline(), 16)
                data = self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return
                yield data
        else:
            yield self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self):
        path = self.path.partition("?")[0]
        if path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for data in self.pieces():
                self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(data), data))
            self.wfile.write(b"0\\r\\nTrailer: 1\\r\\n\\r\\n")
            return
        if path == "/early":
            self.close_connection = True
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"".join(self.pieces())
        if path == "/raw":
            self.close_connection = True
            self.wfile.write(body)
            return
        if path == "/drop":
            self.close_connection = True
            return
        if path == "/exit":
            os._exit(9)
        if path == "/wait":
            self.connection.recv(1)
            print("gone", flush=True)
            self.close_connection = True
            return
        if path == "/meet":
            meet.wait()
        if path == "/orphan":
            body = str(subprocess.Popen(["true"]).pid).encode()
        if path in ("/", "/echo"):
            body = json.dumps({
                "method": self.command, "target": self.path, "headers": [[k.lower(), v] for k, v in self.headers.items()],
                "body": body.decode("latin-1"), "env": dict(os.environ), "cwd": os.getcwd()}).encode()
        self.send_response(200 if path != "/nothing" else 204)
        self.send_header("X-Twice", "1")
        self.send_header("X-Twice", "2")
        self.send_header("Connection", "keep-alive, x-hop")
        self.send_header("X-Hop", "no")
        if path != "/nothing":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and path != "/nothing":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_BREW = answer

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
)


def bootstrap(root: Path, text: str = SERVER, mode: int = 0o755) -> Path:
    path = root / "bootstrap"
    path.write_text(text)
    path.chmod(mode)
    return root


def serving(root: Path, **work: Any) -> AbstractContextManager[Instance]:
    return running(PYTHON, root, runtime="provided", handler="", **work)


def test_an_http_call_arrives_as_it_was_sent(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), env={"SECRET": "x"}, flavour="http") as instance:
        link = instance.connect()
        assert link.ready()["init_s"] > 0
        answer = link.http(
            "BREW",
            "/echo",
            "a=1&b=%20",
            [("host", "example.org"), ("x-a", "1"), ("x-a", "2"), ("connection", "close"), ("dayfly-deadline", "forged")],
            b"\x00\xffbinary",
        )
        assert answer.status == 200
        assert [value for name, value in answer.headers if name == "x-twice"] == ["1", "2"]
        assert not {"connection", "x-hop", "content-length"} & {name for name, _ in answer.headers}
        seen = answer.json
        assert (seen["method"], seen["target"], seen["body"]) == ("BREW", "/echo?a=1&b=%20", "\x00\xffbinary")
        headers = seen["headers"]
        assert ["host", "example.org"] in headers
        assert [value for name, value in headers if name == "x-a"] == ["1", "2"]
        assert "connection" not in dict(headers)
        assert dict(headers)["dayfly-invocation-id"] == f"{1:032x}"
        assert [float(value) > 1e9 for name, value in headers if name == "dayfly-deadline"] == [True]
        assert seen["env"]["SECRET"] == "x"
        assert seen["env"]["DAYFLY_FUNCTION"] == "demo"
        assert "INHERITED" not in seen["env"]
        assert seen["cwd"] == str(tmp_path)


def test_an_event_becomes_a_post_of_its_json(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path)) as instance:
        link = instance.connect()
        link.ready()
        seen = link.call({"a": 1}, trace="00-a-b-01").json
        headers = dict(seen["headers"])
        assert (seen["method"], seen["target"], json.loads(seen["body"])) == ("POST", "/", {"a": 1})
        assert (headers["content-type"], headers["content-length"]) == ("application/json", "8")
        assert headers["traceparent"] == "00-a-b-01"
        assert dict(link.call().json["headers"])["content-length"] == "0"
        assert link.http("GET", "/orphan").status == 200
        answer = link.call()
        assert answer.head is not None
        assert answer.head["rss_kb"] > 1000
        out = instance.log()
    assert out.count("connected") == 2  # the attempt to connect, and one connection for all calls
    assert out.endswith("".join(f"\x1e{n:032x}\n" for n in range(2, 5)))


def test_both_bodies_stream(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), flavour="http") as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin(end=False, http={"method": "POST", "path": "/stream", "query": "", "headers": []})
        head = json.loads(link.frame()[2])
        assert ["content-type", "text/event-stream"] in head["headers"]
        for piece in (b"one", b"two"):
            link.send(stream, piece, end=False)
            assert link.frame() == (frames.DATA, stream, piece)
        link.send(stream, b"", end=True)
        assert link.frame() == (frames.DATA | frames.END, stream, b"")
        big = os.urandom(3 << 20)
        http = {"method": "PUT", "path": "/put", "query": "", "headers": [["content-length", str(len(big))]]}
        assert link.call(big, http=http).body == big


def test_bodies_that_http_forbids(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), flavour="http") as instance:
        link = instance.connect()
        link.ready()
        assert link.http("HEAD", "/echo").body == b""
        nothing = link.http("GET", "/nothing")
        assert (nothing.status, nothing.body) == (204, b"")


def test_an_answer_before_the_whole_request(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), flavour="http") as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin(b"some", end=False, http={"method": "POST", "path": "/early", "query": "", "headers": []})
        assert link.answer(stream).status == 413
        assert link.http("GET", "/echo").status == 200


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"hello\r\n\r\n", "its answer begins with 'hello'"),
        (b"HTTP/1.1 999 No\r\n\r\n", "which is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "malformed header 'A : b'"),
        (b"HTTP/1.1 200 OK\r\na: b\x01\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 201 + b"\r\n", "has 201 headers; at most 200"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length '-1'"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "unknown transfer-encoding 'gzip'"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "switched protocols"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a chunk of its answer has the size b'zz'"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it said"),
        (b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000, "are longer than 65536 bytes"),
        (b"HTTP/1.1 200", "in the middle of its headers"),
        (b"", "without an answer"),
    ],
)
def test_a_server_that_breaks_http_is_refused(answer: bytes, problem: str, broken: Any) -> None:
    assert problem in broken.http("POST", "/raw", body=answer).refused


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nA: b\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
def test_a_server_may_use_all_of_http(answer: bytes, body: bytes, broken: Any) -> None:
    assert broken.http("POST", "/raw", body=answer).body == body


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(bootstrap(tmp_path_factory.mktemp("broken"))) as instance:
        link = instance.connect()
        link.ready()
        yield link


def test_calls_run_side_by_side_up_to_the_concurrency(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), concurrency=2, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        http = {"method": "POST", "path": "/meet", "query": "", "headers": []}
        one, two = link.answer(link.begin(b"one", http=http), link.begin(b"two", http=http))
        assert (one.body, two.body) == (b"one", b"two")


def test_a_cancelled_call_is_broken_off(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path), concurrency=2, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin(http={"method": "GET", "path": "/wait", "query": "", "headers": []})
        assert link.http("GET", "/echo").status == 200
        link.cancel(stream)
        assert link.answer(stream).error["type"] == "Cancelled"
        assert link.http("GET", "/echo").status == 200


def test_two_instances_live_side_by_side_without_isolation(tmp_path: Path) -> None:
    bootstrap(tmp_path)
    with serving(tmp_path) as one, serving(tmp_path) as two:
        ports = []
        for instance in (one, two):
            link = instance.connect()
            link.ready()
            ports.append(link.call().json["env"]["PORT"])
        assert ports[0] != ports[1]


def test_when_the_program_ends_so_does_the_instance(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path)) as instance:
        link = instance.connect()
        link.ready()
        link.begin(http={"method": "GET", "path": "/exit", "query": "", "headers": []})
        assert instance.exit_status() == 1
        assert "`bootstrap` exited with status 9: this instance ends" in instance.log("stderr")


def test_a_gateway_that_restarts_finds_the_program_running(tmp_path: Path) -> None:
    with serving(bootstrap(tmp_path)) as instance:
        link = instance.connect()
        ready = link.ready()
        link.close()
        link = instance.connect()
        assert link.ready() == ready
        assert link.call().status == 200


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (None, 0, "the package has no file `bootstrap` at its top"),
        ("#!/bin/sh\n", 0o644, "`bootstrap` is not executable; run: chmod +x bootstrap"),
        ("no shebang", 0o755, "neither a program for this machine nor a script"),
        ("#!/no/such/interpreter\n", 0o755, "its interpreter (the #! line) or loader does not exist here"),
        ("#!/bin/sh\nexit 3\n", 0o755, "`bootstrap` exited with status 3 before it listened on port"),
        ("#!/bin/sh\nkill -9 $$\n", 0o755, "`bootstrap` was killed by signal 9 before it listened"),
        ("#!/bin/sh\nexec sleep 60\n", 0o755, "does not listen on port"),
    ],
)
def test_a_program_that_does_not_serve_says_why(text: str | None, mode: int, message: str, tmp_path: Path) -> None:
    if text is not None:
        bootstrap(tmp_path, text, mode)
    with serving(tmp_path, init_timeout_s=0.3) as instance:
        assert message in instance.connect().failed()["message"]
        assert instance.exit_status() == 1
