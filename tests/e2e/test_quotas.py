"""Quotas of a namespace: each is met, says its name, and holds under many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.support.neighbour import neighbour
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

NS = "/v1/namespaces/bounded"
SOURCE = "def handler(event, context):\n    return event\n"
SLEEPS = "import time\n\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


@pytest.fixture(scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Site]:
    async with running(tmp_path_factory.mktemp("q")) as site:
        yield site


@pytest.fixture
async def bounded(hosted: Site) -> AsyncIterator[Site]:
    """A namespace of its own for each test; a neighbour in another one is served all the while."""
    assert (await hosted.http.put(NS)).status_code == 200
    async with neighbour(hosted):
        yield hosted
    await quota(hosted)
    for function in (await hosted.http.get(NS + "/functions")).json()["items"]:
        await hosted.http.delete(f"{NS}/functions/{function['name']}")
    assert (await hosted.http.delete(NS)).status_code == 204


async def quota(site: Site, **bounds: int) -> Any:
    answer = await site.http.put(NS + "/quota", json={"quota": bounds})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def deploy(site: Site, name: str, source: str = SOURCE, **config: Any) -> httpx2.Response:
    body = {"code": {"files": {"handler.py": source}}, "config": config}
    return await site.http.put(f"{NS}/functions/{name}", json=body)


async def call(site: Site, name: str, event: Any = 0, **headers: str) -> httpx2.Response:
    return await site.http.post(f"/fn/bounded/{name}", json=event, headers=headers)


def refused(answers: list[httpx2.Response], name: str) -> list[Any]:
    """The refusals, each of which says which quota it was."""
    found = [answer.json() for answer in answers if answer.status_code in (403, 429)]
    assert all(document["quota"] == name and name in document["detail"] for document in found), found
    return found


async def test_functions_also_when_many_are_deployed_at_once(bounded: Site) -> None:
    await quota(bounded, functions=3)
    answers = await asyncio.gather(*(deploy(bounded, f"f{number}") for number in range(10)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 403: 7}
    assert len(refused(list(answers), "functions")) == 7
    there = (await bounded.http.get(NS + "/functions")).json()["items"]
    assert len(there) == 3
    again = await deploy(bounded, there[0]["name"], SOURCE + "#\n")
    assert again.status_code == 201, "a new revision is no new function"
    assert (await bounded.http.delete(f"{NS}/functions/{there[0]['name']}")).status_code == 204
    assert (await deploy(bounded, "f99")).status_code == 201


async def test_storage_also_when_many_are_deployed_at_once(bounded: Site) -> None:
    await quota(bounded, storage_mb=1)
    text = "x = '" + "y" * 300_000 + "'\n" + SOURCE
    answers = await asyncio.gather(*(deploy(bounded, f"f{number}", text + f"# {number}\n") for number in range(6)))
    kept = sum(answer.status_code == 201 for answer in answers)
    assert 1 <= kept <= 3
    assert len(refused(list(answers), "storage_mb")) == 6 - kept
    assert (await bounded.http.get(NS + "/quota")).json()["used"]["storage_mb"] <= 1


async def test_concurrent_calls(bounded: Site) -> None:
    assert (await deploy(bounded, "sleeps", SLEEPS)).status_code == 201
    await quota(bounded, concurrent_calls=2)
    answers = await asyncio.gather(*(call(bounded, "sleeps", 0.5) for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {200: 2, 429: 4}
    assert len(refused(list(answers), "concurrent_calls")) == 4
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    assert (await call(bounded, "sleeps", 0)).status_code == 200, "places that were given back can be had"


async def test_requests_a_second(bounded: Site) -> None:
    assert (await deploy(bounded, "f")).status_code == 201
    await quota(bounded, requests_per_s=5)
    answers = await asyncio.gather(*(call(bounded, "f") for _ in range(50)))
    some = sum(answer.status_code == 200 for answer in answers)
    assert 5 <= some < 50
    assert len(refused(list(answers), "requests_per_s")) == 50 - some


async def test_instances_and_memory_make_room_by_those_that_are_idle(bounded: Site) -> None:
    for name in ("a", "b", "c"):
        assert (await deploy(bounded, name, SLEEPS, memory_mb=64)).status_code == 201
    for bounds, name in (({"instances": 2}, "instances"), ({"memory_mb": 128}, "memory_mb")):
        await quota(bounded, **bounds)
        for function in ("a", "b", "c", "a"):
            assert (await call(bounded, function)).status_code == 200, "an idle instance of another function makes room"
        answers = await asyncio.gather(*(call(bounded, function, 0.5) for function in ("a", "b", "c")))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429]
        assert len(refused(list(answers), name)) == 1
        used = (await bounded.http.get(NS + "/quota")).json()["used"]
        assert (used["instances"], used["memory_mb"]) <= (2, 128)


async def test_queued_events_also_when_many_are_sent_at_once(bounded: Site) -> None:
    assert (await deploy(bounded, "f")).status_code == 201
    await quota(bounded, queued_events=5)
    later = {"prefer": "respond-async", "dayfly-delay": "1000"}
    answers = await asyncio.gather(*(bounded.http.post("/fn/bounded/f", json=0, headers=later) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 5, 429: 15}
    assert len(refused(list(answers), "queued_events")) == 15


async def test_no_tenant_sets_its_own_bounds_but_may_see_them(bounded: Site) -> None:
    made = (await bounded.http.post(NS + "/keys", json={"name": "owner", "roles": ["owner"]})).json()
    shown = {"authorization": f"Bearer {made['secret']}"}
    assert (await bounded.http.get(NS + "/quota", headers=shown)).status_code == 200
    assert (await bounded.http.put(NS + "/quota", headers=shown, json={"quota": {}})).status_code == 403


async def test_quotas_outlive_the_server_and_end_with_their_namespace(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("o")
    async with running(data) as site:
        assert (await site.http.put(NS)).status_code == 200
        await quota(site, functions=1)
    async with running(data) as site:
        assert (await site.http.get(NS + "/quota")).json()["quota"]["functions"] == 1
        assert (await site.http.delete(NS)).status_code == 204
        assert (await site.http.put(NS)).status_code == 200
        assert (await site.http.get(NS + "/quota")).json()["quota"]["functions"] == 0
