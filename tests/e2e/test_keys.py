"""Keys on a whole server: made by the owner, good for what they are made for, on both lanes, until they are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dayfly.auth.tokens import new_token
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

SOURCE = "def handler(event, context):\n    return 'shop'\n"
DEPLOY = {"code": {"files": {"handler.py": SOURCE}}}


@pytest.fixture(scope="module")
async def owned(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Site]:
    token = new_token()
    async with running(tmp_path_factory.mktemp("k"), token=token) as site:
        site.http.headers["authorization"] = f"Bearer {token}"
        for namespace in ("shop", "bank"):
            assert (await site.http.put(f"/v1/namespaces/{namespace}")).status_code == 200
            assert (await site.http.put(f"/v1/namespaces/{namespace}/functions/f", json=DEPLOY)).status_code == 201
        yield site


async def make(site: Site, namespace: str, **fields: Any) -> Any:
    answer = await site.http.post(f"/v1/namespaces/{namespace}/keys", json={"name": "test", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def ask(site: Site, token: str, method: str, path: str, **options: Any) -> httpx2.Response:
    return await site.http.request(method, path, headers={"authorization": f"Bearer {token}"}, **options)


async def statuses(site: Site, token: str, namespace: str) -> dict[str, int]:
    """What each kind of request comes to."""
    at = f"/v1/namespaces/{namespace}"
    return {
        "look": (await ask(site, token, "GET", at + "/functions/f")).status_code,
        "call": (await ask(site, token, "POST", f"/fn/{namespace}/f", json={})).status_code,
        "deploy": (await ask(site, token, "PUT", at + "/functions/f", json=DEPLOY)).status_code,
        "own": (await ask(site, token, "GET", at + "/keys")).status_code,
    }


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("owner", {"look", "call", "deploy", "own"}),
        ("deployer", {"look", "call", "deploy"}),
        ("invoker", {"call"}),
        ("viewer", {"look"}),
    ],
)
async def test_a_role_is_good_for_what_it_is_and_in_its_namespace_alone(owned: Site, role: str, may: set[str]) -> None:
    token = (await make(owned, "shop", roles=[role]))["secret"]
    assert await statuses(owned, token, "shop") == {
        what: 200 if what in may else 403 for what in ("look", "call", "deploy", "own")
    }
    assert set((await statuses(owned, token, "bank")).values()) == {403}
    assert set((await statuses(owned, token, "no-such-namespace")).values()) == {403}, (
        "a refusal tells nothing about what exists"
    )


async def test_a_revoked_key_is_refused_at_once_on_both_lanes_and_on_connections_that_stand(owned: Site) -> None:
    made = await make(owned, "shop", roles=["owner"])
    assert set((await statuses(owned, made["secret"], "shop")).values()) == {200}
    assert (await owned.http.delete(f"/v1/namespaces/shop/keys/{made['key']['id']}")).status_code == 204
    assert set((await statuses(owned, made["secret"], "shop")).values()) == {401}


async def test_an_owner_of_one_namespace_makes_keys_for_it_and_no_other(owned: Site) -> None:
    token = (await make(owned, "shop", roles=["owner"]))["secret"]
    body = {"name": "mine", "roles": ["viewer"]}
    assert (await ask(owned, token, "POST", "/v1/namespaces/shop/keys", json=body)).status_code == 201
    for namespace, more in (
        ("bank", {}),
        ("*", {}),
        ("shop", {"elsewhere": {"bank": ["viewer"]}}),
        ("shop", {"elsewhere": {"*": ["viewer"]}}),
    ):
        answer = await ask(owned, token, "POST", f"/v1/namespaces/{namespace}/keys", json=body | more)
        assert answer.status_code == 403, (namespace, more)
    listed = (await ask(owned, token, "GET", "/v1/namespaces")).json()["items"]
    assert [namespace["name"] for namespace in listed] == ["shop"]


async def test_secrets_of_keys_are_shown_once(owned: Site, tmp_path: Path) -> None:
    made = await make(owned, "shop", kind="pair")
    listed = (await owned.http.get("/v1/namespaces/shop/keys")).text
    assert made["key"]["id"] in listed
    assert made["secret"] not in listed
    owned.server.keyring.secret(made["key"]["id"])


async def test_without_a_login_a_key_still_narrows_what_its_holder_may_do(site: Site) -> None:
    made = (await site.http.post("/v1/namespaces/default/keys", json={"name": "narrow", "roles": ["viewer"]})).json()
    shown = {"authorization": f"Bearer {made['secret']}"}
    assert (await site.http.get("/v1/namespaces/default/functions", headers=shown)).status_code == 200
    assert (await site.http.post("/v1/namespaces/default/keys", headers=shown, json={"name": "x"})).status_code == 403


WEB = """
def handler(request, context):
    return {"authorization": request.headers.get("authorization", ""), "body": len(request.body)}
