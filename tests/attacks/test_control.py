"""Attack 40: what a tenant tries on the control plane: the things of others, forged tokens, races, circles, hostile text."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import pickle
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec.structs import replace

from dayfly import actions as a
from dayfly.auth.tokens import new_token
from dayfly.errors import Forbidden, QuotaExceeded, Unauthenticated
from dayfly.model.identity import ANONYMOUS, LOCAL, STRANGER, Identity, Role
from dayfly.model.quota import Quota
from tests.docs.test_facts import rows
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

SOURCE = "def handler(event, context):\n    return 'mine'\n"
DEPLOY = {"code": {"files": {"handler.py": SOURCE}}}


@pytest.fixture(scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Site]:
    """A server with a login and two tenants; the victim has one of everything."""
    token = new_token()
    async with running(tmp_path_factory.mktemp("c"), token=token) as site:
        site.http.headers["authorization"] = f"Bearer {token}"
        for namespace in ("victim", "eve"):
            assert (await site.http.put(f"/v1/namespaces/{namespace}")).status_code == 200
        assert (await site.http.put("/v1/namespaces/victim/secrets/s", json={"value": "victims-own"})).status_code == 200
        assert (await site.http.put("/v1/namespaces/victim/functions/f", json=DEPLOY)).status_code == 201
        assert (await site.http.post("/fn/victim/f", json={})).status_code == 200
        yield site


async def key(site: Site, namespace: str = "eve", **fields: Any) -> str:
    made = await site.http.post(f"/v1/namespaces/{namespace}/keys", json={"name": "k", "roles": ["owner"], **fields})
    return str(made.json()["secret"])


def client(site: Site, token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=site.url, headers={"authorization": f"Bearer {token}"}, timeout=30)


async def test_40_another_tenants_things_are_out_of_reach_on_every_path_of_the_api(hosted: Site) -> None:
    paths = (await hosted.http.get("/v1/openapi.json")).json()["paths"]
    fill = {"namespace": "victim", "name": "f", "function": "f", "alias": "x", "number": "1", "id": "0" * 32}
    tried = 0
    async with client(hosted, await key(hosted)) as eve:
        for path, methods in paths.items():
            if "{namespace}" not in path:
                continue
            address = path.replace("{namespace}", "victim")
            for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                address = address.replace("{" + name + "}", fill.get(name, "x"))
            for method in methods:
                body: dict[str, Any] = (
                    {} if method in ("get", "delete") else {"json": DEPLOY if address.endswith("/functions/f") else {}}
                )
                answer = await eve.request(method, address, **body)
                # A body may be refused before anybody is asked; what exists is never told.
                hidden = (404,) if (method, path) == ("get", "/v1/namespaces/{namespace}") else ()  # as if it did not exist
                assert answer.status_code in (400, 403, 415, *hidden), (method, address, answer.text)
                tried += 1
        assert (await eve.post("/fn/victim/f", json={})).status_code == 403
        listed = (await eve.get("/v1/namespaces")).json()["items"]
        assert [one["name"] for one in listed] == ["eve"]
        assert (await eve.get("/metrics")).status_code == 403
    assert tried > 40
    assert (await hosted.http.get("/v1/namespaces/victim/functions/f")).json()["latest"] == 1


async def test_40_tokens_that_somebody_made_up(hosted: Site) -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = part({"sub": "owner", "name": "owner", "grants": {"*": ["owner"]}, "exp": 9999999999})
    none = f"{part({'alg': 'none'})}.{claims}."
    empty = f"{part({'alg': 'HS256'})}.{claims}."
    signed = hmac.new(b"", f"{part({'alg': 'HS256'})}.{claims}".encode(), hashlib.sha256).digest()
    keyless = f"{part({'alg': 'HS256'})}.{claims}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"
    for token in (none, empty, keyless, "dfs_" + none, "dfs_" + keyless, "dft_" + "A" * 43, "dft_", "*", "' OR 1=1 --"):
        async with client(hosted, token) as eve:
            assert (await eve.get("/v1/namespaces")).status_code == 401, token
            assert (await eve.post("/fn/victim/f", json={})).status_code == 401, token


async def test_40_a_deployer_does_not_become_an_owner(hosted: Site) -> None:
    async with client(hosted, await key(hosted, roles=["deployer"])) as eve:
        for namespace, body in (("eve", {"name": "x", "roles": ["owner"]}), ("eve", {"name": "x", "roles": ["viewer"]})):
            assert (await eve.post(f"/v1/namespaces/{namespace}/keys", json=body)).status_code == 403
        assert (await eve.post("/v1/namespaces/eve/tokens", json={"roles": ["owner"]})).status_code == 403
        made = await eve.post("/v1/namespaces/eve/tokens", json={"roles": ["viewer"]})
        async with client(hosted, made.json()["token"]) as narrower:
            assert (await narrower.post("/v1/namespaces/eve/tokens", json={"roles": ["deployer"]})).status_code == 403


async def test_40_names_of_namespaces_cannot_be_squatted(hosted: Site) -> None:
    async with client(hosted, await key(hosted)) as eve:
        for name in ("fresh", "admin", "victim2"):
            assert (await eve.put(f"/v1/namespaces/{name}")).status_code == 403
    assert (await hosted.http.put("/v1/namespaces/gone")).status_code == 200
    late = await key(hosted, "gone")
    assert (await hosted.http.delete("/v1/namespaces/gone")).status_code == 204
    assert (await hosted.http.put("/v1/namespaces/gone")).status_code == 200
    async with client(hosted, late) as eve:
        assert (await eve.get("/v1/namespaces/gone/functions")).status_code == 401, (
            "the next tenant of that name is somebody else"
        )


async def test_40_pickles_are_text_to_us(hosted: Site) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit('unpickled')",)

    for kind in ("application/python-pickle", "application/octet-stream", "application/json"):
        answer = await hosted.http.post("/fn/victim/f", content=pickle.dumps(Bomb()), headers={"content-type": kind})
        assert answer.status_code in (400, 415)
    assert (await hosted.http.get("/healthz")).status_code == 200


async def test_40_hostile_names_cost_no_time(hosted: Site) -> None:
    """Names and routes are looked up, or matched by patterns without nested repeats: long input is refused at once."""
    for name in ("a" * 5000, "a-" * 2500, "a" * 60 + "!", "%00" * 100, "é" * 200):
        answer = await hosted.http.put(f"/v1/namespaces/victim/functions/{name}", json=DEPLOY)
        assert answer.status_code == 400


ROLES = ("viewer", "invoker", "function", "deployer", "owner")


def table_of_actions() -> dict[str, list[str]]:
    """What docs/access.md says of each action, one word a role."""
    table: dict[str, list[str]] = {}
    for names, *words in rows("docs/access.md", "action"):
        for name in re.findall(r"\w+", names):
            assert name not in table, f"{name} stands in two rows"
            table[name] = [word.replace("`", "") for word in words]
    return table


async def test_40_every_action_by_every_role_does_what_the_table_in_the_docs_says(hosted: Site) -> None:
    """On the façade of a real server, which is where all faces end: one that is missing in the table fails, too."""
    table = table_of_actions()
    kinds = {kind.__name__: kind for kind in (*_below(a.Action), a.Invoke)}
    assert kinds.keys() == table.keys(), "each action has its row"
    may_by_word = {"yes": True, "own": True, "no": False, "of *": False}
    for name, kind in kinds.items():
        action = _in_namespace(kind)
        for role, says in zip(ROLES, table[name], strict=True):
            who = Identity(name=role, id="key_x", grants={"victim": (Role(role),)})
            token = replace(action, roles=(Role(role),)) if kind is a.CreateToken else action
            assert await may(hosted, token, who) is may_by_word[says], (name, role)
        other = Identity(name="eve", id="key_y", grants={"eve": (Role.OWNER,)})
        for nobody in (Identity(name="none", id="key_z"), ANONYMOUS, STRANGER, *(() if kind is a.ListNamespaces else (other,))):
            assert not await may(hosted, action, nobody), (name, nobody.name)
        assert kind is a.RotateSecretKey or await may(hosted, action, LOCAL), name  # that one would change the key for real


async def may(site: Site, action: Any, who: Identity) -> bool:
    """Whether the façade lets somebody perform it; what comes of it is another matter."""
    try:
        await site.server.platform.perform(action, who)
    except Unauthenticated:
        return False
    except Forbidden as error:
        return isinstance(error, QuotaExceeded)
    except Exception:
        return True  # it got through to who performs it, who knows nothing called `x`
    return True


def _below(kind: type) -> set[type]:
    """All actions that there are, however deep."""
    return {found for sub in kind.__subclasses__() for found in {sub} | _below(sub)}


def _in_namespace(kind: Any) -> Any:
    """An action of that class on namespace `victim`, whatever else it says."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name == "namespace":
            given["namespace"] = "victim"
        elif field.required:
            given[field.name] = Quota() if field.name == "quota" else "x"
    return kind(**given)


async def test_40_text_of_a_function_cannot_steer_the_terminal_or_forge_lines(site: Site) -> None:
    """What a function prints, and how it is called, goes through the command line escaped."""
    from dayfly.cli.terminal import escape

    hostile = "\x1b[2J\x1b]0;owned\x07\rforged\u202e line \x9b31m"
    await site.deploy("prints", f"def handler(event, context):\n    print({hostile!r})\n    raise ValueError({hostile!r})\n")
    assert (await site.call("prints")).status_code == 500
    async with asyncio.timeout(20):
        while not (lines := (await site.api("GET", "/logs", params={"function": "prints"}))["items"]):
            await asyncio.sleep(0.01)
    for line in lines:
        shown = escape(line["text"])
        assert not [letter for letter in shown if letter in "\x1b\x07\r\x9b\u202e"]
