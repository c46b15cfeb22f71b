"""Actions of OpenWhisk from PUT to DELETE: a team changes the API host and nothing else."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.support.machine import needs_node
from tests.support.whisk import PYTHON, Whisk, whisk

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        yield made


def zipped(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return base64.b64encode(buffer.getvalue()).decode()


async def test_an_action_lives_from_put_to_delete(ow: Whisk) -> None:
    made = await ow("PUT", "/actions/hello", json={"exec": {"kind": "python:default", "code": PYTHON}})
    assert made.status_code == 200
    assert made.json()["exec"]["code"] == PYTHON
    assert (made.json()["version"], made.json()["namespace"]) == ("0.0.1", "guest")
    assert {"key": "provide-api-key", "value": False} in made.json()["annotations"]
    again = await ow("PUT", "/actions/hello", json={"exec": {"kind": "python:3", "code": PYTHON}})
    assert (again.status_code, again.json()["error"]) == (409, "resource already exists")

    called = await ow.invoke("hello", {"name": "Ada"})
    assert called.status_code == 200
    record = called.json()
    assert record["response"] == {"status": "success", "success": True, "result": {"greeting": "Hello Ada"}}
    assert called.headers["x-openwhisk-activation-id"] == record["activationId"]
    assert any(pair["key"] == "initTime" for pair in record["annotations"]), "the first call is cold"
    assert await ow.result("hello") == {"greeting": "Hello stranger"}

    later = await ow.invoke("hello", {"name": "Bob"}, blocking="false")
    assert later.status_code == 202
    kept = await ow.activation(later.json()["activationId"])
    assert kept["response"]["result"] == {"greeting": "Hello Bob"}
    assert await ow.logs(later.json()["activationId"], 1) == ["stdout: hello Bob"]

    updated = await ow("PUT", "/actions/hello?overwrite=true", json={"parameters": [{"key": "name", "value": "You"}]})
    assert updated.json()["version"] == "0.0.2"
    assert (await ow.action("hello", version="1.0"))["version"] == "1.0.0"
    assert await ow.result("hello") == {"greeting": "Hello You"}
    assert (await ow.site.http.post("/fn/guest/hello@1", json={"name": "old"})).json() == {"greeting": "Hello old"}

    gone = await ow("DELETE", "/actions/hello")
    assert (gone.status_code, gone.json()["exec"]["code"]) == (200, PYTHON)
    missing = await ow.invoke("hello")
    assert (missing.status_code, missing.json()["error"]) == (404, "The requested resource does not exist.")


async def test_main_port_and_own_listener_are_the_same(ow: Whisk) -> None:
    await ow.action("both")
    answer = await ow.site.http.post(
        "/api/v1/namespaces/guest/actions/both?blocking=true&result=true", json={}, headers=ow.http.headers
    )
    assert answer.json() == {"greeting": "Hello stranger"}
    assert (await ow.http.get("/")).json()["api_paths"] == ["/api/v1"]


async def test_nobody_gets_in_without_a_key(ow: Whisk) -> None:
    for headers, message in [
        ({}, "The resource requires authentication, which was not supplied with the request"),
        ({"authorization": "Basic bm9ib2R5OnNlY3JldA=="}, "The supplied authentication is invalid"),
    ]:
        async with httpx2.AsyncClient(base_url=ow.url) as http:
            refused = await http.get("/api/v1/namespaces/_/actions", headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (401, message)
        assert refused.headers["www-authenticate"] == 'Basic realm="OpenWhisk secure realm"'
    other = await ow.http.get("/api/v1/namespaces/somebody/actions")
    assert (other.status_code, other.json()["error"]) == (
        403,
        "The supplied authentication is not authorized to access 'somebody'.",
    )


@needs_node
async def test_three_kinds_of_failure_are_kept_apart(ow: Whisk) -> None:
    cases = [
        ("python:3", "def main(args):\n    return {'error': 'mine'}\n", "application error", "mine"),
        ("python:3", "def main(args):\n    raise ValueError('oops')\n", "application error", "oops"),
        ("python:3", "def main(args):\n    return 5\n", "action developer error", "did not return a dictionary or array"),
        ("python:3", "def main(args):\n    import os; os._exit(1)\n", "action developer error", "exited unexpectedly"),
        ("python:3", "import nowhere\n", "action developer error", "nowhere"),
        (
            "nodejs:default",
            "function main() { throw new Error('oops') }",
            "action developer error",
            "An error has occurred: Error: oops",
        ),
        ("nodejs:default", "function main() { return Promise.reject({ code: 7 }) }", "application error", ""),
        ("nodejs:default", "function other() {}", "action developer error", "Action entrypoint 'main' is not a function."),
    ]
    for kind, code, status, message in cases:
        await ow.action("bad", code, kind)
        answer = await ow.invoke("bad")
        response = answer.json()["response"]
        assert (answer.status_code, response["status"], response["success"]) == (502, status, False), code
        assert message in str(response["result"]["error"]), code
        kept = await ow.activation(answer.json()["activationId"])
        assert kept["response"]["status"] == status, code


@needs_node
async def test_archives_main_and_environment(ow: Whisk) -> None:
    source = "import os, sub\ndef run(args):\n    return {'env': {k: v for k, v in os.environ.items() if k.startswith('__OW')}, 'sub': sub.X}\n"
    made = await ow.action("zip", zipped({"__main__.py": source, "sub.py": "X = 3\n"}), exec={"main": "run"})
    assert made["exec"]["binary"] is True
    answer = await ow.invoke("zip")
    result = answer.json()["response"]["result"]
    assert result["sub"] == 3
    assert result["env"]["__OW_ACTION_NAME"] == "/guest/zip"
    assert result["env"]["__OW_ACTION_VERSION"] == "0.0.1"
    assert result["env"]["__OW_ACTIVATION_ID"] == answer.json()["activationId"]
    assert int(result["env"]["__OW_DEADLINE"]) > answer.json()["start"]
    assert "__OW_API_KEY" not in result["env"]
    node = {"package.json": '{"main": "lib/a.js"}', "lib/a.js": "exports.main = (args) => ({ sum: args.a + args.b })"}
    await ow.action("node-zip", zipped(node), "nodejs:20")
    assert await ow.result("node-zip", {"a": 1, "b": 2}) == {"sum": 3}
    assert await ow.result("node-zip", {"a": "x", "b": "y"}) == {"sum": "xy"}


async def test_a_call_that_outlasts_the_wait_is_answered_202_and_goes_on(ow: Whisk) -> None:
    await ow.action("slow", "import time\ndef main(args):\n    time.sleep(args['s'])\n    return {'slept': args['s']}\n")
    answer = await ow.invoke("slow", {"s": 0.5}, timeout="50")
    assert answer.status_code == 202
    assert (await ow.activation(answer.json()["activationId"]))["response"]["result"] == {"slept": 0.5}
    await ow.action("slow", limits={"timeout": 200}, code="import time\ndef main(args):\n    time.sleep(9)\n")
    late = await ow.invoke("slow")
    assert late.status_code == 502
    assert late.json()["response"]["result"] == {"error": "The action exceeded its time limits of 200 milliseconds."}


async def test_functions_are_the_same_whoever_deployed_them(ow: Whisk) -> None:
    await ow.action("mine")
    listed = (await ow.site.http.get("/v1/namespaces/guest/functions")).json()["items"]
    assert ("mine", "openwhisk") in [(f["name"], f["profile"]) for f in listed]
    body = {"code": {"files": {"handler.py": "def handler(event, context):\n    return {'native': event}\n"}}}
    assert (await ow.site.http.put("/v1/namespaces/guest/functions/theirs", json=body)).status_code == 201
    assert await ow.result("theirs", {"a": 1}) == {"native": {"a": 1}}
    assert "theirs" in [action["name"] for action in (await ow("GET", "/actions?limit=0")).json()]


LOOP = """#!/usr/bin/env python3
import json, os, sys
out = os.fdopen(3, "w")
calls = 0
for line in sys.stdin:
    call = json.loads(line)
    calls += 1
    print("seen", calls, flush=True)
    out.write(json.dumps({"calls": calls, "value": call["value"], "id": call["activation_id"]}) + "\\n")
    out.flush()
