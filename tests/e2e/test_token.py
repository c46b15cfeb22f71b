"""A server that asks for a token asks on both lanes; one that does not refuses what web pages could send."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly.auth.tokens import new_token
from dayfly.config import Settings
from dayfly.gateway.limits import EdgeLimits
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

SOURCE = "def handler(event, context):\n    return 1\n"


async def test_with_a_token_nothing_goes_without_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    token = new_token()
    async with running(tmp_path_factory.mktemp("t"), token=token) as site:
        for path, method in [("/v1/namespaces", "GET"), ("/fn/default/x", "POST"), ("/metrics", "GET")]:
            answer = await site.http.request(method, path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
        wrong = await site.http.post("/fn/default/x", headers={"authorization": "Bearer " + new_token()})
        assert wrong.status_code == 401
        assert (await site.http.get("/healthz")).status_code == 200
        site.http.headers["authorization"] = f"Bearer {token}"
        await site.deploy("x", SOURCE)
        assert (await site.call("x")).json() == 1
        await site.deploy("web", "def handler(request, context):\n    return sorted(request.headers.keys())\n", flavour="http")
        seen = (await site.http.post("/fn/default/web", headers={"x-mine": "1"})).text
        assert "x-mine" in seen
        assert "authorization" not in seen, "the token is not the function's business"


async def test_without_a_login_a_functions_own_authorization_reaches_it(site: Site) -> None:
    await site.deploy("own", "def handler(request, context):\n    return request.headers['authorization']\n", flavour="http")
    answer = await site.http.post("/fn/default/own", headers={"authorization": "Basic dTpw"})
    assert "Basic dTpw" in answer.text


async def test_the_body_limit_is_the_servers_setting(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running(tmp_path_factory.mktemp("b"), edge=EdgeLimits(body_bytes=10 << 20)) as site:
        await site.deploy("size", "def handler(request, context):\n    return str(len(request.body))\n", flavour="http")
        assert (await site.http.post("/fn/default/size", content=b"x" * (9 << 20))).text == str(9 << 20)
        assert (await site.http.post("/fn/default/size", content=b"x" * (11 << 20))).status_code == 413


async def test_any_address_but_loopback_needs_a_token() -> None:
    def needs(host: str) -> bool:
        return Settings(data=Path("x"), host=host).needs_token

    assert [needs(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "10.1.2.3")] == [False] * 3 + [True] * 3


async def test_web_pages_of_others_cannot_call_a_server_without_login(site: Site) -> None:
    await site.deploy("cors", SOURCE)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        answer = await site.http.post("/fn/default/cors", content=b"{}", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json"), headers
        control = await site.http.delete("/v1/namespaces/default/functions/cors", headers=headers)
        assert control.status_code == 403, headers
    assert (await site.call("cors")).status_code == 200
