"""Events end to end: published over HTTP, on disk, through filter and trigger, into functions; what fails ends as a dead letter."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.site import Site, running

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


async def test_what_fails_is_dead_and_can_be_replayed_against_another_revision(site: Site) -> None:
    await site.deploy("picky", "def handler(event, context):\n    raise ValueError(event['data']['total'])\n")
    await trigger(
        site, "picky", {"kind": "function", "name": "picky"}, delivery={"max_attempts": 1}, filters=[{"sql": "id = '7'"}]
    )
    [delivery] = (await publish(site, ORDER | {"id": "7"}))["deliveries"]
    async with asyncio.timeout(20):
        while not (letters := (await site.api("GET", "/dead?trigger=picky"))["items"]):
            await asyncio.sleep(0.02)
    assert [(one["id"], one["reason"]) for one in letters] == [(delivery["id"], "ValueError: 3")]
    await site.deploy("picky", ECHO)
    [again] = await site.api("POST", f"/recordings/{delivery['id']}/replay", json={"qualifier": "2"})
    record = await site.record(again)
    assert (record["status"], record["revision"]) == ("ok", 2)


async def test_any_call_can_be_shown_and_replayed(site: Site) -> None:
    await site.deploy("echo", ECHO)
    first = (await site.call("echo", {"n": 1})).headers["dayfly-invocation-id"]
    assert (await site.api("GET", f"/recordings/{first}"))["body"] == '{"n":1}'
    [again] = await site.api("POST", f"/recordings/{first}/replay", json={})
    record = await site.record(again)
    assert (record["status"], record["cause"]) == ("ok", first)


async def test_an_http_call_is_replayed_with_its_method_path_query_and_headers(site: Site) -> None:
    source = "def handler(request, context):\n    return [request.method, request.path, dict(request.headers)['x-color']]\n"
    await site.deploy("web", source, flavour="http")
    headers = {"authorization": "Bearer s3cret", "x-color": "red"}
    response = await site.http.delete("/fn/default/web/a%20b?c=d", headers=headers)
    assert response.status_code == 200, response.text
    first = response.headers["dayfly-invocation-id"]
    shown = await site.api("GET", f"/recordings/{first}")
    assert (shown["method"], shown["path"], shown["query"]) == ("DELETE", "/a%20b", "c=d")
    assert {"x-color": "red", "authorization": "(not kept)"}.items() <= dict(shown["headers"]).items()
    [again] = await site.api("POST", f"/recordings/{first}/replay", json={})
    assert (await site.record(again))["status"] == "ok"


async def test_a_function_may_ask_that_its_inputs_are_not_kept(site: Site) -> None:
    await site.deploy("secretive", ECHO, keep_inputs="none")
    first = (await site.call("secretive", {"card": 4711})).headers["dayfly-invocation-id"]
    response = await site.http.get(f"/v1/namespaces/default/recordings/{first}")
    assert response.status_code == 404
    assert "its function asks for that" in response.json()["detail"]


async def test_a_chain_of_queue_trigger_and_function_and_what_is_seen_of_it(site: Site) -> None:
    await site.deploy("worker", ECHO)
    await site.api("PUT", "/queues/jobs", json={"max_receives": 3})
    source = {"kind": "queue", "settings": {"queue": "jobs"}}
    await trigger(site, "work", {"kind": "function", "name": "worker"}, source=source, delivery={"batch": 2, "concurrency": 1})
    messages = [{"body": f'{{"n":{n}}}'} for n in range(4)]
    assert len(await site.api("POST", "/queues/jobs/send", json={"messages": messages})) == 4
    async with asyncio.timeout(20):
        while (await site.api("GET", "/queues/jobs/stats")) != {
            "waiting": 0,
            "delayed": 0,
            "held": 0,
            "dead": 0,
            "oldest": 0.0,
        }:
            await asyncio.sleep(0.02)
        while 'lane="q:jobs",outcome="done"} 4' not in (metrics := (await site.http.get("/metrics")).text):
            await asyncio.sleep(0.02)
    assert "dayfly_events_total" in metrics


async def test_events_are_followed_as_they_come(site: Site) -> None:
    async with site.http.stream("GET", "/v1/namespaces/default/events?follow=true&type=seen") as stream:
        lines = stream.aiter_lines()
        await publish(site, ORDER | {"id": "seen-1", "type": "seen"})
        async with asyncio.timeout(20):
            async for line in lines:
                if line.startswith("data: "):
                    assert msgspec.json.decode(line[6:])["event"]["id"] == "seen-1"
                    break


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/json"}, b"{}", 415),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion":"0.3"}', 400),
        ({"content-type": "application/cloudevents+json"}, b"\xff", 400),
        ({"content-type": "application/cloudevents+xml"}, b"<event/>", 415),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t"}, b"", 400),
    ],
)
async def test_what_is_no_event_is_refused(site: Site, headers: dict[str, str], body: bytes, status: int) -> None:
    response = await site.http.post("/events/default", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["type"].startswith("https://dayfly.dev/problems/")


async def test_a_development_server_is_put_forward(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running(tmp_path_factory.mktemp("dev") / "d", dev=True) as dev:
        await dev.deploy("flaky", "def handler(event, context):\n    return 1 / max(0, context.attempt - 2)\n")
        retried = {"max_attempts": 10, "delay_s": 3600, "jitter": 0}
        await trigger(dev, "flaky", {"kind": "function", "name": "flaky"}, delivery=retried)
        await publish(dev, ORDER)
        advanced = await dev.api("POST", "/time/advance", json={"seconds": 86400}, timeout=60)
        assert advanced["fired"] >= 2
        assert (await dev.api("GET", "/triggers/flaky/stats"))["waiting"] == 0
