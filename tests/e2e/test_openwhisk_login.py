"""OpenWhisk's interface on a server that asks for a login: keys by namespace, and what is for everybody all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.whisk import Whisk, basic, whisk

pytestmark = pytest.mark.anyio
TOKEN = "dft_" + "a" * 40


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d"), token=TOKEN) as made:
        owner = {"authorization": f"Bearer {TOKEN}"}
        keys = {}
        for tenant in ("ann", "bob"):
            assert (await made.site.http.put(f"/v1/namespaces/{tenant}", headers=owner)).status_code in (200, 201)
            body = {"name": tenant, "kind": "basic", "roles": ["owner"]}
            key = await made.site.http.post(f"/v1/namespaces/{tenant}/keys", json=body, headers=owner)
            assert key.status_code == 201, key.text
            keys[tenant] = key.json()["secret"]
        made.http.headers.update(basic(keys["ann"]))
        made.site.keys = keys  # type: ignore[attr-defined]
        await made.action("private")
        web = [{"key": "web-export", "value": True}]
        await made.action("open", "def main(args):\n    return {'body': args.get('__ow_user', 'nobody')}\n", annotations=web)
        await made.put("/packages/shared", publish=True)
        await made.action("shared/hello")
        yield made


async def ask(ow: Whisk, method: str, path: str, headers: dict[str, str] | None = None, body: object = None) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=ow.url) as http:
        return await http.request(method, path, headers=headers or {}, json=body)


async def test_a_key_opens_its_own_namespace_and_what_others_share(ow: Whisk) -> None:
    assert (await ow.http.get("/api/v1/namespaces")).json() == ["ann"]
    assert (await ow.invoke("private")).json()["subject"] == "ann"
    bob = basic(ow.site.keys["bob"])  # type: ignore[attr-defined]
    for method, path in (
        ("POST", "actions/private"),
        ("GET", "actions/private"),
        ("GET", "actions"),
        ("PUT", "actions/shared/x"),
    ):
        refused = await ask(ow, method, f"/api/v1/namespaces/ann/{path}", bob, {} if method != "GET" else None)
        assert refused.status_code == 403, (method, path, refused.text)
    shared = await ask(ow, "POST", "/api/v1/namespaces/ann/actions/shared/hello?blocking=true", bob, {"name": "Bob"})
    assert shared.json()["response"]["result"] == {"greeting": "Hello Bob"}, shared.text
    assert shared.json()["namespace"] == "bob", "on the caller's account"
    assert [p["name"] for p in (await ask(ow, "GET", "/api/v1/namespaces/ann/packages", bob)).json()] == ["shared"]


async def test_the_well_known_key_opens_nothing_here(ow: Whisk) -> None:
    for headers in (basic(GUEST_KEY), basic("a:b"), {}):
        refused = await ask(ow, "GET", "/api/v1/namespaces/_/actions", headers)
        assert refused.status_code == 401, refused.text
        assert refused.headers["www-authenticate"].startswith("Basic")


async def test_web_actions_are_for_everybody_whatever_they_show(ow: Whisk) -> None:
    bob = basic(ow.site.keys["bob"])  # type: ignore[attr-defined]
    for headers, who in (({}, "nobody"), ({"authorization": "Bearer of-the-application"}, "nobody"), (bob, "bob")):
        answer = await ask(ow, "GET", "/api/v1/web/ann/default/open", headers)
        assert (answer.status_code, answer.text) == (200, who), answer.text
    assert (await ask(ow, "GET", "/api/v1/web/ann/default/private")).status_code == 404
    doc = {
        "namespace": "_",
        "gatewayBasePath": "/a",
        "gatewayPath": "/b",
        "gatewayMethod": "GET",
        "action": {"name": "open", "namespace": "_", "backendUrl": "http://127.0.0.1/api/v1/web/_/default/open.http"},
    }
    made = await ow.http.post("/api/v1/web/whisk.system/apimgmt/createApi", json={"apidoc": doc})
    assert made.status_code == 200, made.text
    assert (await ask(ow, "GET", "/api/ann/a/b")).text == "nobody"
    assert (await ask(ow, "POST", "/api/v1/web/whisk.system/apimgmt/createApi", {}, {"apidoc": doc})).status_code == 401
