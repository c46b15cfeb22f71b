"""`wsk api`, the packages of whisk.system, manifests of wskdeploy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.machine import needs_node
from tests.support.whisk import Whisk, whisk

pytestmark = pytest.mark.anyio

BOOK = "def main(args):\n    return {'body': {k: v for k, v in args.items() if not k.startswith('__')}}\n"
MANAGE = "/api/v1/web/whisk.system/apimgmt/"


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        web = [{"key": "web-export", "value": True}, {"key": "require-whisk-auth", "value": 42}]
        await made.action("book", BOOK, annotations=web)
        yield made


def route(path: str, method: str, **more: Any) -> dict[str, Any]:
    action = {"name": "book", "namespace": "_", "backendMethod": "GET", "backendUrl": "http://x/book.http", "secureKey": 42}
    doc = {"namespace": "_", "gatewayBasePath": "/club", "gatewayPath": path, "gatewayMethod": method, "id": "API:_:/club"}
    return {"apidoc": doc | {"action": action} | more}


async def test_an_api_leads_to_web_actions(ow: Whisk) -> None:
    made = await ow.http.post(MANAGE + "createApi?responsetype=json", json=route("/books/{isbn}", "get", apiName="Book Club"))
    assert made.status_code == 200, made.text
    url = made.json()["gwApiUrl"]
    assert url == f"{ow.url}/api/guest/club"
    await ow.http.post(MANAGE + "createApi", json=route("/books", "post"))
    async with httpx2.AsyncClient() as http:
        book = await http.get(f"{url}/books/12%203?isbn=other&x=y")
        assert book.json()["body"] == {"isbn": "12 3", "x": "y"}
        posted = await http.post(f"{url}/books", json={"title": "t"})
        assert (posted.status_code, posted.json()) == (200, {"title": "t"})
        assert (await http.get(f"{url}/books")).status_code == 404
        assert (await http.get(f"{ow.url}/api/guest/nothing")).status_code == 404
    listed = (await ow.http.get(MANAGE + "getApi.http?basepath=Book%20Club&operation=get")).json()["apis"]
    [api] = listed
    assert list(api["value"]["apidoc"]["paths"]) == ["/books/{isbn}"]
    assert api["value"]["apidoc"]["paths"]["/books/{isbn}"]["get"]["x-openwhisk"]["action"] == "book"
    gone = await ow.http.delete(MANAGE + "deleteApi?basepath=/club&relpath=/books&operation=post&force=true")
    assert gone.status_code == 200
    assert [len(a["value"]["apidoc"]["paths"]) for a in (await ow.http.get(MANAGE + "getApi")).json()["apis"]] == [1]
    await ow.http.delete(MANAGE + "deleteApi?basepath=/club")
    assert (await ow.http.get(MANAGE + "getApi")).json() == {"apis": []}
    missing = await ow.http.delete(MANAGE + "deleteApi?basepath=/club")
    assert (missing.status_code, missing.json()["error"]) == (502, "API deletion failure: API '/club' does not exist.")


async def test_an_api_moves_to_another_gateway_by_its_description(ow: Whisk) -> None:
    await ow.http.post(MANAGE + "createApi?responsetype=http", json=route("/books/{isbn}", "get"))
    await ow.http.post(MANAGE + "createApi?responsetype=json", json=route("/path/with/sub_paths", "post"))
    [listed] = (await ow.http.get(MANAGE + "getApi?basepath=/club")).json()["apis"]
    described = listed["value"]["apidoc"]
    assert described["paths"]["/path/with/sub_paths"]["post"]["operationId"] == "postPathWithSub_paths"
    cases = described["x-ibm-configuration"]["assembly"]["execute"][0]["operation-switch"]["case"]
    target = f"{ow.url}/api/v1/web/guest/default/book"
    assert [case["execute"][1]["invoke"]["target-url"] for case in cases] == [f"{target}.http$(request.path)", f"{target}.json"]
    assert described["x-ibm-configuration"]["cors"] == {"enabled": True}
    described["paths"]["/documented/only"] = {"parameters": [], "get": {"responses": {}}}
    again = {"apidoc": {"namespace": "_", "swagger": msgspec.json.encode(described | {"basePath": "/again"}).decode()}}
    assert (await ow.http.post(MANAGE + "createApi", json=again)).status_code == 200
    async with httpx2.AsyncClient(base_url=f"{ow.url}/api/guest/again") as http:
        assert (await http.get("/books/7")).json() == {"isbn": "7"}, "the whole answer is read"
        assert (await http.post("/path/with/sub_paths", json={"a": 1})).json() == {"body": {"a": 1}}, "the answer as it is"
        assert (await http.get("/documented/only")).status_code == 404
        described["paths"] = {"/books/{isbn}": described["paths"]["/books/{isbn}"]}
        again["apidoc"]["swagger"] = described | {"basePath": "/again"}  # type: ignore[assignment]
        assert (await ow.http.post(MANAGE + "createApi", json=again)).status_code == 200
        assert (await http.post("/path/with/sub_paths")).status_code == 404, "a description replaces the one before"
    for apidoc, message in [
        (None, "apidoc is required."),
        ({"namespace": "_"}, "apidoc is missing the gatewayBasePath field"),
        ({"namespace": "_", "swagger": "{"}, "swagger field cannot be parsed. Ensure it is valid JSON."),
        ({"namespace": "_", "swagger": {"basePath": "/x", "info": {}}}, "swagger is missing the paths field."),
    ]:
        refused = await ow.http.post(MANAGE + "createApi", json={"apidoc": apidoc})
        assert (refused.status_code, refused.json()["error"]) == (502, message)
    for base in ("/club", "/again"):
        await ow.http.delete(MANAGE + f"deleteApi?basepath={base}")


async def test_the_systems_packages_are_there_when_asked_for(ow: Whisk) -> None:
    answer = await ow.http.post("/api/v1/namespaces/whisk.system/actions/utils/sort?blocking=true", json={"lines": ["b", "a"]})
    assert answer.json()["response"]["result"] == {"lines": ["a", "b"], "length": 2}
    assert answer.json()["namespace"] == "guest", "it runs on the caller's account"
    kept = await ow.activation(answer.json()["activationId"])
    assert {"key": "path", "value": "whisk.system/utils/sort"} in kept["annotations"]
    shown = (await ow.http.get("/api/v1/namespaces/whisk.system/packages/utils")).json()
    assert {"echo", "cat", "split", "sort", "head", "date"} <= {action["name"] for action in shown["actions"]}
    await ow.put(
        "/packages/mine",
        binding={"namespace": "whisk.system", "name": "samples"},
        parameters=[{"key": "place", "value": "here"}],
    )
    assert await ow.result("mine/greeting", {"name": "Ada"}) == {"payload": "Hello, Ada from here!"}
    sequence = {
        "kind": "sequence",
        "components": ["/whisk.system/utils/split", "/whisk.system/utils/sort", "/whisk.system/utils/cat"],
    }
    await ow.put("/actions/pipe", exec=sequence)
    assert (await ow.result("pipe", {"payload": "b a", "separator": " "}))["payload"] == "a\nb"
    refused = await ow.http.put(
        "/api/v1/namespaces/whisk.system/actions/mine", json={"exec": {"kind": "python:3", "code": BOOK}}
    )
    assert refused.status_code == 403


MANIFEST = """
packages:
  shop:
    inputs: {currency: EUR}
    dependencies:
      tools: {location: /whisk.system/utils}
    actions:
      price:
        function: price.py
        inputs: {amount: {type: integer, value: $AMOUNT}}
        limits: {memorySize: 128}
        web: true
      folder: {function: folder, runtime: "nodejs:default"}
      program: {function: native, native: true, version: "1.0"}
    sequences:
      both: {actions: "price, tools/echo"}
    triggers:
      sale: {inputs: {amount: 7}}
    rules:
      on-sale: {trigger: sale, action: price}
    apis:
      shop-api:
        shop: {price: {price: get}}
