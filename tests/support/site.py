"""A whole server in the test's own process, and a small client for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from dayfly.config import Settings
from dayfly.dialects.hook import Mount, View
from dayfly.server import Server

ISOLATION = os.environ.get("DAYFLY_TEST_ISOLATION") or ("namespace" if os.geteuid() == 0 else "process")


class Site:
    """A server that listens, and a client that speaks to it. Paths of functions are relative to the default namespace."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}"
        self.http = httpx2.AsyncClient(base_url=self.url, timeout=30)

    async def deploy(self, name: str, source: str | dict[str, str], **config: Any) -> Any:
        """Deploy Python source (or files) and return the API's answer; raises AssertionError unless it is 200 or 201."""
        response = await self.put(name, source, **config)
        assert response.status_code in (200, 201), response.text
        return response.json()

    async def put(self, name: str, source: str | dict[str, str], **config: Any) -> httpx2.Response:
        files = {"handler.py": source} if isinstance(source, str) else source
        body = {"code": {"files": files}, "config": config}
        return await self.http.put(f"/v1/namespaces/default/functions/{name}", json=body)

    async def call(self, name: str, event: Any = None, **headers: str) -> httpx2.Response:
        content = msgspec.json.encode(event if event is not None else {})
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.http.post(
            f"/fn/default/{name}", content=content, headers={"content-type": "application/json", **named}
        )

    async def api(self, method: str, path: str, **options: Any) -> Any:
        response = await self.http.request(method, f"/v1/namespaces/default{path}", **options)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    async def record(self, invocation: str, *until: str) -> Any:
        """The record of a call, once its status is one of `until` (or final)."""
        async with asyncio.timeout(20):
            while True:
                response = await self.http.get(f"/v1/namespaces/default/invocations/{invocation}")
                if response.status_code == 200:
                    status = response.json()["status"]
                    if status in until or (not until and status not in ("queued", "running")):
                        return response.json()
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(data: Path, mounts: Sequence[Mount | Callable[[View], Mount]] = (), **settings: Any) -> AsyncIterator[Site]:
    """A server on a free port of loopback; gone when the block ends."""
    server = Server(Settings(data=data, port=0, isolation=ISOLATION, shutdown_grace_s=2, **settings), mounts=mounts)
    await server.open()
    site = Site(server)
    try:
        yield site
    finally:
        await site.http.aclose()
        await server.close()
