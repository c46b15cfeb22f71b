"""Packages, bindings, triggers and rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.support.whisk import Whisk, whisk

pytestmark = pytest.mark.anyio

ARGS = "def main(args):\n    return args\n"


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        yield made


def pairs(**given: object) -> list[dict[str, object]]:
    return [{"key": key, "value": value} for key, value in given.items()]


async def test_parameters_come_from_package_binding_action_and_call(ow: Whisk) -> None:
    await ow.put("/packages/p", parameters=pairs(a="p", b="p", c="p", d="p"))
    await ow.action("p/args", ARGS, parameters=pairs(c="action", d="action"))
    assert await ow.result("p/args", {"d": "call"}) == {"a": "p", "b": "p", "c": "action", "d": "call"}
    bound = await ow.put("/packages/b", binding={"namespace": "_", "name": "p"}, parameters=pairs(b="binding"))
    assert {"key": "binding", "value": {"namespace": "guest", "name": "p"}} in bound["annotations"]
    answer = (await ow.invoke("b/args", {"d": "call"})).json()
    assert answer["response"]["result"] == {"a": "p", "b": "binding", "c": "action", "d": "call"}
    assert {"key": "path", "value": "guest/b/args"} in answer["annotations"]
    shown = (await ow("GET", "/actions/b/args")).json()
    assert (shown["namespace"], {p["key"]: p["value"] for p in shown["parameters"]}["b"]) == ("guest/p", "binding")
    await ow.put("/packages/p", parameters=pairs(a="new"))
    assert await ow.result("p/args") == {"a": "new", "c": "action", "d": "action"}, "at once, without another deployment"
    package = (await ow("GET", "/packages/b")).json()
    assert [action["name"] for action in package["actions"]] == ["args"]
    refused = await ow("PUT", "/actions/b/other", json={"exec": {"kind": "python:3", "code": ARGS}})
    assert (refused.status_code, refused.json()["error"]) == (400, "Operation not permitted on package binding.")
    full = await ow("DELETE", "/packages/p")
    assert (full.status_code, full.json()["error"]) == (
        409,
        "Package not empty (contains 1 entity). Set force param or delete package contents.",
    )
    assert (await ow("DELETE", "/packages/p?force=true")).status_code == 200
    assert (await ow.invoke("p/args")).status_code == 404


async def test_a_trigger_fires_the_actions_of_its_active_rules(ow: Whisk) -> None:
    await ow.action("one", ARGS)
    await ow.action("two", ARGS)
    await ow.put("/triggers/t", parameters=pairs(from_="trigger", x=0))
    assert (await ow("POST", "/triggers/t", json={})).status_code == 204, "nobody listens"
    for rule, action in (("r1", "one"), ("r2", "two"), ("r3", "gone")):
        if action == "gone":
            await ow.action("gone", ARGS)
        made = await ow.put(f"/rules/{rule}", trigger="/_/t", action=f"/_/{action}")
        assert (made["status"], made["action"]) == ("active", {"path": "guest", "name": action})
    assert (await ow("DELETE", "/actions/gone")).status_code == 200
    off = await ow("POST", "/rules/r2", json={"status": "inactive"})
    assert (off.status_code, off.content) == (200, b"")
    await ow.put("/rules/r4", trigger="/_/t", action="/whisk.system/utils/echo")
    fired = await ow("POST", "/triggers/t", json={"x": 1})
    assert fired.status_code == 202
    record = (await ow("GET", f"/activations/{fired.json()['activationId']}")).json()
    assert (record["name"], record["response"]["result"]) == ("t", {"x": 1}), "at once"
    assert "duration" not in record
    assert [found["activationId"] for found in (await ow("GET", "/activations?name=t")).json()] == [record["activationId"]]
    logs = {entry["rule"]: entry for entry in map(json.loads, record["logs"])}
    assert logs["guest/r2"] == {
        "statusCode": 1, "success": False, "rule": "guest/r2", "action": "guest/two",
        "error": "Rule 'guest/r2' is inactive, action 'guest/two' was not activated.",
    }  # fmt: skip
    assert logs["guest/r3"]["error"] == "The requested resource does not exist."
    called = await ow.activation(logs["guest/r1"]["activationId"])
    assert called["response"]["result"] == {"from_": "trigger", "x": 1}
    assert "cause" not in called
    assert logs["guest/r1"] == {
        "statusCode": 0, "success": True, "rule": "guest/r1", "action": "guest/one", "activationId": called["activationId"],
    }  # fmt: skip
    elsewhere = await ow.activation(logs["guest/r4"]["activationId"])
    assert {"key": "path", "value": "whisk.system/utils/echo"} in elsewhere["annotations"]
    shown = (await ow("GET", "/triggers/t")).json()
    assert shown["rules"]["guest/r2"] == {"action": {"path": "guest", "name": "two"}, "status": "inactive"}
    assert (await ow("GET", "/rules/r2")).json()["status"] == "inactive"
    assert (await ow("DELETE", "/rules/r1")).json()["status"] == "inactive"
    assert set((await ow("GET", "/triggers/t")).json()["rules"]) == {"guest/r2", "guest/r3", "guest/r4"}
    assert (await ow("DELETE", "/triggers/t")).json()["rules"]["guest/r3"]["status"] == "active"
    assert (await ow("GET", "/rules/r3")).json()["status"] == "inactive"
    gone = await ow("POST", "/rules/r3", json={"status": "active"})
    assert (gone.status_code, gone.json()["error"]) == (404, "Only rules with existing triggers can be activated")


async def test_what_a_trigger_has_fired_runs_though_its_rule_is_gone(ow: Whisk) -> None:
    await ow.action("slow", "import time\ndef main(args):\n    time.sleep(0.2)\n    return {}\n")
    await ow.put("/triggers/brief")
    await ow.put("/rules/brief-rule", trigger="/_/brief", action="/_/slow")
    fired = [(await ow("POST", "/triggers/brief", json={})).json()["activationId"] for _ in range(3)]
    assert (await ow("DELETE", "/rules/brief-rule")).status_code == 200
    assert (await ow("POST", "/triggers/brief", json={})).status_code == 204
    assert (await ow("DELETE", "/triggers/brief")).status_code == 200
    for identifier in fired:
        [entry] = map(json.loads, (await ow("GET", f"/activations/{identifier}/logs")).json()["logs"])
        assert (entry["rule"], "action" in entry) == ("guest/brief-rule", False), "nobody knows any more where it led"
        assert (await ow.activation(entry["activationId"]))["response"]["success"]


async def test_rules_need_what_they_name(ow: Whisk) -> None:
    await ow.put("/triggers/there")
    for body, message in [
        ({"trigger": "/_/nothing", "action": "/_/one"}, "trigger /guest/nothing does not exist"),
        ({"trigger": "/_/there", "action": "/_/nothing"}, "action /guest/nothing does not exist"),
        ({"trigger": "/_/there"}, "rule requires a valid trigger and a valid action"),
    ]:
        refused = await ow("PUT", "/rules/r", json=body)
        assert (refused.status_code, refused.json()["error"]) == (400, message)
    bare = await ow("PUT", "/rules/r", json={"trigger": "there", "action": "/_/one"})
    assert "must contain at least the namespace and the name" in bare.json()["error"]


async def test_names_are_unique_over_all_collections(ow: Whisk) -> None:
    await ow.put("/triggers/same")
    taken = await ow("PUT", "/actions/same", json={"exec": {"kind": "python:3", "code": ARGS}})
    assert (taken.status_code, taken.json()["error"]) == (409, "Resource by this name exists but is not in this collection.")
    assert (await ow("GET", "/packages/same")).status_code == 409


async def test_lists_are_paged_and_counted(ow: Whisk) -> None:
    for number in range(3):
        await ow.put(f"/triggers/list{number}")
    names = [trigger["name"] for trigger in (await ow("GET", "/triggers/?limit=2")).json()]
    assert names == ["list2", "list1"]
    assert [t["name"] for t in (await ow("GET", "/triggers?limit=1&skip=2")).json()] == ["list0"]
    assert (await ow("GET", "/triggers?count=true")).json()["triggers"] >= 3
    for query, message in [
        ("limit=201", "The value '201' is not in the range of 0 to 200 for triggers."),
        ("limit=x", "The value 'x' is not an integer for triggers."),
        ("skip=-1", "The value '-1' is not greater than or equal to 0 for triggers."),
    ]:
        refused = await ow("GET", f"/triggers?{query}")
        assert refused.status_code == 400
        assert message in refused.json()["error"]
