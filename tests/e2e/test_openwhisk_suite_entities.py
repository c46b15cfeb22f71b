"""What the suites of OpenWhisk's controller say of actions, packages, triggers and rules, case by case.

Named as in tests/src/test/scala/org/apache/openwhisk/core/controller/test of the project: ActionsApi, PackageActionsApi, PackagesApi,
TriggersApi, RulesApi, LimitsApi, NamespacesApi, RespondWithHeaders. Left out are those of its caches, its database and its old schemas.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.whisk_cases import (
    Case,
    Suite,
    big,
    code,
    delete,
    get,
    names,
    pairs,
    post,
    put,
    sequence,
    suite,
)

pytestmark = pytest.mark.anyio

MISSING = "The requested resource does not exist."
CONFORMANCE = "Resource by this name exists but is not in this collection."
MALFORMED = "The request content was malformed:\n"
UNQUALIFIED = (
    MALFORMED
    + "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."
)
LONG = "a" * 257
KEPT = [{"key": "provide-api-key", "value": False}, {"key": "exec", "value": "python:3"}]
ECHO, BOUND = code(), {"binding": {"namespace": "_", "name": "p"}}
LINKS = {"trigger": "/_/t", "action": "/_/a"}
LINKED = [put("/triggers/t"), put("/actions/a", ECHO)]


def lists(collection: str) -> Case:
    query = "The query parameter '{}' was malformed:\n"
    return [
        get(
            f"/{collection}?limit=201",
            400,
            query.format("limit") + f"The value '201' is not in the range of 0 to 200 for {collection}.",
        ),
        get(f"/{collection}?limit=string", 400, f"The value 'string' is not an integer for {collection}."),
        get(f"/{collection}?skip=-1", 400, f"The value '-1' is not greater than or equal to 0 for {collection}."),
        get(f"/{collection}?skip=string", 400, f"The value 'string' is not an integer for {collection}."),
    ]


CASES: dict[str, Case] = {
    # --- ActionsApiTests
    "actions: an empty list": [get("/actions", told=[])],
    "actions: by default and explicit namespace": [
        put("/actions/a", code(parameters=pairs(x="b"))),
        put("/actions/b", ECHO),
        get("/actions", told=names("a", "b")),
        get("/api/v1/namespaces/{ann}/actions", told=names("a", "b")),
        get("/api/v1/namespaces/{ann}/actions", 403, by="bob"),
        post("/actions", {}, 405),
    ],
    "actions: list limits": lists("actions"),
    "actions: summary has no code and no parameters": [
        put("/actions/a", code(parameters=pairs(x="b"))),
        get("/actions", told=lambda found: "parameters" not in found[0] and found[0]["exec"] == {"binary": False}),
    ],
    "actions: get, whose code may be left out": [
        put(
            "/actions/a", code(parameters=pairs(x="b"), updated=1569400000000), told={"updated": lambda at: at != 1569400000000}
        ),
        get("/actions/a", told={"exec": {"code": code()["exec"]["code"]}, "parameters": pairs(x="b"), "annotations": KEPT}),
        get("/actions/a?code=true", told={"exec": {"code": code()["exec"]["code"]}}),
        get(
            "/actions/a?code=false", told={"exec": lambda exec_: "code" not in exec_, "updated": lambda at: at > 1569400000000}
        ),
        get("/api/v1/namespaces/{ann}/actions/a", 403, by="bob"),
        get("/actions/xyz", 404, MISSING),
    ],
    **{
        f"actions: exec of {exec_}": [
            put("/actions/a", {"exec": exec_}, told={"exec": shown}),
            get("/actions/a", told={"exec": shown}),
            get("/actions/a?code=false", told={"exec": lambda exec_: "code" not in exec_}),
            delete("/actions/a", told={"exec": shown}),
        ]
        for exec_, shown in (
            (
                {"kind": "blackbox", "code": "RHViZWU=", "image": "bb", "main": "m"},
                {"binary": True, "main": "m", "code": "RHViZWU="},
            ),
            ({"kind": "blackbox", "code": "", "image": "bb", "main": "m"}, {"binary": False, "main": "m", "image": "bb"}),
            ({"kind": "blackbox", "code": "RHViZWU=", "image": "bb"}, {"binary": True, "image": "bb"}),
            ({"kind": "blackbox", "code": "cc", "image": "bb"}, {"binary": False, "code": "cc"}),
            ({"kind": "nodejs:20", "code": "", "main": "m"}, {"kind": "nodejs:20", "binary": False, "code": "", "main": "m"}),
            ({"kind": "nodejs:default", "code": "??"}, {"kind": "nodejs:20", "binary": False, "code": "??"}),
            ({"kind": "nodejs:20", "code": "RHViZWU="}, {"binary": True, "code": "RHViZWU="}),
            ({"kind": "python:3", "code": "RHViZWU=", "main": "m"}, {"binary": True, "code": "RHViZWU=", "main": "m"}),
        )
    },
    "actions: no code of a blackbox without": [
        put(
            "/actions/a",
            {"exec": {"kind": "blackbox", "code": "", "image": "bb"}},
            told={"exec": lambda exec_: "code" not in exec_},
        ),
    ],
    "actions: a name of another collection": [
        put("/triggers/t"),
        get("/actions/t", 409, CONFORMANCE),
        put("/actions/t", ECHO, 409),
    ],
    "actions: long names": [
        get(f"/api/v1/namespaces/{LONG}/actions/{LONG}", 400, "Namespace longer than allowed: 257 > 256."),
        *(
            get(f"/actions/{path}", 400, "Name segement longer than allowed: 257 > 256.")
            for path in (LONG, f"pkg/{LONG}", f"{LONG}/a", f"{LONG}/{LONG}")
        ),
    ],
    "actions: delete": [
        put("/actions/a", ECHO),
        get("/api/v1/namespaces/{ann}/actions/a", 403, by="bob"),
        delete("/actions/a", told={"name": "a", "version": "0.0.1"}),
        delete("/actions/a", 404),
    ],
    "actions: what a PUT must hold": [
        put("/actions/x", b"", 415, headers={"content-type": "text/plain"}),
        put("/actions/x", {"name": "name", "publish": True}, 400, "exec undefined"),
        put("/actions/x", {"name": "name", "publish": True, "exec": ""}, 400),
        put("/actions/x", code(kind=""), 400, "kind '' not in Set"),
        put("/actions/x", code(kind="foobar"), 400, "kind 'foobar' not in Set"),
        put("/actions/x", {**ECHO, "parameters": {"a": "b"}}, 400),
        put("/actions/x", ECHO | big("parameters"), 413, "parameters larger than allowed: "),
        put("/actions/x", ECHO | big("annotations"), 413, "annotations larger than allowed: "),
        get("/actions/x", 404),
    ],
    "actions: a payload that is too big, whatever it is for": [
        post(
            "/actions/nothing", b'{"a":"%s"}' % (b"a" * (1 << 20)), 413, "Request larger than allowed: 1048584 > 1048576 bytes."
        ),
    ],
    "actions: put makes the rest up": [
        put(
            "/actions/a",
            code(""),
            told={
                "parameters": [],
                "version": "0.0.1",
                "publish": False,
                "annotations": KEPT,
                "limits": {"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1},
            },
        ),
    ],
    "actions: annotations are laid over those before": [
        put("/actions/a", code(annotations=pairs(a="A", b="B"))),
        put(
            "/actions/a?overwrite=true",
            {"annotations": pairs(b="C", d="D")},
            told={"annotations": lambda made: by_key(made) == ABCD},
        ),
        put(
            "/actions/a?overwrite=true",
            {"delAnnotations": ["a", "b"]},
            told={"annotations": lambda made: by_key(made) == {"d": "D"}},
        ),
        put(
            "/actions/a?overwrite=true",
            {"delAnnotations": ["d"], "annotations": pairs(e=1)},
            told={"annotations": lambda made: by_key(made) == {"e": 1}, "version": "0.0.4"},
        ),
    ],
    "actions: the annotations of the system": [
        *(
            put(
                f"/actions/{name}",
                code(annotations=pairs(**{"provide-api-key": value})),
                told={"annotations": lambda a, v=value: a[0]["value"] == v},
            )
            for name, value in (("a", True), ("b", ""))
        ),
        put("/actions/c", code(annotations=pairs(exec="foo")), told={"annotations": KEPT}),
    ],
    "actions: parameters of a sequence do not stay": [
        put("/actions/a", ECHO),
        put("/actions/s", sequence("/_/a")),
        put("/actions/s?overwrite=true", {"parameters": pairs(a="A")}, told={"parameters": pairs(_actions=["/{ann}/a"])}),
        put("/actions/s?overwrite=true", ECHO, told={"parameters": [], "exec": {"kind": "python:3"}}),
        put("/actions/s2", sequence("/_/a")),
        put("/actions/s2?overwrite=true", code(parameters=pairs(a="A")), told={"parameters": pairs(a="A")}),
    ],
    "actions: only in one's own namespace": [put("/api/v1/namespaces/{ann}/actions/a", ECHO, 403, by="bob")],
    "actions: limits": [
        put("/actions/a", code(limits={"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1})),
        put("/actions/a", ECHO, 409, "resource already exists"),
        put(
            "/actions/a?overwrite=true",
            code("_", parameters=pairs(x="X"), limits={"timeout": 300000, "memory": 512, "logs": 10}),
            told={"limits": {"timeout": 300000, "memory": 512, "logs": 10, "concurrency": 1}, "version": "0.0.2"},
        ),
        put(
            "/actions/a?overwrite=true", {"parameters": pairs(x="Y")}, told={"parameters": pairs(x="Y"), "exec": {"code": "_"}}
        ),
    ],
    "actions: calls": [
        put("/actions/a", code(parameters=pairs(x="b"))),
        post("/api/v1/namespaces/{ann}/actions/a", {"xxx": "yyy"}, 403, by="bob"),
        post("/actions/a", {"xxx": "yyy"}, 202, told={"activationId": lambda id_: len(id_) == 32}),
        post("/actions/a?result=true", {"xxx": "yyy"}, 202, told={"activationId": lambda id_: len(id_) == 32}),
        post("/actions/a", None, 202),
        post("/actions/a?blocking=true", None, 200, told={"logs": [], "response": {"result": {"x": "b"}, "success": True}}),
        post("/actions/a?blocking=true&result=true", {"y": 1}, 200, told={"x": "b", "y": 1}),
        post("/actions/a?blocking=true&timeout=0", {}, 400, "Timeout must be number of milliseconds up to 60000."),
        post("/actions/a?blocking=true&timeout=65000", {}, 400, "Timeout must be number of milliseconds up to 60000."),
    ],
    "actions: parameters that are final": [
        put("/actions/a", code(parameters=pairs(a="A", empty=None), annotations=pairs(final=True))),
        post("/actions/a", {"a": "B"}, 400, "Request defines parameters that are not allowed (e.g., reserved properties)."),
        post("/actions/a", {"empty": "C"}, 202),
    ],
    # --- PackageActionsApiTests
    "packages' actions: lists": [
        put("/packages/p"),
        put("/packages/b", BOUND),
        put("/actions/p/one", ECHO),
        put("/actions/p/two", ECHO),
        put("/actions/out", ECHO),
        get("/actions/p/", told=names("one", "two")),
        get("/actions/b/", told=names("one", "two")),
        get("/actions", told=names("one", "two", "out")),
        get("/actions/p", 409, CONFORMANCE),
        delete("/actions/p/", 404),
    ],
    "packages' actions: writes": [
        put("/packages/p"),
        put("/packages/b", BOUND),
        put("/actions/p/a", ECHO),
        put("/actions/nothing/a", ECHO, 404),
        put("/actions/b/a", ECHO, 400, "Operation not permitted on package binding."),
        put("/api/v1/namespaces/{ann}/actions/p/x", ECHO, 403, by="bob"),
        delete("/api/v1/namespaces/{ann}/actions/p/a", 403, by="bob"),
        delete("/actions/b/a", 400),
        delete("/actions/nothing/a", 404),
        delete("/actions/p/nothing", 404),
        delete("/actions/p/a"),
        delete("/packages/p"),
        put("/actions/b/a", ECHO, 400),
        delete("/actions/b/a", 400),
    ],
    "packages' actions: reads": [
        put("/packages/p", {"publish": True, "parameters": pairs(p="P", b="x")}),
        put("/actions/p/a", code(parameters=pairs(a="A"))),
        get("/actions/p/a", told={"parameters": lambda made: by_key(made) == {"p": "P", "b": "x", "a": "A"}}),
        put("/packages/b", {"binding": {"namespace": "{ann}", "name": "p"}, "parameters": pairs(b="B")}, by="bob"),
        get("/actions/b/a", told={"parameters": lambda made: by_key(made) == {"p": "P", "b": "B", "a": "A"}}, by="bob"),
        get("/actions/nothing/a", 404, by="bob"),
        get("/actions/b/nothing", 404, by="bob"),
        get("/actions/nothing/a", 404),
        get("/actions/p/nothing", 404),
        post("/actions/b/a", {"xxx": "yyy"}, 202, by="bob"),
        post("/api/v1/namespaces/{ann}/actions/p/a", {"xxx": "yyy"}, 202, by="bob"),
        post("/actions/p/a", {"xxx": "yyy"}, 202),
        post("/actions/p/nothing", {}, 404),
        post("/actions/nothing/a", {}, 404),
        put("/packages/p?overwrite=true", {"publish": False}),
        get("/actions/b/a", 403, by="bob"),
        post("/actions/b/a", {}, 403, by="bob"),
        post("/api/v1/namespaces/{ann}/actions/p/a", {}, 403, by="bob"),
        delete("/packages/p?force=true"),
        get("/actions/b/a", 403, by="bob"),
    ],
    # --- PackagesApiTests
    "packages: lists": [
        put("/packages/p"),
        put("/packages/q", {"publish": True}),
        put("/packages/b", BOUND),
        put("/packages/c", {**BOUND, "publish": True}),
        get("/packages", told=names("p", "q", "b", "c")),
        get("/packages?count=true", told={"packages": 4}),
        get("/packages?public=true", told=names("p", "q", "b", "c")),
        get("/api/v1/namespaces/{ann}/packages", told=names("q"), by="bob"),
        get("/api/v1/namespaces/{ann}/packages?count=true", told={"packages": 1}, by="bob"),
        get("/api/v1/namespaces/whisk.systsdf/packages", told=[]),
        *lists("packages"),
    ],
    "packages: get with its actions and feeds": [
        put("/packages/p", {"parameters": pairs(a="A", b="B")}),
        put("/packages/r", {**BOUND, "parameters": pairs(b="b", c="C")}),
        put("/actions/p/a", ECHO),
        put("/actions/p/f", code(annotations=pairs(feed="true"))),
        get("/packages/p", told={"actions": names("a"), "feeds": names("f"), "binding": {}}),
        get(
            "/packages/r",
            told={
                "actions": names("a"),
                "feeds": names("f"),
                "parameters": lambda made: by_key(made) == {"a": "A", "b": "b", "c": "C"},
                "binding": {"namespace": "{ann}", "name": "p"},
            },
        ),
        get("/api/v1/namespaces/{ann}/packages/p", 403, by="bob"),
        get("/api/v1/namespaces/{ann}/packages/r", 403, by="bob"),
        get("/packages/p/bar", 404),
    ],
    "packages: a binding of what is not shared any more": [
        put("/packages/p", {"publish": True}),
        put("/packages/r", {"binding": {"namespace": "{ann}", "name": "p"}}, by="bob"),
        get("/packages/r", by="bob"),
        get("/api/v1/namespaces/{ann}/packages/p", by="bob"),
        put("/packages/p?overwrite=true", {"publish": False}),
        get("/packages/r", 403, by="bob"),
        put("/packages/r?overwrite=true", {"binding": {"namespace": "{ann}", "name": "p"}}, 403, by="bob"),
        put("/packages/s", {"binding": {"namespace": "{ann}", "name": "p"}}, 403, by="bob"),
        put("/packages/s", {"binding": {"namespace": "{ann}", "name": "nothing"}}, 403, by="bob"),
        put("/packages/r?overwrite=true", {"binding": {"namespace": "{ann}", "name": "nothing"}}, 403, by="bob"),
        delete("/packages/r", by="bob"),
    ],
    "packages: create and update": [
        put(
            "/packages/p", {"annotations": pairs(binding="???", a="b")}, told={"annotations": pairs(a="b"), "version": "0.0.1"}
        ),
        put("/packages/p", {}, 409, "resource already exists"),
        put("/api/v1/namespaces/{ann}/packages/p?overwrite=true", {"publish": True}, 403, by="bob"),
        put(
            "/packages/p?overwrite=true",
            {"publish": True},
            told={"publish": True, "version": "0.0.2", "annotations": pairs(a="b")},
        ),
        put("/packages/default", {}, 400, "Package name 'default' is reserved."),
        put("/packages/default?overwrite=true", {}, 400, "Package name 'default' is reserved."),
        put("/packages/x", big("annotations"), 413, "annotations larger than allowed: "),
        put("/packages/x", big("parameters"), 413, "parameters larger than allowed: "),
        put("/packages/p?overwrite=true", big("parameters"), 413, "parameters larger than allowed: "),
        put("/packages/p?overwrite=true", BOUND, 409, "Resource is a package and cannot be converted into a binding."),
    ],
    "packages: bindings": [
        put("/packages/p"),
        put("/api/v1/namespaces/{ann}/packages/r", BOUND, 403, by="bob"),
        put(
            "/packages/r",
            {"binding": {"namespace": "{ann}", "name": "p"}, "annotations": pairs(binding="???", a="b")},
            told={"annotations": lambda made: by_key(made)["a"] == "b" and by_key(made)["binding"]["name"] == "p"},
        ),
        put("/packages/s", BOUND, told={"binding": {"namespace": "{ann}", "name": "p"}}),
        put(
            "/packages/x",
            {"binding": {"namespace": "_", "name": "nothing"}},
            400,
            "Binding references a package that does not exist.",
        ),
        put("/packages/x", {"binding": {"namespace": "_", "name": "r"}}, 400, "Cannot bind to another package binding."),
        put(
            "/packages/r?overwrite=true",
            {"binding": {"namespace": "_", "name": "r"}},
            400,
            "Cannot bind to another package binding.",
        ),
        put(
            "/packages/r?overwrite=true",
            {"publish": True, "annotations": pairs(binding="???", a="c")},
            told={"version": "0.0.2", "publish": True, "binding": {"namespace": "{ann}", "name": "p"}},
        ),
        put("/actions/a", ECHO),
        put(
            "/packages/x", {"binding": {"namespace": "_", "name": "a"}}, 409, "Cannot bind to a resource that is not a package."
        ),
        delete("/packages/p"),
        put("/packages/r?overwrite=true", BOUND, 400, "Binding references a package that does not exist."),
        delete("/packages/r", told={"binding": {"namespace": "{ann}", "name": "p"}}),
    ],
    "packages: delete": [
        put("/packages/p"),
        put("/actions/p/a", ECHO),
        delete("/packages/p", 409, "Package not empty (contains 1 entity). Set force param or delete package contents."),
        delete("/packages/p?force=true", told={"name": "p"}),
        get("/actions/p/a", 404),
    ],
    # --- TriggersApiTests
    "triggers: lists": [
        put("/triggers/t", {"parameters": pairs(x="b")}),
        put("/triggers/u"),
        get("/triggers", told=names("t", "u")),
        get("/api/v1/namespaces/{ann}/triggers", told=names("t", "u")),
        get("/api/v1/namespaces/{ann}/triggers", 403, by="bob"),
        get("/api/v1/namespaces/{ann}/triggers/t", 403, by="bob"),
        *lists("triggers"),
    ],
    "triggers: get, update, delete": [
        put("/triggers/t", {"parameters": pairs(x="b")}, told={"version": "0.0.1", "limits": {}, "annotations": []}),
        get("/triggers/t", told={"parameters": pairs(x="b")}),
        put("/triggers/t?overwrite=true", {}, told={"version": "0.0.2", "parameters": pairs(x="b")}),
        put("/triggers/t?overwrite=true", {"annotations": pairs(feed="xyz")}),
        get("/triggers/t/bar", 404),
        delete("/triggers/t", told={"name": "t"}),
        delete("/triggers/t", 404),
    ],
    "triggers: a name of another collection": [
        *LINKED,
        put("/rules/r", LINKS),
        get("/triggers/r", 409),
        get("/rules/t", 409, CONFORMANCE),
    ],
    "triggers: feeds": [
        put("/triggers/t", {"annotations": pairs(feed="xyz")}),
        put("/triggers/u", {"annotations": pairs(feed="")}, 400, "Feed name is not valid"),
        put("/triggers/u", {"annotations": pairs(feed="a,b")}, 400, "Feed name is not valid"),
        put("/triggers/u", {"annotations": pairs(feed="/ns/pkg/name")}),
    ],
    "triggers: what is too big": [
        post(
            "/triggers/nothing",
            b'{"a":"%s"}' % (b"a" * (1 << 20)),
            413,
            "Request larger than allowed: 1048584 > 1048576 bytes.",
        ),
        put("/triggers/t", big("parameters"), 413, "parameters larger than allowed: "),
        put("/triggers/t", big("annotations"), 413, "annotations larger than allowed: "),
        put("/triggers/t"),
        put("/triggers/t?overwrite=true", big("parameters"), 413, "parameters larger than allowed: "),
    ],
    "triggers: fire": [
        *LINKED,
        post("/triggers/t", {"xxx": "yyy"}, 204),
        put("/rules/r", LINKS),
        post("/triggers/t", {"xxx": "yyy"}, 202, told={"activationId": lambda id_: len(id_) == 32}),
        post("/triggers/t", None, 202),
        get(
            "/activations?name=t&docs=true",
            told=lambda found: (
                [record["response"]["result"] for record in found] == [{}, {"xxx": "yyy"}]
                and all("end" not in record and record["annotations"] == [] for record in found)
            ),
        ),
    ],
    # --- RulesApiTests
    "rules: lists": [
        *LINKED,
        put("/rules/r", LINKS),
        put("/rules/s", LINKS),
        get("/rules", told=names("r", "s")),
        get("/api/v1/namespaces/{ann}/rules", told=names("r", "s")),
        get("/api/v1/namespaces/{ann}/rules", 403, by="bob"),
        get("/api/v1/namespaces/{ann}/rules/r", 403, by="bob"),
        *lists("rules"),
    ],
    "rules: create, get, delete": [
        *LINKED,
        get("/rules/xxx", 404),
        put(
            "/rules/r",
            {"trigger": "{ann}/t", "action": "/{ann}/a"},
            told={"status": "active", "trigger": {"path": "{ann}", "name": "t"}, "action": {"path": "{ann}", "name": "a"}},
        ),
        get("/rules/r", told={"status": "active", "version": "0.0.1"}),
        get("/triggers/t", told={"rules": {"{ann}/r": {"action": {"path": "{ann}", "name": "a"}, "status": "active"}}}),
        get("/rules/r/bar", 404),
        delete("/rules/r", told={"name": "r"}),
        get("/triggers/t", told=lambda shown: "rules" not in shown),
        put("/rules/r", LINKS),
        delete("/triggers/t"),
        get("/rules/r", told={"status": "inactive"}),
        delete("/rules/r"),
    ],
    "rules: names in full": [
        *LINKED,
        put("/rules/r", {"trigger": "t", "action": "/_/a"}, 400, UNQUALIFIED),
        put("/rules/r", {"trigger": "/_/t", "action": "a"}, 400, UNQUALIFIED),
        put("/rules/r", {"trigger": "t", "action": "a"} | big("annotations"), 413, "annotations larger than allowed: "),
    ],
    "rules: actions of packages and bindings": [
        *LINKED,
        put("/packages/p", {"publish": True}),
        put("/packages/b", BOUND),
        put("/actions/p/a", ECHO),
        put("/rules/r", LINKS | {"action": "/_/p/a"}, told={"action": {"path": "{ann}/p", "name": "a"}}),
        put("/rules/s", LINKS | {"action": "/_/b/a"}, told={"action": {"path": "{ann}/b", "name": "a"}}),
    ],
    "rules: what they name must be there": [
        *LINKED,
        put("/rules/x", LINKS | {"action": "/_/bogus action"}, 400, "action /{ann}/bogus action does not exist"),
        put("/rules/x", LINKS | {"trigger": "/_/bogus trigger"}, 400, "trigger /{ann}/bogus trigger does not exist"),
        put("/rules/x", {"trigger": "/_/bogus", "action": "/_/bogus"}, 400, "does not exist"),
        put("/rules/x", {"trigger": "/_/t"}, 400),
    ],
    "rules: update": [
        *LINKED,
        put("/triggers/u"),
        put("/actions/b", ECHO),
        put("/rules/r", LINKS),
        put("/rules/r?overwrite=true", {"trigger": "/_/u", "action": "/_/b"}, told={"version": "0.0.2", "status": "active"}),
        put("/rules/r?overwrite=true", LINKS | {"trigger": "/_/u"}, told={"action": {"path": "{ann}", "name": "a"}}),
        put("/rules/r?overwrite=true", {"action": "/_/b"}, told={"trigger": {"path": "{ann}", "name": "u"}}),
        put("/rules/r?overwrite=true", {"trigger": "/_/t"}, told={"action": {"path": "{ann}", "name": "b"}}),
        put("/rules/r?overwrite=true", {}, told={"version": "0.0.6"}),
        put("/rules/r?overwrite=true", big("annotations"), 413, "annotations larger than allowed: "),
        get("/triggers/u", told=lambda shown: "rules" not in shown),
        delete("/actions/b"),
        put("/rules/r?overwrite=true", {"trigger": "/_/t"}, 400, "action /{ann}/b does not exist"),
        delete("/triggers/t"),
        put("/rules/r?overwrite=true", {}, 400, "does not exist"),
        put("/rules/r?overwrite=true", {"action": "/_/a"}, 400, "trigger /{ann}/t does not exist"),
    ],
    "rules: on and off": [
        *LINKED,
        put("/rules/r", LINKS),
        post("/rules/r", {"status": "active"}),
        post("/rules/r", {"status": "inactive"}),
        post("/rules/r", {"status": "inactive"}),
        get("/triggers/t", told={"rules": {"{ann}/r": {"status": "inactive"}}}),
        put("/rules/r?overwrite=true", {}, told={"status": "inactive"}),
        post("/rules/r", {"status": "active"}),
        get("/rules/r", told={"status": "active"}),
        post("/rules/xyz", None, 400),
        post("/rules/xyz", {"status": "xxx"}, 400),
        post("/rules/xyz", {"status": "active"}, 404),
        delete("/triggers/t"),
        post("/rules/r", {"status": "active"}, 404),
    ],
    # --- NamespacesApiTests, LimitsApiTests, RespondWithHeadersTests
    "namespaces": [
        get("/api/v1/namespaces", told=["{ann}"]),
        get("/api/v1/namespaces/", told=["{ann}"]),
        get("/api/v1/namespaces/{ann}", 404),
        put("/api/v1/namespaces/{ann}", {}, 404),
        post("/api/v1/namespaces/{ann}", {}, 404),
        delete("/api/v1/namespaces/{ann}", 404),
    ],
    "limits": [
        get("/limits", told={"minActionMemory": 128, "maxActionMemory": 512, "minActionLogs": 0, "maxActionLogs": 10}),
        get("/limits/", told={"minActionTimeout": 100, "maxActionTimeout": 300000, "minActionConcurrency": 1}),
        put("/limits", {}, 405),
        post("/limits", {}, 405),
        delete("/limits", 405),
        put("/limits/entity", {}, 405),
        post("/limits/entity", {}, 405),
        delete("/limits/entity", 405),
        get("/limits/entity", 400),
    ],
}
ABCD = {"a": "A", "b": "C", "d": "D"}


def by_key(made: list[dict[str, object]]) -> dict[str, object]:
    """Without what the system adds."""
    return {pair["key"]: pair["value"] for pair in made if pair["key"] not in ("exec", "provide-api-key")}  # type: ignore[misc]


@pytest.fixture(scope="module")
async def play(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Suite]:
    async with suite(tmp_path_factory.mktemp("d")) as made:
        yield made


@pytest.mark.parametrize("name", CASES, ids=lambda name: name[:60])
async def test_case(play: Suite, name: str) -> None:
    await play.play(CASES[name])
