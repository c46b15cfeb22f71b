"""A client of the control API without a network: the app over a fake platform, with time that stands still."""

from __future__ import annotations

from typing import Any

import httpx2

from dayfly.api import create_app
from dayfly.auth.gate import Gate
from dayfly.testing.clock import FakeClock
from tests.support.fake_platform import FakePlatform

NS = "/v1/namespaces/default"
HELLO = NS + "/functions/hello"
CODE = {"code": {"files": {"handler.py": "def handler(event, context):\n    return event\n"}}}
ID = "018bcfe568007000800000000000000a"


class Client:
    """Sends requests to the app; what it sent to the core is in `platform`."""

    def __init__(self, gate: Gate | None = None, **options: Any) -> None:
        self.platform = FakePlatform()
        self.clock = FakeClock()
        gate = gate or Gate()
        self.app = create_app(self.platform.perform, gate.control, lambda: "up 1\n", clock=self.clock, **options)

    async def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app, client=("127.0.0.1", 5000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    async def deploy(self, **config: Any) -> httpx2.Response:
        return await self("PUT", HELLO, json={**CODE, "config": config})
