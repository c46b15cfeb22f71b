"""A client of the OpenWhisk dialect: requests as `wsk` sends them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.site import Site, running

PYTHON = (
    "def main(args):\n    print('hello', args.get('name'))\n    return {'greeting': 'Hello ' + args.get('name', 'stranger')}\n"
)


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(key.encode()).decode()}


class Whisk:
    """Paths are relative to the caller's namespace."""

    def __init__(self, site: Site, key: str = GUEST_KEY) -> None:
        self.site = site
        self.url = f"http://127.0.0.1:{site.server.listeners['openwhisk'].port}"
        self.http = httpx2.AsyncClient(base_url=self.url, timeout=60, headers=basic(key) if key else {})

    async def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return await self.http.request(method, f"/api/v1/namespaces/_{path}", **options)

    async def put(self, path: str, **body: Any) -> Any:
        response = await self("PUT", path + ("&" if "?" in path else "?") + "overwrite=true", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def action(self, name: str, code: str = PYTHON, kind: str = "python:3", **more: Any) -> Any:
        exec_ = {"kind": kind, "code": code} | more.pop("exec", {})
        return await self.put(f"/actions/{name}", exec=exec_, **more)

    async def sequence(self, name: str, *components: str) -> Any:
        return await self.put(f"/actions/{name}", exec={"kind": "sequence", "components": [f"/_/{c}" for c in components]})

    async def invoke(self, name: str, args: Any = None, **asked: str) -> httpx2.Response:
        asked = {"blocking": "true"} | asked
        return await self("POST", f"/actions/{name}", json={} if args is None else args, params=asked)

    async def result(self, name: str, args: Any = None) -> Any:
        return (await self.invoke(name, args, result="true")).json()

    async def logs(self, identifier: str, count: int) -> list[str]:
        """What an activation printed, without times, once there are that many lines."""
        async with asyncio.timeout(30):
            while len(lines := (await self.activation(identifier))["logs"]) < count:
                await asyncio.sleep(0.02)
        return [line[31:] for line in lines]

    async def activation(self, identifier: str) -> Any:
        """The record, once it is there."""
        async with asyncio.timeout(30):
            while (response := await self("GET", f"/activations/{identifier}")).status_code == 404:
                await asyncio.sleep(0.02)
        assert response.status_code == 200, response.text
        return response.json()


@asynccontextmanager
async def whisk(data: Path, key: str = GUEST_KEY, **settings: Any) -> AsyncIterator[Whisk]:
    async with running(data, dialects=("openwhisk",), listeners={"openwhisk": 0}, **settings) as site:
        client = Whisk(site, key)
        try:
            yield client
        finally:
            await client.http.aclose()
