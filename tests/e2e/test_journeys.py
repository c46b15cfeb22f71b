"""Deploy, call, look: the journeys of a user through a whole server with its real sandbox."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.anyio

HELLO = "def handler(event, context):\n    return {'hello': event.get('name', 'world')}\n"


async def test_from_source_to_answer_and_identical_content_makes_no_new_revision(site: Site) -> None:
    first = await site.deploy("hello", HELLO)
    assert (first["created"], first["revision"]["number"]) == (True, 1)
    answer = await site.call("hello", {"name": "Ada"})
    assert (answer.status_code, answer.json()) == (200, {"hello": "Ada"})
    again = await site.deploy("hello", HELLO)
    assert (again["created"], again["revision"]["number"]) == (False, 1)
    other = await site.deploy("hello", HELLO, memory_mb=128)
    assert (other["created"], other["revision"]["number"]) == (True, 2)


async def test_a_redeploy_under_constant_load_fails_not_one_call(site: Site) -> None:
    source = "def handler(event, context):\n    return {}\n"
    await site.deploy("busy", source.format(0))
    seen: set[int] = set()
    stop = False

    async def load() -> int:
        calls = 0
        while not stop:
            answer = await site.call("busy")
            assert answer.status_code == 200, answer.text
            seen.add(answer.json())
            calls += 1
        return calls

    workers = [asyncio.ensure_future(load()) for _ in range(4)]
    for number in range(1, 6):
        await site.deploy("busy", source.format(number))
        while number not in seen:
            await asyncio.sleep(0.005)
    stop = True
    assert sum(await asyncio.gather(*workers)) > 20
    assert (await site.call("busy")).json() == 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def handler(event, context:\n    return 1\n", ["handler.py", "line 1"]),
        ("import no_such_module\ndef handler(event, context):\n    return 1\n", ["no_such_module", "handler.py", "line 1"]),
        ("def other(event, context):\n    return 1\n", ["other"]),
        ("raise RuntimeError('not today')\n\ndef handler(e, c): ...\n", ["not today", "line 1"]),
        ("import os\nos._exit(3)\n\ndef handler(e, c): ...\n", ["exit status 3"]),
    ],
)
async def test_what_does_not_load_is_told_with_file_and_line_and_the_old_revision_serves(
    site: Site, source: str, words: list[str]
) -> None:
    await site.deploy("steady", HELLO)
    response = await site.put("steady", source)
    assert response.status_code in (422, 502), response.text
    text = " ".join(f"{key} {value}" for key, value in response.json().items())
    for word in words:
        assert word in text, text
    assert (await site.call("steady")).json() == {"hello": "world"}
    revisions = await site.api("GET", "/functions/steady/revisions")
    assert [revision["number"] for revision in revisions["items"]] == [1]


async def test_traffic_tags_aliases_and_rollback(site: Site) -> None:
    for number in (1, 2, 3):
        await site.deploy("split", f"def handler(event, context):\n    return {number}\n")
    await site.api(
        "PUT",
        "/functions/split/traffic",
        json={"targets": [{"revision": 1, "weight": 1}, {"revision": 3, "weight": 1, "tag": "new"}]},
    )
    answers = {(await site.call("split")).json() for _ in range(60)}
    assert answers == {1, 3}
    assert {(await site.call("split@new")).json() for _ in range(5)} == {3}
    assert (await site.call("split@2")).json() == 2
    await site.api("PUT", "/functions/split/aliases/prod", json={"targets": [{"revision": 2}]})
    assert (await site.call("split@prod")).json() == 2
    assert (await site.call("split@nope")).status_code == 404
    await site.deploy("split", "def handler(event, context):\n    return 4\n")
    assert (await site.call("split")).json() == 4
    await site.api("POST", "/functions/split/rollback", json={})
    assert (await site.call("split")).json() == 3


async def test_delete_lets_calls_under_way_finish(site: Site) -> None:
    await site.deploy("leaving", "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return 'done'\n")
    call = asyncio.ensure_future(site.call("leaving"))
    while not site.server.dispatcher.active:
        await asyncio.sleep(0.005)
    await site.api("DELETE", "/functions/leaving")
    assert (await site.call("leaving")).status_code == 404
    assert (await call).text == "done"


async def test_an_error_of_the_function_is_never_mistaken_for_one_of_the_platform(site: Site) -> None:
    await site.deploy(
        "raises", "def handler(event, context):\n    return inner(event)\n\ndef inner(event):\n    raise KeyError('order')\n"
    )
    answer = await site.call("raises")
    assert (answer.status_code, answer.headers["dayfly-error"]) == (500, "function")
    error = answer.json()["error"]
    assert error["type"] == "KeyError"
    assert "order" in error["message"]
    assert [("inner" in frame or "handler" in frame) for frame in error["trace"]] == [True, True]
    record = await site.record(answer.headers["dayfly-invocation-id"])
    assert (record["status"], record["error_type"]) == ("error", "KeyError")


async def test_a_crash_and_a_timeout_are_the_platforms_and_the_next_call_is_served(site: Site) -> None:
    source = """
