"""Requests that are wrong in every way a request can be: each gets a problem document that says what to change."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace

from dayfly import actions, errors
from dayfly.auth.gate import Gate
from dayfly.auth.tokens import Keyring, new_token
from dayfly.model.identity import LOCAL, Identity, Role
from dayfly.testing.clock import settle
from tests.support.api_client import CODE, HELLO, ID, NS, Client

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


@pytest.fixture
def api() -> Client:
    return Client()


def problem(response) -> dict:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"]
    return document


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v1/", "/v1/nothing", NS + "/functions/", NS + "//functions", HELLO + "/x", "/v1/%2e%2e/v1"]
)
async def test_unknown_paths(api, path):
    response = await api("GET", path)
    assert response.status_code == 404
    assert "docs" in problem(response)["hint"]


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "", "localhost:99999"])
async def test_an_odd_host_does_no_harm(api, host):
    for path in ("/nothing", HELLO, "/healthz"):
        assert (await api("GET", path, headers={"host": host})).status_code < 500


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (HELLO, "PATCH", "DELETE, GET, HEAD, OPTIONS, PUT"),
        (NS + "/packages", "GET", "OPTIONS, POST"),
        (NS + "/usage", "POST", "GET, HEAD, OPTIONS"),
        ("/healthz", "DELETE", "GET, HEAD, OPTIONS"),
        ("/v1", "BREW", "GET, HEAD, OPTIONS"),
    ],
)
async def test_methods_that_a_path_does_not_have(api, path, method, allow):
    response = await api(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert problem(response)["type"].endswith("/method-not-allowed")


@pytest.mark.parametrize("path", [HELLO, "/v1"])
async def test_options_lists_the_methods(api, path):
    response = await api("OPTIONS", path)
    assert response.status_code == 204
    assert "GET" in response.headers["allow"]
    assert "access-control-allow-origin" not in response.headers


async def test_head_is_get_without_the_body(api):
    await api.deploy()
    get, head = await api("GET", HELLO), await api("HEAD", HELLO)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (await api("HEAD", NS + "/functions/missing")).content == b""


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"{", None, "byte 1"),
        (b'{"code": }', None, "byte 9"),
        (b"\xff\xfe", None, "not JSON"),
        (b'{"code": {"files": {"a": "\xff"}}}', None, "not JSON"),
        (b"[" * 100_000, "$", "Expected `object`"),
        (b'{"code": {"files": {"a": ' + b"[" * 100_000, "$.code.files[...]", "Expected `str`"),
        (b"[]", "$", "Expected `object`"),
        (b"", "$", "missing required field `code`"),
        (b'{"code": {}, "config": {"memory_mb": "big"}}', "$.config.memory_mb", "Expected `int`, got `str`"),
        (b'{"code": {}, "config": {"memory_mb": 1}}', "$.config.memory_mb", ">= 16"),
        (b'{"code": {}, "config": {"timeout_s": 1e999}}', "$.config.timeout_s", "out of range"),
        (b'{"code": {}, "config": {"env": {"A=B": "x"}}}', "key in $.config.env", "regex"),
        (b'{"code": {}, "config": {"memry": 1}}', "$.config.memry", "unknown field `memry`"),
        (b'{"code": {}, "surprise": 1}', "$.surprise", "unknown field"),
        (b'{"code": {"files": {"a": 1}}}', "$.code.files[...]", "Expected `str`"),
    ],
)
async def test_bodies_that_do_not_fit(api, body, field, says):
    response = await api("PUT", HELLO, content=body, headers=JSON)
    document = problem(response)
    assert response.status_code == 400
    assert says in document["detail"]
    assert document.get("field") == field
    assert api.platform.performed == []


async def test_an_unknown_field_is_answered_with_the_known_ones(api):
    response = await api("PUT", HELLO, json={**CODE, "config": {"memry": 1}})
    assert "$.config takes: runtime, handler, flavour" in problem(response)["hint"]


@pytest.mark.parametrize("name", ["a" * 1_000_000, " - at `" * 100_000, "`" * 1_000_000])
async def test_what_a_request_says_is_not_repeated_at_length(api, name):
    for document in ({name: 1}, {**CODE, "config": {name: 1}}, {**CODE, "config": {"flavour": name}}):
        response = await api("PUT", HELLO, json=document)
        assert response.status_code == 400
        assert len(response.content) < 2000
    response = await api("GET", f"{NS}/invocations", params={"status": name[:20_000]})
    assert (response.status_code, len(response.content) < 2000) == (400, True)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonx"},
        {**JSON, "content-encoding": "gzip"},
    ],
)
async def test_bodies_of_another_type(api, headers):
    response = await api("PUT", HELLO, content=b'{"code": {}}', headers=headers)
    assert response.status_code == 415
    assert problem(response)["hint"]


async def test_json_with_parameters_is_json(api):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    response = await api("POST", HELLO + "/rollback", content=b"{}", headers=headers)
    assert response.status_code == 404  # understood: there is just no such function


async def test_an_empty_body_stands_for_the_defaults(api):
    await api.deploy()
    await api.deploy(memory_mb=128)
    assert (await api("POST", HELLO + "/rollback")).json()["traffic"][0]["revision"] == 1


async def test_a_declared_length_over_the_limit_is_refused_unread(api):
    async def never():
        raise AssertionError("the body was read")
        yield b""

    response = await api("PUT", HELLO, content=never(), headers={**JSON, "content-length": str(9 << 20)})
    assert response.status_code == 413
    assert problem(response)["limit"] == 8 << 20


async def test_a_stream_over_the_limit_is_cut_off():
    api = Client(max_package=1000)
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    response = await api("POST", NS + "/packages", content=endless(), headers={"content-type": "application/zip"})
    assert response.status_code == 413
    assert problem(response)["limit"] == 1000
    assert sent <= 1200


async def test_bodies_in_memory_are_bounded_together():
    api = Client(max_bodies=1000)
    go_on = asyncio.Event()

    async def slow():
        yield b"x" * 400
        await go_on.wait()

    async def upload(body):
        return await api("POST", NS + "/packages", content=body, headers={"content-type": "application/zip"})

    slow_ones = [asyncio.create_task(upload(slow())) for _ in range(2)]
    await settle()
    for refused in (await upload(b"x" * 201), await api("PUT", HELLO, content=b" " * 201, headers=JSON)):
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
    assert (await upload(b"x" * 200)).status_code == 201
    go_on.set()
    assert [(await task).status_code for task in slow_ones] == [201, 200]
    assert (await upload(b"x" * 1000)).status_code == 201  # all of it is free again


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("colour=blue", "There is no parameter `colour`"),
        ("limit=5&limit=6", "more than once"),
        ("limit=0", ">= 1"),
        ("limit=1001", "<= 1000"),
        ("limit=ten", "whole number"),
        ("limit=1e2", "whole number"),
        ("limit=%D9%A3", "whole number"),
        ("limit=", "whole number"),
        ("limit", "query string"),
        ("status=happy", "happy"),
        ("function=", "function"),
        ("function=a%00b", "function"),
        ("function=%ff", "query string"),
        ("function=" + "a" * 257, "function"),
        ("since=yesterday", "since"),
        ("since=-1h", "since"),
        ("since=2026-02-30T00:00:00Z", "day is out of range"),
        ("since=2026-01-01T00:00:00", "since"),
        ("since=2026-01-01", "since"),
        ("cursor=" + "a" * 513, "cursor"),
        ("&".join(f"a{n}=1" for n in range(100)), "query string"),
    ],
)
async def test_queries_that_do_not_fit(api, query, says):
    response = await api("GET", f"{NS}/invocations?{query}")
    assert response.status_code == 400
    assert says in problem(response)["detail"]
    assert api.platform.performed == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", NS + "/functions/UPPER"),
        ("PUT", NS + "/functions/" + "a" * 64),
        ("PUT", NS + "/functions/a%2Fb"),
        ("PUT", NS + "/functions/a.b"),
        ("PUT", NS + "/functions/a%0A"),
        ("PUT", NS + "/functions/%2e%2e"),
        ("PUT", "/v1/namespaces/-"),
        ("GET", NS + "/functions/a%00b"),
        ("GET", NS + "/functions/" + "a" * 300),
        ("GET", NS + "/functions/%ff"),
        ("GET", NS + "/invocations/" + ID.upper()),
        ("GET", NS + "/invocations/1"),
        ("PUT", HELLO + "/aliases/123"),
        ("PUT", HELLO + "/aliases/a%20b"),
        ("DELETE", NS + "/secrets/a%20b"),
    ],
)
async def test_names_that_break_the_rule(api, method, path):
    response = await api(method, path, json=CODE if "functions" in path else None)
    assert response.status_code == 400
    document = problem(response)
    assert document["type"].endswith("/name-invalid")
    assert document["field"] in ("name", "namespace", "alias", "id")
    assert api.platform.performed == []


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.0", "99999999999999999999"])
async def test_revisions_are_numbered_from_one(api, number):
    response = await api("GET", f"{HELLO}/revisions/{number}")
    assert response.status_code == 400
    assert problem(response)["field"] == "number"


async def test_an_encoded_slash_stays_inside_its_name(api):
    await api("GET", NS + "/functions/package%2Faction%20one")
    assert api.platform.last == actions.GetFunction(name="package/action one")


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.Unavailable("full", retry_after=0.2), ("retry-after", "1")),
        (errors.Throttled("slow down", retry_after=7), ("retry-after", "7")),
        (errors.Unauthenticated("who?"), ("www-authenticate", 'Bearer realm="dayfly"')),
    ],
)
async def test_errors_that_become_headers(api, error, header):
    api.platform.fails = error
    response = await api("GET", HELLO)
    assert response.headers[header[0]] == header[1]
    assert problem(response)["detail"] == error.detail


async def test_members_of_an_error_are_shown(api):
    api.platform.fails = errors.BuildFailed("It does not build.", file="handler.py", line=3, hint="Look there.")
    document = problem(await api.deploy())
    assert (document["status"], document["file"], document["line"], document["hint"]) == (422, "handler.py", 3, "Look there.")


async def test_a_fault_of_ours_is_logged_not_told(api, caplog):
    api.platform.fails = RuntimeError("the secret is 42")
    with caplog.at_level(logging.ERROR, "dayfly.api"):
        response = await api("GET", HELLO, headers={"x-request-id": "my-request.1"})
    assert response.status_code == 500
    assert "42" not in response.text
    assert problem(response)["request_id"] == "my-request.1"
    assert "my-request.1" in caplog.text
    assert "the secret is 42" in caplog.text


@pytest.mark.parametrize("given", ["a b", "x" * 65, "", 'a"b', "é"])
async def test_an_odd_request_id_is_replaced(api, given):
    response = await api("GET", "/healthz", headers={"x-request-id": given.encode()})
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


class TestIdentity:
    token = new_token()
    alice = Identity(name="alice", grants={"default": (Role.OWNER,)})
    gate = Gate(Keyring({token: alice}))

    async def test_the_identity_reaches_the_core(self):
        api = Client(self.gate)
        await api("GET", NS + "/secrets", headers={"authorization": f"Bearer {self.token}"})
        assert api.platform.performed == [(actions.ListSecrets(), replace(self.alice, peer="127.0.0.1"))]

    @pytest.mark.parametrize("path", [HELLO, "/v1", "/metrics", NS + "/logs?follow=true"])
    async def test_without_a_token_nothing_happens(self, path):
        api = Client(self.gate)
        response = await api("GET", path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert problem(response)["hint"]
        assert api.platform.performed == []

    async def test_without_a_token_no_body_is_read(self):
        async def never():
            raise AssertionError("the body was read")
            yield b""

        response = await Client(self.gate)("POST", NS + "/packages", content=never())
        assert response.status_code == 401

    @pytest.mark.parametrize("path", ["/healthz", "/v1/openapi.json", "/v1/docs"])
    async def test_health_and_description_are_open(self, path):
        assert (await Client(self.gate)("GET", path)).status_code == 200

    async def test_metrics_are_for_those_who_may_see_everything(self):
        shown = {"authorization": f"Bearer {self.token}"}
        assert (await Client(self.gate)("GET", "/metrics", headers=shown)).status_code == 403

    async def test_a_foreign_page_is_refused(self, api):
        response = await api("DELETE", HELLO, headers={"origin": "https://evil.example"})
        assert response.status_code == 403
        assert api.platform.performed == []

    async def test_a_rebound_name_is_refused(self, api):
        assert (await api("GET", HELLO, headers={"host": "evil.example"})).status_code == 403

    async def test_loopback_needs_no_login(self, api):
        await api.deploy()
        assert [by for _, by in api.platform.performed] == [replace(LOCAL, peer="127.0.0.1")]
