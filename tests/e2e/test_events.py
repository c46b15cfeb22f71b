"""Events end to end: published over HTTP, on disk, through filter and trigger, into functions; what fails ends as a dead letter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.site import Site

pytestmark = pytest.mark.anyio

ECHO = "def handler(event, context):\n    return event\n"
ORDER: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "order.placed",
    "data": {"total": 3},
}


async def publish(site: Site, event: dict[str, Any], broker: str = "") -> Any:
    path = f"/events/default/{broker}" if broker else "/events/default"
    headers = {"content-type": "application/cloudevents+json"}
    response = await site.http.post(path, content=msgspec.json.encode(event), headers=headers)
    assert response.status_code == 202, response.text
    return response.json()[0]


async def trigger(site: Site, name: str, target: dict[str, Any], **more: Any) -> Any:
    return await site.api("PUT", f"/triggers/{name}", json={"target": target, **more})


async def test_an_event_runs_a_function(site: Site) -> None:
    await site.deploy("greet", ECHO)
    await site.api("PUT", "/brokers/one", json={})
    await trigger(site, "on-order", {"kind": "function", "name": "greet"}, broker="one")
    published = await publish(site, ORDER, "one")
    assert published["duplicate"] is False
    [delivery] = published["deliveries"]
    record = await site.record(delivery["id"])
    assert (record["status"], record["mode"], record["cause"]) == ("ok", "event", "1")
    assert (await publish(site, ORDER, "one"))["duplicate"] is True
