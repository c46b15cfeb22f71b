"""What the command line is tested against: an HTTP server with answers given in advance, and the real control API."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
import uvicorn

from dayfly.api import create_app
from dayfly.auth.gate import Gate
from dayfly.cli.main import main
from tests.support.fake_platform import FakePlatform

FUNCTIONS = "/v1/namespaces/default/functions"


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stub:
    """`give` an answer for a method and path; look at what was `asked`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self._answers: dict[tuple[str, str], Callable[[Any], None]] = {}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub.connections += 1

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def answer(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, self._body(headers))
                stub.asked.append(asked)
                answer = stub._answers.get((self.command, parts.path))
                if answer is None:
                    stub.problem_writer(404, "not-found", f"nothing at {self.command} {parts.path}")(self)
                else:
                    answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

            def _body(self, headers: dict[str, str]) -> bytes:
                if headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def give(self, method: str, path: str, document: Any = None, *, status: int = 200, **headers: str) -> None:
        """Answer with JSON (or with bytes as they are)."""
        body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[method, path] = lambda handler: _write(handler, status, body, named)

    def problem_writer(self, status: int, kind: str, detail: str, **members: Any) -> Callable[[Any], None]:
        document = {"type": f"https://dayfly.dev/problems/{kind}", "title": "Title", "status": status, "detail": detail}
        body = json.dumps(document | members).encode()
        return lambda handler: _write(
            handler, status, body, {"content-type": "application/problem+json", "dayfly-error": "platform"}
        )

    def refuse(self, method: str, path: str, status: int, kind: str, detail: str = "no", **members: Any) -> None:
        self._answers[method, path] = self.problem_writer(status, kind, detail, **members)

    def script(self, method: str, path: str, answer: Callable[[Any], None]) -> None:
        """Let `answer` write on the handler what it likes."""
        self._answers[method, path] = answer


def _write(handler: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in ({"content-type": "application/json"} | headers).items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def stub(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.setenv("DAYFLY_URL", server.url)
    yield server
    server.close()


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer has set must not leak into the tests."""
    for name in [*os.environ]:
        if name.startswith("DAYFLY_") or name in ("NO_COLOR", "XDG_STATE_HOME"):
            monkeypatch.delenv(name)


class Api:
    """The API listening on a free port, over the platform of the test at hand."""

    def __init__(self) -> None:
        self.platform = FakePlatform()
        app = create_app(lambda action, by: self.platform.perform(action, by), Gate().control, lambda: "up 1\n")
        listening = threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                listening.set()

        self._server = Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        assert listening.wait(10)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


@pytest.fixture
def platform(no_settings: None, api: Api, monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    """A fresh platform behind the API, and DAYFLY_URL pointing there."""
    monkeypatch.setenv("DAYFLY_URL", api.url)
    api.platform = FakePlatform()
    return api.platform


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ran]:
    """Run a command line: exit code, stdout, stderr."""

    def run_it(*arguments: str) -> Ran:
        code = main(list(arguments))
        out, err = capfdbinary.readouterr()
        return Ran(int(code), out.decode("utf-8", "surrogateescape"), err.decode())

    return run_it


def function(name: str = "hello", latest: int = 2, **changes: Any) -> dict[str, Any]:
    """A function as the API shows it."""
    return {
        "namespace": "default",
        "name": name,
        "latest": latest,
        "traffic": [{"revision": latest, "weight": 1.0, "tag": ""}],
        "aliases": {},
        "labels": {},
        "profile": "native",
        "created": 1_700_000_000.0,
        "updated": 1_700_000_000.0,
    } | changes


def revision(number: int = 2, **config: Any) -> dict[str, Any]:
    """A revision as the API shows it."""
    return {
        "namespace": "default",
        "function": "hello",
        "number": number,
        "config": {
            "runtime": "python3.11",
            "handler": "hello.handler",
            "flavour": "event",
            "contract": "dayfly",
            "env": {},
            "secrets": {},
            "memory_mb": 256,
            "cpu": 0.0,
            "timeout_s": 60.0,
            "init_timeout_s": 10.0,
            "tmp_mb": 64,
            "pids": 128,
            "concurrency": 1,
            "min_instances": 0,
            "max_instances": 100,
        }
        | config,
        "artifact": {"digest": "ab" * 32, "mounts": [], "size": 100},
        "digest": "cd" * 32,
        "created": 1_700_000_000.0,
        "profile": "native",
    }