"""


async def test_a_public_function_takes_calls_of_everybody_and_a_private_one_does_not_even_read_their_bodies(
    owned: Site,
) -> None:
    body = {"code": {"files": {"handler.py": WEB}}, "config": {"flavour": "http"}}
    at = "/v1/namespaces/shop/functions/door"
    assert (await owned.http.put(at, json=body)).status_code == 201
    async with httpx2.AsyncClient(base_url=owned.url) as nobody:
        for headers in ({}, {"authorization": "Bearer of-its-own"}, {"authorization": "Basic dTpw"}):
            assert (await nobody.post("/fn/shop/door", headers=headers)).status_code == 401
        assert (await owned.http.put(at + "/invoke-policy", json={"callers": "public"})).status_code == 200
        assert (await nobody.post("/fn/shop/door", content=b"x" * 200_000)).json() == {"authorization": "", "body": 200_000}
        # What is not ours is the function's: a webhook brings a secret of its own.
        shown = await nobody.post("/fn/shop/door", headers={"authorization": "Bearer of-its-own"})
        assert shown.json()["authorization"] == "Bearer of-its-own"
        # And what is ours is not.
        assert (await owned.http.post("/fn/shop/door")).json()["authorization"] == ""
        # Neither another function nor the control API has become public with it.
        assert (await nobody.post("/fn/shop/f")).status_code == 401
        assert (await nobody.get(at)).status_code == 401
        # A new revision does not change who may call.
        assert (await owned.http.put(at, json=body | {"labels": {"v": "2"}})).status_code == 200
        assert (await nobody.post("/fn/shop/door")).status_code == 200
        assert (await owned.http.put(at + "/invoke-policy", json={"callers": "namespace"})).status_code == 200
        assert (await nobody.post("/fn/shop/door")).status_code == 401


async def test_a_private_function_refuses_a_stranger_before_the_body_comes(owned: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", owned.server.port)
    writer.write(b"POST /fn/shop/f HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000000\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_function_for_listed_callers_alone(owned: Site) -> None:
    guest = await make(owned, "bank", roles=["viewer"])
    local = await make(owned, "shop", roles=["invoker"])
    boss = await make(owned, "shop", roles=["deployer"])
    at = "/v1/namespaces/shop/functions/f/invoke-policy"
    assert (await owned.http.put(at, json={"callers": "listed", "identities": []})).status_code == 400
    assert (await owned.http.put(at, json={"callers": "public", "identities": ["x"]})).status_code == 400
    answer = await owned.http.put(at, json={"callers": "listed", "identities": [guest["key"]["id"]]})
    assert answer.json()["invoke_policy"] == {"callers": "listed", "identities": [guest["key"]["id"]]}
    calls = [(await ask(owned, key["secret"], "POST", "/fn/shop/f", json={})).status_code for key in (guest, local, boss)]
    assert calls == [200, 403, 200]
    assert (await ask(owned, guest["secret"], "GET", "/v1/namespaces/shop/functions/f")).status_code == 403
    assert (await ask(owned, local["secret"], "PUT", at, json={"callers": "public"})).status_code == 403
    assert (await owned.http.put(at, json={"callers": "namespace"})).status_code == 200


async def test_a_change_during_a_deploy_is_not_lost(owned: Site) -> None:
    slow = {"code": {"files": {"handler.py": "import time\ntime.sleep(1)\n" + SOURCE}}}
    at = "/v1/namespaces/shop/functions/slow"
    assert (await owned.http.put(at, json=DEPLOY)).status_code == 201
    assert (await owned.http.put(at + "/invoke-policy", json={"callers": "public"})).status_code == 200
    deploy = asyncio.ensure_future(owned.http.put(at, json=slow))
    async with asyncio.timeout(20):
        while not any(one["revision"] == 2 for one in (await owned.http.get("/v1/namespaces/shop/instances")).json()["items"]):
            await asyncio.sleep(0.01)
    assert not deploy.done()
    made_private = await owned.http.put(at + "/invoke-policy", json={"callers": "namespace"})
    assert made_private.status_code == 200
    assert (await deploy).status_code == 201
    assert (await owned.http.get(at)).json()["invoke_policy"]["callers"] == "namespace"
    assert (await owned.http.get(at)).json()["latest"] == 2