import os, subprocess, time
def handler(event, context):
    if event.get("exit"):
        os._exit(7)
    if event.get("hang"):
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        while True:
            time.sleep(1)
    return os.getpid()
"""
    await site.deploy("fragile", source, timeout_s=1.0)
    crashed = await site.call("fragile", {"exit": 1})
    assert (crashed.status_code, crashed.headers["content-type"]) == (502, "application/problem+json")
    assert "exit status 7" in crashed.json()["detail"]
    assert crashed.json()["invocation"] == crashed.headers["dayfly-invocation-id"]
    hung = await site.call("fragile", {"hang": 1})
    assert (hung.status_code, hung.headers["dayfly-error"]) == (504, "platform")
    assert "1 s" in hung.json()["detail"]
    assert (await site.call("fragile")).status_code == 200
    assert (await site.record(hung.json()["invocation"]))["status"] == "timed-out"


async def test_a_stream_arrives_piece_by_piece(site: Site) -> None:
    source = """
def handler(request, context):
    yield "one\\n"
    yield "two\\n"
    assert request.body == b"go on"
    yield "three\\n"
"""
    await site.deploy("stream", source, flavour="http")
    async with site.http.stream("POST", "/fn/default/stream/any/path?x=1", content=b"go on") as response:
        assert response.headers["transfer-encoding"] == "chunked"
        text = "".join([piece async for piece in response.aiter_text()])
    assert text == "one\ntwo\nthree\n"


async def test_an_http_function_gets_everything_and_sets_everything(site: Site) -> None:
    source = """
def handler(request, context):
    return {
        "status": 418,
        "headers": {"x-method": request.method, "x-path": request.path, "x-query": request.query, "set-cookie": ["a=1", "b=2"]},
        "body": request.body[::-1],
    }
