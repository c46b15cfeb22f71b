"""What the controller's suite of OpenWhisk says of web actions: WebActionsApiTests, of tests/src/test/scala/org/apache/openwhisk/core/controller."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.whisk import Whisk, basic, whisk

pytestmark = pytest.mark.anyio

CODE = """
import base64, json
def main(args):
    told = args.get('__ow_headers', {}).get('x-answer')
    return json.loads(base64.b64decode(told)) if told else {'content': args}
"""
METHODS = ("OPTIONS", "GET", "DELETE", "POST", "PUT", "PATCH")
NOT_ALLOWED = "Request defines parameters that are not allowed (e.g., reserved properties)."
RESERVED = ("__ow_user", "__ow_method", "__ow_headers", "__ow_path", "__ow_query", "__ow_body")


def pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        await made.put("/packages/proxy", parameters=pairs({"y": "Y", "z": "Z", "empty": None}))
        await made.put("/packages/prov", publish=True, parameters=pairs({"a": "A", "b": "b"}))
        await made.put(
            "/packages/ref",
            binding={"namespace": "_", "name": "prov"},
            parameters=pairs({"a": "a", "c": "c"}),
            annotations=pairs({"web-export": False}),
        )
        exported = {"web-export": True, "final": True}
        for name, more in {
            "proxy/export_c": {"web-custom-options": True},
            "proxy/plain": {},
            "proxy/raw": {"raw-http": True},
            "proxy/auth": {"require-whisk-auth": True},
            "proxy/key": {"require-whisk-auth": "secret"},
        }.items():
            await made.action(name, CODE, annotations=pairs(exported | more), parameters=pairs({"x": "X"}))
        await made.action("prov/e", CODE, annotations=pairs({"web-export": True}), parameters=pairs({"c": "C"}))
        yield made


async def web(ow: Whisk, method: str, path: str, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=ow.url) as http:
        return await http.request(method, f"/api/v1/web/guest/{path}", **options)


async def answering(ow: Whisk, extension: str, answer: Any, method: str = "GET", **headers: str) -> httpx2.Response:
    told = base64.b64encode(json.dumps(answer).encode()).decode()
    return await web(ow, method, f"proxy/export_c{extension}", headers={"x-answer": told} | headers)


async def content(ow: Whisk, method: str, path: str, **options: Any) -> dict[str, Any]:
    answer = await web(ow, method, path, **options)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["content"]
    return told


@pytest.mark.parametrize("method", METHODS)
async def test_parameters_are_merged(ow: Whisk, method: str) -> None:
    got = await content(ow, method, "proxy/export_c.json/?a=b&c=d")
    mine = {key: value for key, value in got.items() if not key.startswith("__ow_")}
    assert mine == {"x": "X", "y": "Y", "z": "Z", "empty": None, "a": "b", "c": "d"}
    assert (got["__ow_method"], got["__ow_path"]) == (method.lower(), "/")
    assert not {"__ow_body", "__ow_query"} & set(got)


async def test_what_is_final_or_reserved_stays(ow: Whisk) -> None:
    for query, body in (("x=o", None), ("y=o", None), ("", {"x": "o"}), ("y=o", {"z": "o"})):
        refused = await web(ow, "POST", f"proxy/export_c.json?{query}", json=body)
        assert (refused.status_code, refused.json()["error"]) == (400, NOT_ALLOWED)
    for name in RESERVED:
        for options in ({"params": {name: "Y"}}, {"json": {name: "Y"}}):
            refused = await web(ow, "POST", "proxy/export_c.json", **options)
            assert (refused.status_code, refused.json()["error"]) == (400, NOT_ALLOWED)
            assert len(refused.text.splitlines()) == 4, "printed for people"
    assert (await content(ow, "POST", "proxy/export_c.json?empty=o"))["empty"] == "o", "what is null is there to be given"


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("application/json", "", None),
        ("application/json", "{}", None),
        ("application/json", "[]", []),
        ("application/json", '"text"', "text"),
        ("application/json", "99", 99),
        ("text/html; charset=UTF-8", "1,2,3", "1,2,3"),
        ("image/png", "\x01\x02", "AQI="),
    ],
)
async def test_a_body_that_is_no_object(ow: Whisk, kind: str, body: str, told: Any) -> None:
    got = await content(ow, "POST", "proxy/export_c.json", content=body.encode(), headers={"content-type": kind})
    assert got.get("__ow_body") == told


async def test_raw_actions_get_query_and_body_as_they_came(ow: Whisk) -> None:
    got = await content(ow, "POST", "proxy/raw.json?x=overridden&k=v")
    assert (got["__ow_query"], got["__ow_body"], got["x"]) == ("x=overridden&k=v", "", "X")
    got = await content(ow, "POST", "proxy/raw.json", content=b"1,2,3", headers={"content-type": "application/json"})
    assert (got["__ow_query"], base64.b64decode(got["__ow_body"])) == ("", b"1,2,3")


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_an_empty_answer_is_no_content_whatever_is_accepted(ow: Whisk, method: str, accept: str) -> None:
    for empty in ({}, {"body": ""}, {"body": None}):
        got = await answering(ow, ".http", empty, method, accept=accept)
        assert (got.status_code, got.content, "content-type" in got.headers) == (204, b"", False)
    for status in (200, 201, 204):
        got = await answering(ow, ".http", {"statusCode": status, "headers": {"set-cookie": "a=b"}}, method, accept=accept)
        assert (got.status_code, got.content, got.headers["set-cookie"]) == (status, b"", "a=b")


async def test_what_is_not_accepted(ow: Whisk) -> None:
    got = await answering(ow, ".http", {"body": "text"}, accept="application/json")
    assert got.status_code == 406
    assert got.text == "Resource representation is only available with these types:\ntext/html; charset=UTF-8"
    assert (await answering(ow, ".html", {"html": "<?xml?><a/>"}, accept="text/xml")).status_code == 406
    assert (await answering(ow, ".html", {"html": "<?xml?><a/>"}, accept="text/html")).status_code == 200


async def test_options_of_its_own_and_those_of_everybody(ow: Whisk) -> None:
    own = {"headers": {"Access-Control-Allow-Methods": "OPTIONS, GET, PATCH"}}
    got = await answering(ow, ".http", own, "OPTIONS", **{"access-control-request-headers": "x-custom"})
    assert got.headers["access-control-allow-methods"] == "OPTIONS, GET, PATCH"
    assert "access-control-allow-origin" not in got.headers
    for method in METHODS:
        got = await web(ow, method, "proxy/plain.json", headers={"access-control-request-headers": "x-custom"})
        assert got.headers["access-control-allow-methods"] == "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"
        assert got.headers["access-control-allow-headers"] == "x-custom"


async def test_who_may_call_and_through_which_package(ow: Whisk) -> None:
    statuses = [
        (await web(ow, "GET", path, headers=headers)).status_code
        for path, headers in (
            ("proxy/auth.json", {}),
            ("proxy/auth.json", basic(GUEST_KEY)),
            ("proxy/key.json", {}),
            ("proxy/key.json", {"x-require-whisk-auth": "secret-bad"}),
            ("proxy/key.json", {"x-require-whisk-auth": "secret"}),
            ("ref/nothing.json", {}),
            ("nowhere/e.json", {}),
        )
    ]
    assert statuses == [401, 200, 401, 401, 200, 404, 404]
    got = await content(ow, "GET", "ref/e.json")  # the annotations of a binding are its own
    assert {key: value for key, value in got.items() if not key.startswith("__ow_")} == {"a": "a", "b": "b", "c": "C"}