"""


async def test_programs_in_any_language(ow: Whisk) -> None:
    script = '#!/bin/sh\necho some log\necho "{\\"args\\": $1, \\"id\\": \\"$__OW_ACTIVATION_ID\\"}"\n'
    made = await ow.put("/actions/native", exec={"kind": "blackbox", "image": "openwhisk/dockerskeleton", "code": script})
    assert (made["exec"]["kind"], made["exec"]["code"]) == ("blackbox", script)
    answer = (await ow.invoke("native", {"a": 1})).json()
    assert answer["response"]["result"] == {"args": {"a": 1}, "id": answer["activationId"]}
    assert await ow.logs(answer["activationId"], 1) == ["stdout: some log"]
    await ow.put(
        "/actions/loop", exec={"kind": "blackbox", "image": "openwhisk/actionloop-base", "code": zipped({"exec": LOOP})}
    )
    for count in (1, 2):
        result = await ow.result("loop", {"n": count})
        assert (result.get("calls"), result.get("value")) == (count, {"n": count}), result
    await ow.put("/actions/image", exec={"kind": "blackbox", "image": "somebody/something"})
    refused = await ow.invoke("image")
    assert (refused.status_code, refused.json()["response"]["status"]) == (502, "action developer error")
    assert refused.json()["response"]["result"] == {"error": "Failed to pull container image 'somebody/something'."}


async def test_init_parameters_of_package_binding_and_call_are_environment(ow: Whisk) -> None:
    code = "import os\ndef main(args):\n    return {'mood': os.environ.get('MOOD'), 'args': args}\n"
    mood = {"key": "MOOD", "init": True}
    await ow.put("/packages/moody", parameters=[mood | {"value": "calm"}, {"key": "p", "value": 1}])
    await ow.action("moody/tell", code)
    await ow.put("/packages/moodier", binding={"namespace": "_", "name": "moody"}, parameters=[mood | {"value": "wild"}])
    assert await ow.result("moodier/tell") == {"mood": "wild", "args": {"p": 1}}
    assert await ow.result("moody/tell", {"MOOD": "odd"}) == {"mood": "odd", "args": {"p": 1}}
    assert await ow.result("moody/tell") == {"mood": "calm", "args": {"p": 1}}
    await ow.put("/packages/moody", parameters=[mood | {"value": "glad"}, {"key": "p", "value": 2}])
    assert await ow.result("moody/tell") == {"mood": "glad", "args": {"p": 2}}


async def test_throttles_say_when_to_come_again(ow: Whisk) -> None:
    await ow.action("busy", "import time\ndef main(args):\n    time.sleep(args.get('s', 0))\n    return {}\n")
    quota = "/v1/namespaces/guest/quota"
    assert (await ow.site.http.put(quota, json={"quota": {"concurrent_calls": 1}})).status_code < 300
    try:
        calls = await asyncio.gather(*(ow.invoke("busy", {"s": 0.5}) for _ in range(3)))
    finally:
        await ow.site.http.put(quota, json={"quota": {}})
    refused = [call for call in calls if call.status_code == 429]
    assert len(refused) == 2
    assert refused[0].json()["error"] == "Too many concurrent requests in flight (count: 1, allowed: 1)."
    assert int(refused[0].headers["retry-after"]) >= 1


async def test_the_answer_to_a_call_is_its_record_as_it_is_kept(ow: Whisk) -> None:
    await ow.put("/packages/kept", parameters=[{"key": "name", "value": "Eve"}])
    await ow.action("kept/greet")
    for start in ("cold", "warm", "warm"):
        told = (await ow.invoke("kept/greet")).json()
        kept = await ow.activation(told["activationId"])
        assert ("initTime" in [pair["key"] for pair in told["annotations"]]) is (start == "cold")
        for record in (told, kept):
            assert record["end"] - record.pop("start") == record["duration"]
            del record["end"], record["logs"]  # moments are told a little more exactly later
        assert told == kept
        assert told["response"]["result"] == {"greeting": "Hello Eve"}


async def test_the_same_request_follows_every_change(ow: Whisk) -> None:
    """A connection that asks the same again is answered from memory, until anything that decides the answer changes."""
    await ow.put("/packages/moving", parameters=[{"key": "name", "value": "Eve"}])
    await ow.action("moving/target")

    async def greeting() -> tuple[str, str]:
        record = (await ow.invoke("moving/target")).json()
        return record["version"], record["response"]["result"]["greeting"]

    assert [await greeting(), await greeting()] == [("0.0.1", "Hello Eve")] * 2
    await ow.put("/packages/moving", parameters=[{"key": "name", "value": "Bob"}])
    assert [await greeting(), await greeting()] == [("0.0.1", "Hello Bob")] * 2
    await ow.action("moving/target", PYTHON.replace("Hello", "Bye"), parameters=[{"key": "name", "value": "Ann"}])
    assert [await greeting(), await greeting()] == [("0.0.2", "Bye Ann")] * 2
    await ow("DELETE", "/actions/moving/target")
    assert (await ow.invoke("moving/target")).status_code == 404


async def test_an_answer_that_is_no_json_breaks_no_record(ow: Whisk) -> None:
    answers = {b"{}": b"plain", b'{"error":1}': b'an "error"', b'{"utf-8":false}': b'{"text":"\xff"}'}
    code = f"def handler(request, context):\n    return {answers!r}[request.body]\n"
    function = {"code": {"files": {"handler.py": code}}, "config": {"flavour": "http"}}
    assert (await ow.site.http.put("/v1/namespaces/guest/functions/plain", json=function)).status_code == 201
    for body in answers:
        called = await ow("POST", "/actions/plain?blocking=true", content=body)
        assert called.status_code == 502
        assert called.json()["response"] == {
            "status": "action developer error",
            "success": False,
            "result": {"error": "The action did not produce a valid JSON or JSON Array response."},
        }