"""


@needs_node
async def test_a_manifest_is_imported(ow: Whisk, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    (tmp_path / "price.py").write_text("def main(args):\n    return {'body': f\"{args['amount']} {args['currency']}\"}\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.js").write_text("exports.main = () => ({ folder: true })\n")
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "exec").write_text("#!/bin/sh\necho '{\"native\": true}'\n")
    (tmp_path / "native" / "exec").chmod(0o755)
    run = await dayfly(ow, "import", str(tmp_path / "manifest.yaml"))
    assert run.returncode == 0, run.stderr
    assert "rule on-sale: 0.0.1" in run.stderr
    assert await ow.result("shop/price", {}) == {"body": "5 EUR"}
    assert await ow.result("shop/folder") == {"folder": True}
    assert await ow.result("shop/program") == {"native": True}
    assert await ow.result("shop/both") == {"body": "5 EUR"}
    assert (await ow("GET", "/rules/on-sale")).json()["action"] == {"path": "guest/shop", "name": "price"}
    assert (await ow.http.get("/api/guest/shop/price")).text == "5 EUR"
    again = await dayfly(ow, "import", str(tmp_path / "manifest.yaml"))
    assert again.returncode == 0, again.stderr


async def test_the_properties_of_wsk(ow: Whisk, tmp_path: Path) -> None:
    printed = await dayfly(ow, "env", "wsk")
    assert printed.stdout == f"APIHOST={ow.site.url}\nAPIVERSION=v1\nAUTH={GUEST_KEY}\nNAMESPACE=_\n"
    written = await dayfly(ow, "env", "wsk", "--write", WSK_CONFIG_FILE=str(tmp_path / "props"))
    assert written.returncode == 0
    assert (tmp_path / "props").read_text() == printed.stdout
    assert (tmp_path / "props").stat().st_mode & 0o777 == 0o600


async def dayfly(ow: Whisk, *arguments: str, **environ: str) -> Any:
    command = [sys.executable, "-m", "dayfly", "--url", ow.site.url, *arguments]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "AMOUNT": "5", **environ},
    )


async def test_alarms_go_off_by_the_platforms_timers(ow: Whisk) -> None:
    await ow.action("tick", "def main(args):\n    return args\n")
    await ow.put("/triggers/clock", parameters=[{"key": "zone", "value": "utc"}])
    await ow.put("/rules/on-tick", trigger="/_/clock", action="/_/tick")
    feed = "/api/v1/namespaces/whisk.system/actions/alarms/"

    async def ask(kind: str, event: str, **args: Any) -> Any:
        body = {"lifecycleEvent": event, "triggerName": "/_/clock", "authKey": GUEST_KEY, **args}
        return (await ow.http.post(feed + kind + "?blocking=true", json=body)).json()["response"]

    wrong = await ask("alarm", "CREATE")
    assert (wrong["status"], wrong["result"]) == (
        "application error",
        {"error": "alarms trigger feed requires a cron expression"},
    )
    made = await ask("alarm", "CREATE", cron="* * * * * *", trigger_payload={"beat": 1})
    assert made == {"status": "success", "success": True, "result": {"status": "active"}}
    async with asyncio.timeout(30):
        while not (found := (await ow("GET", "/activations?name=tick")).json()):
            await asyncio.sleep(0.1)
    assert (await ow.activation(found[-1]["activationId"]))["response"]["result"] == {"zone": "utc", "beat": 1}
    assert (await ask("alarm", "READ"))["result"]["config"] == {"cron": "* * * * * *", "trigger_payload": {"beat": 1}}
    triggers = "/v1/namespaces/guest/triggers"
    fired = (await ow("GET", "/activations?name=clock&docs=true")).json()[-1]
    assert (json.loads(fired["logs"][0])["rule"], fired["response"]["result"]) == ("guest/on-tick", {"beat": 1})

    async def timers() -> Any:
        return [one for one in (await ow.site.http.get(triggers)).json()["items"] if one["source"]]

    assert len(await timers()) == 1
    await ask("alarm", "PAUSE")
    assert (await timers())[0]["paused"]
    for kind, more in (("interval", {"minutes": 5}), ("once", {"date": "2100-01-01T00:00:00.000Z"})):
        assert (await ask(kind, "UPDATE", **more))["success"] is True
        [timer] = await timers()
        assert (timer["source"]["kind"], timer["paused"]) == ("timer", False)
    await ow("DELETE", "/triggers/clock")
    assert await timers() == []
    shown = (await ow.http.get("/api/v1/namespaces/whisk.system/packages/alarms")).json()
    assert ([f["name"] for f in shown["feeds"]], shown["actions"]) == (["alarm", "interval", "once"], [])


async def test_an_annotation_asks_for_retries_and_a_dead_letter(ow: Whisk) -> None:
    await ow.action("bury", "def main(args):\n    return args\n")
    retry = [{"key": "async-retry", "value": {"attempts": 2, "deadLetter": "bury"}}]
    await ow.action("fails", "def main(args):\n    return 5\n", annotations=retry)
    asked = await ow.invoke("fails", {"n": 1}, blocking="false")
    assert asked.status_code == 202
    async with asyncio.timeout(40):
        while not (found := (await ow("GET", "/activations?name=bury")).json()):
            await asyncio.sleep(0.1)
    assert (await ow.activation(found[0]["activationId"]))["response"]["result"]["n"] == 1
    refused = await ow("PUT", "/actions/fails?overwrite=true", json={"annotations": [{"key": "async-retry", "value": 5}]})
    assert refused.status_code == 400
