"""Sources on a whole server: webhooks through its door, timers that find their function warm."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import httpx2
import pytest

from dayfly.auth.tokens import new_token
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

SOURCE = "def handler(event, context):\n    return event['id']\n"
KEY = "a secret that is long"


async def calls(site: Site, function: str, count: int) -> list[dict[str, Any]]:
    """The records of a function's calls, oldest first, once there are so many."""
    while True:
        page = await site.api("GET", f"/invocations?function={function}&limit=100")
        ended = [record for record in page["items"] if record["status"] not in ("queued", "running")]
        if len(ended) >= count:
            return ended[::-1]
        await asyncio.sleep(0.05)


async def test_a_webhook_needs_no_login_but_a_good_signature(tmp_path_factory: pytest.TempPathFactory) -> None:
    token = new_token()
    async with running(tmp_path_factory.mktemp("w"), token=token) as site:
        site.http.headers["authorization"] = f"Bearer {token}"
        await site.deploy("build", SOURCE)
        await site.api("PUT", "/secrets/github", json={"value": KEY})
        settings = {"signature": "github", "secret": "secret:github"}
        trigger = {"target": {"kind": "function", "name": "build"}, "source": {"kind": "webhook", "settings": settings}}
        await site.api("PUT", "/triggers/push", json=trigger)
        assert KEY not in json.dumps(await site.api("GET", "/triggers/push")), "triggers are shown, secrets are not"
        async with httpx2.AsyncClient(base_url=site.url) as github:
            body = b'{"ref": "main"}'
            headers = {"x-github-event": "push", "x-github-delivery": "d-1", "content-type": "application/json"}
            unsigned = await github.post("/hooks/default/push", content=body, headers=headers)
            assert unsigned.status_code == 401
            signed = headers | {"x-hub-signature-256": "sha256=" + hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()}
            assert (await github.post("/hooks/default/push", content=body, headers=signed)).status_code == 202
            assert (await github.post("/hooks/default/other", content=body, headers=signed)).status_code == 404
            assert (await github.get("/hooks/default/push")).status_code == 405
            assert (await github.get("/v1/namespaces/default/triggers/push")).status_code == 401, "only the hook is open"
        [record] = await calls(site, "build", 1)
        assert record["status"] == "ok"


async def test_a_timer_finds_its_function_warm(site: Site) -> None:
    """Without a start ahead of its moments, every call would be cold: nothing is left of the one before."""
    await site.deploy("tick", SOURCE)
    source = {"kind": "timer", "settings": {"schedule": "@every 3s"}}
    await site.api("PUT", "/triggers/tick", json={"target": {"kind": "function", "name": "tick"}, "source": source})
    for moment in range(1, 6):  # on a busy machine a start may take longer than was thought
        await site.api("POST", "/functions/tick/recycle")
        latest = (await calls(site, "tick", moment))[-1]
        assert latest["status"] == "ok"
        if not latest["cold"]:
            break
    else:
        pytest.fail("no instance was started ahead of any moment")
    await site.api("DELETE", "/triggers/tick")
