"""The API client: connections, errors that teach, pages."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from dayfly.cli.client import Client, segment
from dayfly.cli.errors import ExitCode, Failure, Problem, Unreachable
from tests.support.cli import FUNCTIONS, Stub, function, no_settings, stub

__all__ = ["no_settings", "stub"]

MakeClient = Callable[..., Client]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Clients that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(url: str, **options: Any) -> Client:
            client = Client(url, **options)
            stack.callback(client.close)
            return client

        yield make


def test_one_connection_serves_many_requests(stub: Stub, make_client: MakeClient) -> None:
    stub.give("GET", FUNCTIONS, {"items": []})
    client = make_client(stub.url)
    for _ in range(5):
        client.get(FUNCTIONS)
    assert len(stub.asked) == 5
    assert stub.connections == 1


def test_a_connection_that_the_server_closed_while_idle_is_opened_again(stub: Stub, make_client: MakeClient) -> None:
    def answer_and_close(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)  # without saying "connection: close"
        handler.close_connection = True

    stub.script("GET", "/a", answer_and_close)
    client = make_client(stub.url)
    assert client.get("/a") == {}
    assert client.get("/a") == {}
    assert stub.connections == 2


def test_a_post_is_not_sent_twice(stub: Stub, make_client: MakeClient) -> None:
    def hang_up(handler: Any) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    stub.give("GET", "/a", {})
    stub.script("POST", "/a", hang_up)
    client = make_client(stub.url)
    client.get("/a")
    with pytest.raises(Unreachable, match="broke"):
        client.request("POST", "/a")
    assert [asked.method for asked in stub.asked] == ["GET", "POST"]


def test_nothing_listens(make_client: MakeClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unreachable) as caught:
            make_client(f"http://127.0.0.1:{port}").get("/")
    assert caught.value.message == f"Cannot reach Dayfly at http://127.0.0.1:{port} (Connection refused)."
    assert caught.value.hint == f"Start it with: dayfly up --port {port}"
    assert caught.value.code == ExitCode.UNREACHABLE


def test_a_name_that_does_not_resolve_is_no_reason_to_start_a_server(make_client: MakeClient) -> None:
    with pytest.raises(Unreachable) as caught:
        make_client("http://nowhere.invalid:8000").get("/")
    assert "--url" in caught.value.hint
    assert "dayfly up" not in caught.value.hint


def test_another_program_has_the_port(stub: Stub, make_client: MakeClient) -> None:
    stub.give("GET", FUNCTIONS, b"<h1>It works!</h1>", content_type="text/html")
    stub.give("GET", "/missing", b"<h1>404</h1>", status=404, content_type="text/html")
    client = make_client(stub.url)
    for path in (FUNCTIONS, "/missing"):
        with pytest.raises(Unreachable, match="is not Dayfly"):
            client.get(path)


def test_an_answer_that_stops_short_is_an_error(stub: Stub, make_client: MakeClient) -> None:
    def stop_short(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b"short")
        handler.close_connection = True

    stub.script("GET", "/a", stop_short)
    client = make_client(stub.url)
    with pytest.raises(Unreachable, match="broke"), client.open("GET", "/a") as answer:
        list(answer.chunks())


def test_problems_carry_what_the_server_said(stub: Stub, make_client: MakeClient) -> None:
    stub.refuse(
        "GET",
        "/a",
        422,
        "build-failed",
        "It does not compile",
        hint="Mend it.",
        file="a.py",
        line=3,
        log=["one", "two"],
        rule="x",
    )
    with pytest.raises(Problem) as caught:
        make_client(stub.url).get("/a")
    assert caught.value.format_message() == "Title: It does not compile.\n  in a.py, line 3\n  | one\n  | two"
    assert caught.value.hint == "Mend it."
    assert caught.value.code == ExitCode.BROKEN_CODE


def test_lists_are_read_page_by_page(stub: Stub, make_client: MakeClient) -> None:
    def page(handler: Any) -> None:
        from urllib.parse import parse_qsl, urlsplit

        query = dict(parse_qsl(urlsplit(handler.path).query))
        start = int(query.get("cursor", 0))
        items = [function(f"f{i}") for i in range(start, min(start + 2, 5))]
        stub.give("GET", "/page", {"items": items, "cursor": str(start + 2) if start + 2 < 5 else ""})
        stub._answers["GET", "/page"](handler)

    stub.script("GET", FUNCTIONS, page)
    client = make_client(stub.url)
    assert [item["name"] for item in client.items(FUNCTIONS)] == ["f0", "f1", "f2", "f3", "f4"]
    assert [item["name"] for item in client.items(FUNCTIONS, limit=3)] == ["f0", "f1", "f2"]
    assert stub.asked[-1].query == {"limit": "1", "cursor": "2"}


def test_the_token_travels_as_a_bearer(stub: Stub, make_client: MakeClient) -> None:
    stub.give("GET", "/a", {})
    client = make_client(stub.url, token="s3cret")
    client.get("/a")
    assert stub.asked[0].headers["authorization"] == "Bearer s3cret"


def test_unix_sockets(tmp_path: Path, make_client: MakeClient) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"over": "unix"}')

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(http.server.HTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)  # type: ignore[arg-type]

        def get_request(self) -> tuple[socket.socket, Any]:
            return self.socket.accept()[0], ("unix", 0)

    path = tmp_path / "api.sock"
    with Server(str(path), Handler) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = make_client(f"unix:{path}")
        assert client.get("/") == {"over": "unix"}
        thread.join()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://host:port", "unix:"])
def test_what_is_not_an_address(url: str) -> None:
    with pytest.raises(click.UsageError, match="is not an address"):
        Client(url)


def test_every_kind_of_problem_has_its_exit_code() -> None:
    import dayfly.errors
    from dayfly.cli.errors import BY_KIND

    kinds = {
        error.kind
        for error in vars(dayfly.errors).values()
        if isinstance(error, type) and issubclass(error, dayfly.errors.DayflyError)
    }
    assert set(BY_KIND) <= kinds
    unmapped = {"internal", "bad-input", "name-invalid", "method-not-allowed", "too-large", "unsupported-media", "conflict"}
    unmapped |= {"quota-exceeded"}
    assert kinds - set(BY_KIND) == unmapped
    assert issubclass(Problem, Failure)


def test_an_empty_name_is_told_before_anything_is_sent() -> None:
    assert segment("a/b") == "a%2Fb"
    with pytest.raises(Failure, match="A name is empty"):
        segment("")
