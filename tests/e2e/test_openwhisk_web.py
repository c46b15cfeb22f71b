"""Web actions: what they get, how their answers are read, who may call."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.support.whisk import Whisk, basic, whisk

pytestmark = pytest.mark.anyio

ECHO = "def main(args):\n    return args.get('answer') or {'body': {k: v for k, v in args.items() if k != '__ow_headers'}}\n"


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        await made.put("/packages/shop")
        await export(made, "shop/echo")
        await export(made, "raw", **{"raw-http": True})
        yield made


async def export(ow: Whisk, name: str, code: str = ECHO, parameters: dict[str, Any] | None = None, **annotations: Any) -> None:
    pairs = [{"key": key, "value": value} for key, value in {"web-export": True, **annotations}.items()]
    given = [{"key": key, "value": value} for key, value in (parameters or {}).items()]
    await ow.action(name, code, annotations=pairs, parameters=given)


async def web(ow: Whisk, method: str, path: str, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=ow.url) as http:
        return await http.request(method, f"/api/v1/web/guest/{path}", **options)


async def rendered(ow: Whisk, extension: str, answer: Any) -> tuple[int, str, str]:
    response = await web(ow, "POST", f"shop/echo{extension}", json={"answer": answer})
    return response.status_code, response.headers.get("content-type", ""), response.text


PNG = base64.b64encode(b"\x89PNG\r\n").decode()
TABLE: list[tuple[str, Any, int, str, str]] = [
    (".http", {"body": "hi"}, 200, "text/html; charset=UTF-8", "hi"),
    (".http", {"headers": {"x": 1}}, 204, "", ""),
    (".http", {"statusCode": 201, "body": {"a": 1}}, 201, "application/json", '{\n  "a": 1\n}'),
    (
        ".http",
        {"statusCode": "418", "body": "tea", "headers": {"Content-Type": "text/plain"}},
        418,
        "text/plain; charset=UTF-8",
        "tea",
    ),
    (".http", {"statusCode": 302, "headers": {"location": "https://openwhisk.org"}}, 302, "", ""),
    (
        ".http",
        {"headers": {"content-type": "application/vnd.x+json"}, "body": [1, "a"]},
        200,
        "application/vnd.x+json",
        '[1, "a"]',
    ),
    (
        ".http",
        {"headers": {"content-type": "text/html"}, "body": {"a": 1}},
        400,
        "application/json",
        "Response type in header did not match generated content type.",
    ),
    (
        ".http",
        {"headers": {"content-type": "image/png"}, "body": "no base64"},
        400,
        "application/json",
        "Response type in header did not match generated content type.",
    ),
    (
        ".http",
        {"headers": {"content-type": "xyz"}, "body": "x"},
        400,
        "application/json",
        "Response did not specify a known content-type.",
    ),
    (".http", {"statusCode": 1000, "body": "x"}, 400, "application/json", "Response is not valid 'message/http'."),
    (
        ".http",
        {"headers": {"x": "a\r\nset-cookie: b"}, "body": "x"},
        400,
        "application/json",
        "Response is not valid 'message/http'.",
    ),
    (".http", [1], 400, "application/json", "Response is not valid 'message/http'."),
    (".json", {"a": {"b": []}}, 200, "application/json", '{\n  "a": {\n    "b": []\n  }\n}'),
    (".json", [1, 2], 200, "application/json", "[1, 2]"),
    (".html", {"html": "<b>"}, 200, "text/html; charset=UTF-8", "<b>"),
    (".html", {"body": 5}, 400, "application/json", "Response is not valid 'text/html'."),
    (".svg", {"svg": "<svg/>"}, 200, "image/svg+xml", "<svg/>"),
    (".text", {"text": True}, 200, "text/plain; charset=UTF-8", "true"),
    (".text", {"body": {"a": 1}}, 200, "text/plain; charset=UTF-8", '{\n  "a": 1\n}'),
    (".text", {"a": 1}, 404, "application/json", "Response does not include requested property."),
    (".json", {"error": {"statusCode": 400, "why": "x"}}, 200, "application/json", '{\n  "statusCode": 400,\n  "why": "x"\n}'),
    (".http", {"error": {"statusCode": 418, "body": "mine"}}, 418, "text/html; charset=UTF-8", "mine"),
]


@pytest.mark.parametrize(("extension", "answer", "status", "content_type", "text"), TABLE)
async def test_answers(ow: Whisk, extension: str, answer: Any, status: int, content_type: str, text: str) -> None:
    got = await rendered(ow, extension, answer)
    assert got[:2] == (status, content_type), got
    if '"code"' in got[2]:
        assert got[2].splitlines()[:2] == ["{", f'  "error": "{text}",']
    else:
        assert got[2] == text


async def test_binary_bodies_and_repeated_headers(ow: Whisk) -> None:
    answer = {"headers": {"content-type": "image/png", "set-cookie": ["a=1", "b=2"]}, "body": PNG}
    response = await web(ow, "POST", "shop/echo", json={"answer": answer})
    assert (response.content, response.headers.get_list("set-cookie")) == (b"\x89PNG\r\n", ["a=1", "b=2"])


async def test_what_the_action_gets(ow: Whisk) -> None:
    seen = (await web(ow, "PUT", "shop/echo.text/a/b%20c?x=1&y=2", json={"y": 3})).json()
    assert seen == {"__ow_method": "put", "__ow_path": "/a/b c", "x": "1", "y": 3}
    form = (await web(ow, "POST", "shop/echo.text", data={"f": "1"})).json()
    assert form["f"] == "1"
    for content, kind, body in [
        (b"[1]", "application/json", [1]),
        (b"plain", "text/plain", "plain"),
        (b"\x00\x01", "application/octet-stream", "AAE="),
    ]:
        seen = (await web(ow, "POST", "shop/echo.text", content=content, headers={"content-type": kind})).json()
        assert seen["__ow_body"] == body
    raw = (await web(ow, "POST", "default/raw.text?a=1&b=%20", json={"q": 1})).json()
    assert (raw["__ow_query"], base64.b64decode(raw["__ow_body"])) == ("a=1&b=%20", b'{"q":1}')
    known = (await web(ow, "GET", "shop/echo.text", headers=ow.http.headers)).json()
    assert known["__ow_user"] == "guest"


async def test_reserved_and_final_parameters_stay(ow: Whisk) -> None:
    await export(ow, "final", parameters={"price": 5, "open": None}, final=True)
    assert (await web(ow, "GET", "default/final.text?open=1")).json()["price"] == 5
    for path in ("default/final?price=0", "default/final?__ow_method=x"):
        refused = await web(ow, "GET", path)
        assert (refused.status_code, refused.json()["error"]) == (
            400,
            "Request defines parameters that are not allowed (e.g., reserved properties).",
        )
    direct = await ow.invoke("final", {"price": 0})
    assert direct.status_code == 400


async def test_cors_and_preflight(ow: Whisk) -> None:
    asked = await web(ow, "OPTIONS", "shop/echo", headers={"access-control-request-headers": "x-mine"})
    assert (asked.status_code, asked.headers["access-control-allow-headers"]) == (200, "x-mine")
    assert asked.headers["access-control-allow-methods"] == "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"
    assert (await web(ow, "GET", "shop/echo")).headers["access-control-allow-origin"] == "*"
    await export(ow, "custom", **{"web-custom-options": True, "require-whisk-auth": "s3cret"})
    own = await web(ow, "OPTIONS", "default/custom.text")
    assert own.json()["__ow_method"] == "options"
    assert "access-control-allow-origin" not in own.headers


async def test_who_may_call(ow: Whisk) -> None:
    await ow.action("private")
    for path in ("default/private", "default/nothing", "nowhere/echo"):
        missing = await web(ow, "GET", path)
        assert (missing.status_code, missing.json()["error"]) == (404, "The requested resource does not exist.")
    await export(ow, "keyed", **{"require-whisk-auth": "s3cret"})
    await export(ow, "owned", **{"require-whisk-auth": True})
    assert (await web(ow, "GET", "default/keyed.text")).status_code == 401
    assert (await web(ow, "GET", "default/keyed.text", headers={"x-require-whisk-auth": "s3cret"})).status_code == 200
    assert (await web(ow, "GET", "default/owned.text", headers=basic("a:b"))).status_code == 401
    assert (await web(ow, "GET", "default/owned.text", headers=ow.http.headers)).status_code == 200


async def test_the_developers_error_is_nobodys_business(ow: Whisk) -> None:
    await export(ow, "broken", "def main(args):\n    return 5\n")
    answer = await web(ow, "GET", "default/broken")
    assert (answer.status_code, answer.json()["error"]) == (400, "There was an error processing your request.")
    assert answer.headers["x-openwhisk-activation-id"]
