"""Sequences and conductors through the OpenWhisk interface."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.whisk import Whisk, whisk

pytestmark = pytest.mark.anyio

ADD = "def main(args):\n    if args.get('fail'):\n        return {'error': args['fail']}\n    return {'n': args.get('n', 0) + args.get('by', 1)}\n"
CONDUCTOR = """
def main(args):
    if 'error' in args:
        return {'params': {'caught': args['error']}}
    left = args.get('left', args.get('rounds', 0))
    if not left:
        return {'params': {'n': args.get('n', 0)}}
    return {'action': args.get('call', 'add'), 'params': {'n': args.get('n', 0)}, 'state': {'left': left - 1}}
"""


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        await made.action("add", ADD)
        await made.put("/packages/p", parameters=[{"key": "by", "value": 10}])
        await made.action("p/add", ADD, limits={"memory": 128})
        await made.action("conductor", CONDUCTOR, annotations=[{"key": "conductor", "value": True}])
        yield made


def annotation(activation: Any, key: str) -> Any:
    return next((pair["value"] for pair in activation["annotations"] if pair["key"] == key), None)


async def test_a_sequence_hands_each_answer_to_the_next(ow: Whisk) -> None:
    made = await ow.sequence("seq", "add", "p/add", "add")
    assert made["exec"] == {"kind": "sequence", "components": ["/guest/add", "/guest/p/add", "/guest/add"]}
    assert made["parameters"] == [{"key": "_actions", "value": ["/guest/add", "/guest/p/add", "/guest/add"]}]
    answer = (await ow.invoke("seq", {"n": 5})).json()
    assert answer["response"] == {"status": "success", "success": True, "result": {"n": 17}}
    assert len(answer["logs"]) == 3
    assert (annotation(answer, "topmost"), annotation(answer, "kind"), annotation(answer, "path")) == (
        True,
        "sequence",
        "guest/seq",
    )
    assert annotation(answer, "limits")["memory"] == 256, "the most of its parts"
    kept = await ow.activation(answer["activationId"])
    assert (kept["logs"], kept["duration"]) == (answer["logs"], answer["duration"])
    parts = [await ow.activation(identifier) for identifier in kept["logs"]]
    assert {part["cause"] for part in parts} == {kept["activationId"]}
    assert {annotation(part, "causedBy") for part in parts} == {"sequence"}
    assert sum(part["duration"] for part in parts) == pytest.approx(kept["duration"], abs=3)


async def test_nested_sequences_and_where_they_stop(ow: Whisk) -> None:
    await ow.sequence("inner", "add", "add")
    await ow.sequence("outer", "inner", "inner", "add")
    answer = (await ow.invoke("outer")).json()
    assert (answer["response"]["result"], len(answer["logs"])) == ({"n": 5}, 3)
    inner = await ow.activation(answer["logs"][0])
    assert (inner["cause"], annotation(inner, "topmost"), len(inner["logs"])) == (answer["activationId"], False, 2)
    failed = await ow.invoke("outer", {"fail": "no"})
    assert failed.status_code == 502
    assert failed.json()["response"] == {"status": "application error", "success": False, "result": {"error": "no"}}
    assert len(failed.json()["logs"]) == 1
    await ow.action("crash", "def main(args):\n    import os; os._exit(1)\n")
    await ow.sequence("crashes", "add", "crash", "add")
    crashed = (await ow.invoke("crashes")).json()
    assert crashed["response"]["status"] == "action developer error"
    assert "exited unexpectedly" in crashed["response"]["result"]["error"]
    later = await ow.invoke("outer", {"n": 1}, blocking="false")
    assert (await ow.activation(later.json()["activationId"]))["response"]["result"] == {"n": 6}


async def test_what_a_sequence_may_be(ow: Whisk) -> None:
    for components, message in [
        (["/_/nothing"], "Sequence component does not exist."),
        ([], "No component specified for the sequence."),
        (["/_/add"] * 51, "Too many actions in the sequence."),
    ]:
        refused = await ow("PUT", "/actions/new", json={"exec": {"kind": "sequence", "components": components}})
        assert (refused.status_code, refused.json()["error"]) == (400, message)
    await ow.sequence("a", "add")
    await ow.sequence("b", "a")
    cycle = await ow("PUT", "/actions/a?overwrite=true", json={"exec": {"kind": "sequence", "components": ["/_/b"]}})
    assert cycle.json()["error"] == "Sequence may not refer to itself."
    await ow.sequence("fifty", *["add"] * 50)
    assert await ow.result("fifty") == {"n": 50}


async def test_a_conductor_says_who_is_next(ow: Whisk) -> None:
    answer = (await ow.invoke("conductor", {"rounds": 3, "n": 1})).json()
    assert answer["response"]["result"] == {"n": 4}
    assert len(answer["logs"]) == 7, "four calls of the conductor, three of the action"
    assert (annotation(answer, "conductor"), annotation(answer, "kind")) == (True, "sequence")
    assert await ow.result("conductor", {"rounds": 2, "call": "/_/p/add"}) == {"n": 11}, (
        "the state that is not handed on is gone"
    )
    assert await ow.result("conductor", {"rounds": 1, "call": "inner"}) == {"n": 2}
    caught = await ow.result("conductor", {"rounds": 1, "call": "nothing"})
    assert caught == {"caught": "Failed to resolve action with name 'guest/nothing' during composition."}
    assert "Failed to parse action name from json value 5" in (await ow.result("conductor", {"rounds": 1, "call": 5}))["caught"]
    assert (await ow.result("conductor", {"rounds": 60}))["caught"] == "Too many actions in the composition."


async def test_rules_lead_to_compositions_too(ow: Whisk) -> None:
    await ow.put("/triggers/t")
    await ow.sequence("by-rule", "add", "add")
    await ow.put("/rules/r", trigger="/_/t", action="/_/by-rule")
    fired = await ow("POST", "/triggers/t", json={"n": 1})
    record = await ow.activation(fired.json()["activationId"])
    run = await ow.activation(json.loads(record["logs"][0])["activationId"])
    assert run["response"]["result"] == {"n": 3}