"""
    await site.deploy("mirror", source, flavour="http")
    response = await site.http.request("PATCH", "/fn/default/mirror/a%20b/c?q=1&q=2", content=bytes(range(256)))
    assert response.status_code == 418
    assert response.headers["x-method"] == "PATCH"
    assert response.headers["x-path"] == "/a%20b/c"
    assert response.headers["x-query"] == "q=1&q=2"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.content == bytes(reversed(range(256)))


async def test_an_async_call_is_accepted_run_and_its_answer_kept(site: Site) -> None:
    await site.deploy("later", "def handler(event, context):\n    return event['n'] * 2\n")
    accepted = await site.call("later", {"n": 21}, prefer="respond-async")
    assert accepted.status_code == 202
    identifier = accepted.json()["invocation"]
    record = await site.record(identifier)
    assert (record["status"], record["mode"]) == ("ok", "async")
    result = await site.http.get(f"/v1/namespaces/default/invocations/{identifier}/result")
    assert result.status_code == 200, result.text


async def test_an_async_call_is_cancelled_while_it_runs(site: Site) -> None:
    await site.deploy("endless", "import time\ndef handler(event, context):\n    time.sleep(1000)\n")
    identifier = (await site.call("endless", prefer="respond-async")).json()["invocation"]
    await site.record(identifier, "running")
    response = await site.http.delete(f"/v1/namespaces/default/invocations/{identifier}")
    assert response.status_code in (200, 202, 204), response.text
    assert (await site.record(identifier))["status"] == "cancelled"


async def test_what_is_printed_is_found_under_the_invocation(site: Site) -> None:
    await site.deploy(
        "talks",
        "print('loading')\ndef handler(event, context):\n    print('line', event['n'])\n    context.logger.warning('careful')\n",
    )
    identifiers = [(await site.call("talks", {"n": n})).headers["dayfly-invocation-id"] for n in range(3)]
    async with asyncio.timeout(10):
        while True:
            page = await site.api("GET", "/logs", params={"function": "talks"})
            lines = {(line["invocation"], line["text"]) for line in page["items"]}
            if (identifiers[2], "line 2") in lines and any("careful" in text for _, text in lines):
                break
            await asyncio.sleep(0.05)
    assert {(identifier, f"line {n}") for n, identifier in enumerate(identifiers)} <= lines
    assert ("", "loading") in lines


async def test_secrets_reach_the_function_and_nobody_else(site: Site) -> None:
    await site.api("PUT", "/secrets/db", json={"value": "hunter2"})
    source = "import os\ndef handler(event, context):\n    return os.environ['DB'][::-1]\n"
    assert (await site.put("vault", source, secrets={"DB": "missing"})).status_code == 404
    deployed = await site.deploy("vault", source, secrets={"DB": "db"}, env={"PLAIN": "x"})
    assert "hunter2" not in str(deployed)
    assert (await site.call("vault")).text == "2retnuh"
    await site.api("PUT", "/secrets/db", json={"value": "changed"})
    assert (await site.call("vault")).text == "degnahc"
    assert "changed" not in str(await site.api("GET", "/secrets"))


async def test_usage_is_the_sum_of_the_records(site: Site) -> None:
    await site.deploy("metered", HELLO, memory_mb=512)
    for _ in range(5):
        await site.call("metered")
    records = (await site.api("GET", "/invocations", params={"function": "metered"}))["items"]
    usage = await site.api("GET", "/usage", params={"function": "metered"})
    assert usage["requests"] == len(records) == 5
    assert usage["billed_ms"] == sum(record["billed_ms"] for record in records)
    assert usage["gb_seconds"] == pytest.approx(sum(r["billed_ms"] * 0.5 / 1000 for r in records))


async def test_recycling_makes_the_next_call_cold(site: Site) -> None:
    await site.deploy("fresh", HELLO)
    assert (await site.call("fresh")).headers["dayfly-cold"] == "false"
    await site.api("POST", "/functions/fresh/recycle")
    answer = await site.call("fresh")
    assert answer.headers["dayfly-cold"] == "true"
    assert "cold;dur=0.000" not in answer.headers["server-timing"]
    assert (await site.call("fresh")).headers["dayfly-cold"] == "false"


async def test_concurrent_calls_share_an_instance_up_to_its_concurrency(site: Site) -> None:
    source = "import asyncio, os\nasync def handler(event, context):\n    await asyncio.sleep(0.2)\n    return os.environ['DAYFLY_INSTANCE']\n"
    await site.deploy("shared", source, concurrency=5, max_instances=2)
    answers = await asyncio.gather(*(site.call("shared") for _ in range(10)))
    instances = [answer.text for answer in answers]
    assert len(set(instances)) == 2
    assert max(instances.count(instance) for instance in instances) == 5


async def test_a_revision_without_traffic_is_still_called_by_number_and_stays_warm(site: Site) -> None:
    for number in (1, 2):
        await site.deploy("older", f"def handler(event, context):\n    return {number}\n")
    first, second = await site.call("older@1"), await site.call("older@1")
    assert (first.json(), second.json()) == (1, 1)
    assert (first.headers["dayfly-cold"], second.headers["dayfly-cold"]) == ("true", "false")
    await site.api("POST", "/functions/older/rollback", json={})
    assert (await site.call("older")).json() == 1
