"""What OpenWhisk's system suites say of calls and their records.

From tests/src/test/scala of the project: system/basic (WskRestBasic, WskAction, WskActivation, WskSequence, WskConductor, WskRule, WskPackage,
WskUnicode), core/cli/test (WskRestBasicUsage, WskEntitlement), core/limits (ActionLimits) and core/controller/test (Activations, Sequence and
ConductorsApi).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.whisk import Whisk, whisk
from tests.support.whisk_cases import ARGS, Case, Suite, code, delete, get, names, pairs, post, put, sequence, suite

pytestmark = pytest.mark.anyio

OK, APPLICATION, DEVELOPER = "success", "application error", "action developer error"
JS, PY = "nodejs:20", "python:3"
NOBODY = "The supplied authentication is not authorized to access"
SHORT = {"limits": {"timeout": 300}}
STEP = "def main(args):\n    return {'n': args['n'] + 1} if 'n' in args else {'error': 'missing parameter'}\n"
CONDUCTOR = """
def main(args):
    if 'error' in args:
        return args
    said = {key: args.pop(key) for key in ('action', 'state') if key in args}
    return said | {'params': args.pop('params', {}) | args}
"""


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dayfly.dialects.openwhisk.actions.LEAST_INIT", 0.3)  # so that to hang costs less
        async with whisk(tmp_path_factory.mktemp("d")) as made:
            await made.action("echo", ARGS)
            await made.action("step", STEP, limits={"memory": 257})
            await made.action("conductor", CONDUCTOR, annotations=pairs(conductor=True))
            await made.action("echo-conductor", ARGS, annotations=pairs(conductor=True))
            yield made


# name: kind, source, arguments, what came of it; then options of the action
RUNS: dict[str, tuple[str, str, Any, str, Any, dict[str, Any]]] = {
    "a promise": (JS, "const main = () => Promise.resolve({ done: true })", {}, OK, {"done": True}, {}),
    "an exception": (
        JS,
        "function main() { throw 'Extraordinary exception' }",
        {},
        DEVELOPER,
        {"error": "An error has occurred: Extraordinary exception"},
        {},
    ),
    "a rejected promise": (
        JS,
        "const main = () => Promise.reject({ msg: 'failed activation on purpose' })",
        {},
        APPLICATION,
        {"error": {"msg": "failed activation on purpose"}},
        {},
    ),
    "nothing": (JS, "function main() {}", {}, OK, {}, {}),
    "malformed": (JS, "x\n", {}, DEVELOPER, "ReferenceError", {}),
    "exits while it is loaded": (
        PY,
        "import os\nos._exit(1)\n",
        {},
        DEVELOPER,
        {"error": "The action did not initialize and exited unexpectedly."},
        {},
    ),
    "hangs while it is loaded": (
        PY,
        "import time\ntime.sleep(9)\n",
        {},
        DEVELOPER,
        {"error": "The action exceeded its time limits of 300 milliseconds during initialization."},
        SHORT,
    ),
    "exits while it runs": (
        PY,
        "import os\ndef main(args):\n    os._exit(1)\n",
        {},
        DEVELOPER,
        {"error": "The action did not produce a valid response and exited unexpectedly."},
        {},
    ),
    "hangs while it runs": (
        PY,
        "import time\ndef main(args):\n    time.sleep(args['s'])\n    return {}\n",
        {"s": 9},
        DEVELOPER,
        {"error": "The action exceeded its time limits of 300 milliseconds."},
        SHORT,
    ),
    "an error that is a text": (PY, ARGS, {"error": "Error message"}, APPLICATION, {"error": "Error message"}, {}),
    "an error that is a number": (PY, ARGS, {"error": 502}, APPLICATION, {"error": 502}, {}),
    "an error that is a truth": (PY, ARGS, {"error": True}, APPLICATION, {"error": True}, {}),
    "what needs no escape": (PY, ARGS, {"payload": "&<>"}, OK, {"payload": "&<>"}, {}),
    "unicode": (
        PY,
        "def main(args):\n    sep = args['delimiter']\n    print(sep + ' ☃ ' + sep)\n    return {'winter': sep + ' ☃ ' + sep}\n",
        {"delimiter": "❄"},
        OK,
        {"winter": "❄ ☃ ❄"},
        {},
    ),
    "unicode, Node": (
        JS,
        "function main(args) { const s = args.delimiter + ' ☃ ' + args.delimiter; console.log(s); return { winter: s } }",
        {"delimiter": "❄"},
        OK,
        {"winter": "❄ ☃ ❄"},
        {},
    ),
    "more memory than it may have": (
        PY,
        "def main(args):\n    return {'x': len(b'x' * (400 << 20))}\n",
        {},
        DEVELOPER,
        {"error": "The action exhausted its memory and was aborted."},
        {"limits": {"memory": 128}},
    ),
}
LOGGED = {"an exception": ["stderr: Extraordinary exception"], "unicode": ["stdout: ❄ ☃ ❄"], "unicode, Node": ["stdout: ❄ ☃ ❄"]}


@pytest.mark.parametrize("name", RUNS)
async def test_runs(ow: Whisk, name: str) -> None:
    kind, source, args, status, result, options = RUNS[name]
    action = re.sub(r"\W+", "-", name)
    await ow.action(action, source, kind, **options)
    called = await ow.invoke(action, args)
    assert called.status_code == (200 if status == OK else 502), called.text[:2000]
    for record in (called.json(), await ow.activation(called.json()["activationId"])):
        response = record["response"]
        assert (response["status"], response["success"]) == (status, status == OK), str(response)[:2000]
        if isinstance(result, str):
            assert result in response["result"]["error"], str(response)[:2000]
        else:
            assert response["result"] == result, str(response)[:2000]
    assert [line[31:] for line in record["logs"]][:1] == LOGGED.get(name, []), record["logs"]
    assert {"start", "end", "duration", "activationId", "annotations", "version", "subject", "publish"} <= record.keys()
    short = await ow.invoke(action, args, result="true")
    if not isinstance(result, str):
        assert short.json() == result


async def test_logs_are_of_a_stream(ow: Whisk) -> None:
    source = "import sys\ndef main(args):\n    print('this is stdout')\n    print('this is stderr', file=sys.stderr)\n"
    await ow.action("log", source + "    return {}\n")
    few = (await ow.invoke("log")).json()["activationId"]
    lines = (await ow("GET", f"/activations/{few}/logs")).json()["logs"]
    for stream in ("stdout", "stderr"):
        assert any(re.fullmatch(rf"\d+-\d+-\d+T\d+:\d+:\d+.\d+Z\s+{stream}: this is {stream}", line) for line in lines), lines


async def test_a_payload_close_to_the_limit(ow: Whisk) -> None:
    args = {"p": "a" * ((1 << 20) - 750)}
    called = await ow.invoke("echo", args)
    assert called.json()["response"] == {"status": OK, "success": True, "result": args}, called.text[:1000]
    assert (await ow.invoke("echo", args, result="true")).json() == args


def annotation(record: Any, key: str) -> Any:
    return next((pair["value"] for pair in record["annotations"] if pair["key"] == key), None)


async def composed(ow: Whisk, name: str, args: Any, count: int, *, blocking: str = "false") -> Any:
    """The record of a composition, held against those of its parts."""
    identifier = (await ow.invoke(name, args, blocking=blocking)).json()["activationId"]
    record = await ow.activation(identifier)
    assert len(record["logs"]) == count, record
    parts = [await ow.activation(part) for part in record["logs"]]
    assert {part["cause"] for part in parts} == {identifier}
    assert {annotation(part, "causedBy") for part in parts} == {"sequence"}
    assert annotation(record, "kind") == "sequence"
    assert (annotation(record, "topmost"), "cause" in record) == (True, False)
    return record


async def test_a_result_beyond_the_limit(ow: Whisk) -> None:
    await ow.action("long", "def main(args):\n    return {'a': 'a' * args['size']}\n")
    for _ in range(2):  # the instance and its namespace's count are as before
        called = await ow.invoke("long", {"size": (1 << 20) + 1})
        response = called.json()["response"]
        assert (called.status_code, response["status"]) == (502, DEVELOPER)
        assert "exceeded the allowed length" in response["result"]["error"]
    assert (await ow.result("long", {"size": 1})) == {"a": "a"}


async def test_sequences(ow: Whisk) -> None:
    await ow.action(
        "split", "def main(args):\n    return {'lines': args['payload'].split('\\n'), 'payload': args['payload']}\n"
    )
    await ow.action("sort", "def main(args):\n    return {'lines': sorted(args['lines']), 'length': len(args['lines'])}\n")
    await ow.action("head", "def main(args):\n    return {'lines': args['lines'][:1]}\n")
    await ow.action("cat", "def main(args):\n    return {'lines': args['lines'], 'payload': '\\n'.join(args['lines'])}\n")
    await ow.sequence("seq", "split", "sort", "head", "cat")
    text = {"payload": "what time is it?\nit is now"}
    assert (await composed(ow, "seq", text, 4))["response"]["result"] == {"lines": ["it is now"], "payload": "it is now"}
    await ow.sequence("seq", "split", "sort")
    found = {"lines": ["it is now", "what time is it?"], "length": 2}
    assert (await composed(ow, "seq", text, 2))["response"]["result"] == found
    assert (await composed(ow, "seq", text | {"error": "irrelevant"}, 2))["response"]["result"] == found, "given, not made"
    await ow.sequence("inner", "sort", "head")
    await ow.sequence("outer", "split", "inner", "cat")
    assert (await composed(ow, "outer", text, 3))["response"]["result"]["lines"] == ["it is now"]


async def test_sequences_that_fail(ow: Whisk) -> None:
    await ow.action("fails", "def main(args):\n    return {'error': 'on purpose'}\n")
    await ow.sequence("stops", "fails", "echo")
    stopped = await composed(ow, "stops", {}, 1)
    assert stopped["response"] == {"status": APPLICATION, "success": False, "result": {"error": "on purpose"}}
    await ow.action("hangs", "import time\ntime.sleep(9)\n", limits={"timeout": 300})
    await ow.sequence("hung", "echo", "hangs")
    hung = await composed(ow, "hung", {}, 2)
    assert hung["response"]["result"] == {
        "error": "The action exceeded its time limits of 300 milliseconds during initialization."
    }
    await ow.action("gone", ARGS)
    await ow.sequence("half", "echo", "gone")
    await ow("DELETE", "/actions/gone")
    half = await ow.invoke("half", {})
    assert (half.status_code, len(half.json()["logs"])) == (502, 1)
    assert half.json()["response"] == {
        "status": APPLICATION,
        "success": False,
        "result": {"error": "Sequence component does not exist."},
    }


async def test_a_sequence_that_has_grown_too_long_meanwhile(ow: Whisk) -> None:
    await ow.sequence("x", "echo")
    await ow.sequence("s", "echo", "x", "echo")
    assert (await composed(ow, "s", {"payload": "p"}, 3))["response"]["result"] == {"payload": "p"}
    await ow.sequence("x", *["echo"] * 50)
    grown = await composed(ow, "s", {"payload": "p"}, 2)
    assert grown["response"] == {
        "status": APPLICATION,
        "success": False,
        "result": {"error": "Too many actions in the sequence."},
    }
    inner = await ow.activation(grown["logs"][1])
    assert (len(inner["logs"]), inner["cause"]) == (49, grown["activationId"])


@pytest.mark.parametrize(
    ("name", "args", "status", "result", "count"),
    [
        ("echo-conductor", {"payload": "p", "state": "s"}, OK, {"payload": "p", "state": "s"}, 1),
        ("echo-conductor", {"error": "e"}, APPLICATION, {"error": "e"}, 1),
        ("echo-conductor", {"params": {"payload": "p"}, "result": "r", "state": "s"}, OK, {"payload": "p"}, 1),
        (
            "echo-conductor",
            {"payload": "p", "action": "missing"},
            APPLICATION,
            {"error": "Failed to resolve action with name 'guest/missing' during composition."},
            2,
        ),
        (
            "conductor",
            {"action": "/nobody/step"},
            APPLICATION,
            {"error": "Failed entitlement check for action with name 'nobody/step' during composition."},
            2,
        ),
        ("conductor", {"action": "step", "n": 1}, OK, {"n": 2}, 3),
        ("conductor", {"action": "step", "params": {"n": 1}}, OK, {"n": 2}, 3),
        ("conductor", {"action": "step"}, APPLICATION, {"error": "missing parameter"}, 3),
        ("conductor", {"action": "step", "state": {"witness": 42}, "n": 1}, OK, {"n": 2, "witness": 42}, 3),
        ("conductor", {"action": "step", "state": {"action": "step"}, "n": 1}, OK, {"n": 3}, 5),
        ("conductor", {"action": "conductor", "params": {"action": "step"}, "n": 1}, OK, {"n": 2}, 3),
        (
            "conductor",
            {"action": "conductor", "state": {"action": "step"}, "params": {"action": "step"}, "n": 1},
            OK,
            {"n": 3},
            5,
        ),
        (
            "conductor",
            {
                "action": "conductor",
                "state": {"action": "step"},
                "params": {"action": "conductor", "state": {"action": "step"}, "params": {"action": "step"}},
                "n": 1,
            },
            OK,
            {"n": 4},
            5,
        ),
    ],
)
async def test_conductors(ow: Whisk, name: str, args: Any, status: str, result: Any, count: int) -> None:
    record = await composed(ow, name, args, count)
    assert (record["response"]["status"], record["response"]["result"]) == (status, result)
    assert annotation(record, "conductor") is True


def deep(key: str, action: str, count: int) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(count):
        nested = {"action": action, key: nested}
    return nested


@pytest.mark.parametrize(
    ("args", "result"),
    [
        (deep("state", "step", 50), {"n": 50}),
        (deep("state", "step", 51), "Too many actions in the composition."),
        ({"action": "conductor", "params": deep("state", "step", 50)}, {"n": 50}),
        ({"action": "conductor", "params": deep("state", "step", 51)}, "Too many actions in the composition."),
        (deep("params", "conductor", 51), "Too many actions in the composition."),
    ],
    ids=["long", "too long", "nested", "nested too long", "too deep"],
)
async def test_how_long_a_composition_may_be(ow: Whisk, args: Any, result: Any) -> None:
    answer = (await ow.invoke("conductor", args | {"n": 0})).json()["response"]
    assert answer["result"] == (result if isinstance(result, dict) else {"error": result})


CASES: dict[str, Case] = {
    # --- SequenceApiTests
    "sequences: what they may be made of": [
        put("/actions/a", code()),
        put("/actions/s", sequence(*["/_/a"] * 51), 400, "Too many actions in the sequence."),
        put("/actions/s", sequence(), 400, "No component specified for the sequence."),
        put("/actions/s", sequence("/_/bogus"), 400, "Sequence component does not exist."),
        put("/actions/s", sequence("/_/s"), 400, "Sequence may not refer to itself."),
        put("/actions/s", sequence("/_/a", "/_/s", "/_/a"), 400, "Sequence may not refer to itself."),
        put("/actions/s", sequence("a", "b"), 400, "requirement failed: The fully qualified name of the entity must contain"),
        put("/actions/s", {"exec": {"kind": "sequence"}}, 400, "'components' must be defined for sequence kind"),
        put("/actions/s?overwrite=true", {"exec": {"kind": "sequence"}}, 400, "'components' must be defined for sequence kind"),
        put("/actions/s", sequence("/_/a", "/_/a")),
        put("/actions/s?overwrite=true", sequence("/_/a", "/_/s"), 400, "Sequence may not refer to itself."),
        put("/actions/s?overwrite=true", sequence(), 400, "No component specified for the sequence."),
        put("/actions/s?overwrite=true", sequence("a"), 400, "requirement failed"),
        put("/actions/full", sequence(*["/_/a"] * 50)),
    ],
    "sequences: through bindings": [
        put("/packages/p", {"publish": True}),
        put("/packages/b", {"binding": {"namespace": "_", "name": "p"}}),
        put("/actions/p/a", code()),
        put("/actions/s", sequence("/_/b/a")),
        put("/actions/p/s", sequence("/_/p/a")),
        put("/actions/p/s?overwrite=true", sequence("/_/p/a", "/_/b/s"), 400, "Sequence may not refer to itself."),
    ],
    "sequences: cycles through others": [
        *(put(f"/actions/{name}", code()) for name in "abz"),
        put("/actions/y", sequence("/_/a")),
        put("/actions/x", sequence("/_/b", "/_/z")),
        put("/actions/s", sequence("/_/a", "/_/x", "/_/y")),
        put("/actions/z?overwrite=true", sequence("/_/s"), 400, "Sequence may not refer to itself."),
        put("/actions/s?overwrite=true", sequence("/_/a", "/_/s", "/_/b"), 400, "Sequence may not refer to itself."),
        put("/actions/z?overwrite=true", sequence("/_/y")),
        put("/actions/s?overwrite=true", sequence("/_/a", "/_/x", "/_/y", "/_/a", "/_/b")),
    ],
    # --- ActivationsApiTests
    "activations: what may be asked": [
        get("/activations", told=[]),
        get("/activations?docs=true", told=[]),
        get("/activations?count=true", told={"activations": 0}),
        *(get(f"/activations?{query}") for query in ("", "name=", "name=abc", "name=abc/xyz")),
        get(
            "/activations?name=abc/xyz/123", 400, "Parameter may be a 'simple' name or 'package-name/simple' name: abc/xyz/123"
        ),
        get("/activations?name=0%20", 400),
        get("/activations?docs=true&count=true", 400, "The parameter 'docs' is not permitted with 'count'."),
        get("/activations?limit=201", 400, "The value '201' is not in the range of 0 to 200 for activations."),
        get("/activations?limit=string", 400, "The value 'string' is not an integer for activations."),
        get("/activations?skip=-1", 400, "The value '-1' is not greater than or equal to 0 for activations."),
        get("/activations?skip=string", 400, "The value 'string' is not an integer for activations."),
        get("/activations?since=xxx", 400, "Parameter is not a valid value for epoch seconds: xxx"),
        get("/activations?upto=yyy", 400, "Parameter is not a valid value for epoch seconds: yyy"),
        get("/activations/" + "0" * 31, 400, "Activation id length is 31 but must be 32."),
        get("/activations/" + "0" * 35, 400, "Activation id length is 35 but must be 32."),
        get("/activations/" + "0" * 31 + "z", 400, "The activation id is not valid."),
        *(
            get("/activations/" + "0" * 32 + what, 404, "The requested resource does not exist.")
            for what in ("", "/logs", "/result")
        ),
        get("/activations/" + "0" * 32 + "/bogus", 404),
        put("/activations/" + "0" * 32, {}, 405),
        post("/activations/" + "0" * 32, {}, 405),
        delete("/activations/" + "0" * 32, 405),
        get("/api/v1/namespaces/{ann}/activations", 403, by="bob"),
        get("/api/v1/namespaces/{ann}/activations/" + "0" * 32, 403, by="bob"),
    ],
    "activations: lists": [
        put("/packages/pkg"),
        put("/actions/xyz", code()),
        put("/actions/pkg/xyz", code()),
        post("/actions/xyz?blocking=true", {"n": 1}),
        post("/actions/pkg/xyz?blocking=true", {"n": 2}),
        post("/actions/xyz?blocking=true", {"n": 3}),
        get("/activations?count=true", told={"activations": 3}),
        get("/activations?count=true&skip=1", told={"activations": 2}),
        get("/activations?docs=true", told=lambda found: [record["response"]["result"]["n"] for record in found] == [3, 2, 1]),
        get(
            "/activations?docs=true&limit=1", told=lambda found: [record["response"]["result"]["n"] for record in found] == [3]
        ),
        get(
            "/activations?docs=true&skip=1",
            told=lambda found: [record["response"]["result"]["n"] for record in found] == [2, 1],
        ),
        get(
            "/activations?docs=true&name=xyz",
            told=lambda found: [record["response"]["result"]["n"] for record in found] == [3, 1],
        ),
        get("/activations?name=pkg/xyz&count=true", told={"activations": 1}),
        get(
            "/api/v1/namespaces/{ann}/activations?name=pkg/xyz",
            told=lambda found: "response" not in found[0] and found[0]["name"] == "xyz",
        ),
        get("/activations?upto=1", told=[]),
        get("/activations?since=99999999999999", told=[]),
        get("/activations?since=1&upto=99999999999999&count=true", told={"activations": 3}),
    ],
    # --- WskEntitlementTests
    "others: a private action": [
        put("/actions/private", code()),
        get("/api/v1/namespaces/{ann}/actions/private", 403, NOBODY, by="bob"),
        put("/api/v1/namespaces/{ann}/actions/private?overwrite=true", {}, 403, NOBODY, by="bob"),
        put("/actions/unauthorized sequence?overwrite=true", sequence("/{ann}/private"), 403, NOBODY, by="bob"),
        delete("/api/v1/namespaces/{ann}/actions/private", 403, NOBODY, by="bob"),
        post("/api/v1/namespaces/{ann}/actions/private", {}, 403, NOBODY, by="bob"),
    ],
    "others: a shared package": [
        put("/packages/p", {"publish": True, "parameters": pairs(a="A")}),
        put(
            "/actions/p/a", code("import os\ndef main(args):\n    return args | {'namespace': os.environ['__OW_NAMESPACE']}\n")
        ),
        get("/api/v1/namespaces/{ann}/actions/p/a", told={"parameters": pairs(a="A"), "name": "a"}, by="bob"),
        get("/api/v1/namespaces/{ann}/actions/p/", told=names("a"), by="bob"),
        get("/api/v1/namespaces/{ann}/packages", told=names("p"), by="bob"),
        delete("/api/v1/namespaces/{ann}/actions/p/a", 403, by="bob"),
        put("/api/v1/namespaces/{ann}/actions/p/b", code(), 403, by="bob"),
        put("/api/v1/namespaces/{ann}/actions/p/a?overwrite=true", {}, 403, by="bob"),
        post(
            "/api/v1/namespaces/{ann}/actions/p/a?blocking=true",
            {},
            told={"response": {"result": {"a": "A", "namespace": "{bob}"}}, "namespace": "{bob}"},
            by="bob",
        ),
        get("/api/v1/namespaces/whisk.systsdf/packages/utils", 403, NOBODY),
        get("/api/v1/namespaces/whisk.system/packages/utilssss", 403, NOBODY),
        put("/actions/s", sequence("/{ann}/p/a"), by="bob"),
        post("/actions/s?blocking=true", {}, told={"response": {"success": True}}, by="bob"),
        put("/packages/p?overwrite=true", {"publish": False}),
        post("/actions/s", {}, 403, by="bob"),
        get("/api/v1/namespaces/{ann}/packages", told=[], by="bob"),
    ],
    # --- WskRestBasicTests, WskRestBasicUsageTests
    "names": [
        *(put(f"/actions/{name}", code()) for name in ("TWICE", "twice", "action with spaces")),
        get("/actions/action%20with%20spaces", told={"name": "action with spaces"}),
        put("/packages/package with spaces"),
        put("/triggers/trigger with spaces"),
        post("/actions/action%20with%20spaces?blocking=true", {}, told={"name": "action with spaces"}),
        *(put(f"/actions/{name}", code(), 400) for name in ("%20", "hi+there", "$hola", "dora%3F", "%7Cdora%7Cdora%3F")),
    ],
    "who nobody knows": [
        get(
            "/api/v1/namespaces",
            401,
            "The supplied authentication is invalid",
            by="nobody",
            headers={"authorization": "Basic eHh4Ong="},
        ),
    ],
    "feeds": [
        put("/triggers/t", {"annotations": pairs(feed="/_/echo")}),
        put("/actions/echo", code()),
        post(
            "/actions/echo?blocking=true&result=true",
            {"lifecycleEvent": "CREATE", "triggerName": "/_/t", "authKey": "k"},
            told={"lifecycleEvent": "CREATE", "triggerName": "/_/t", "authKey": "k"},
        ),
    ],
}


@pytest.fixture(scope="module")
async def play(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Suite]:
    async with suite(tmp_path_factory.mktemp("d")) as made:
        yield made


@pytest.mark.parametrize("name", CASES)
async def test_case(play: Suite, name: str) -> None:
    await play.play(CASES[name])
