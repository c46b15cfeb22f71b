"""Every route of the controller with the statuses and bodies it documents, one line each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.whisk import PYTHON, Whisk, whisk

pytestmark = pytest.mark.anyio

MISSING = "The requested resource does not exist."
EXISTS = "resource already exists"
EXEC = {"exec": {"kind": "python:3", "code": PYTHON}}
MALFORMED = "The request content was malformed:\n"
NOBODY = "The supplied authentication is not authorized to access 'nobody/x'."


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        await made.action("there")
        await made.put("/packages/pack")
        await made.action("pack/inside")
        await made.put("/packages/bound", binding={"namespace": "_", "name": "pack"})
        await made.put("/triggers/bell")
        await made.put("/rules/rings", trigger="/_/bell", action="/_/there")
        yield made


ID = "0" * 32
# method, path below the caller's namespace (or absolute), body, status, error message or a member of the answer
TABLE: list[tuple[str, str, Any, int, Any]] = [
    # namespaces
    ("GET", "/api/v1/namespaces", None, 200, None),
    ("GET", "/api/v1/namespaces/", None, 200, None),
    ("GET", "/limits", None, 200, {"maxParameterSize": "1 MB", "maxActionTimeout": 300000}),
    ("GET", "/api/v1/namespaces/nobody/limits", None, 403, "The supplied authentication is not authorized to access 'nobody'."),
    ("GET", "/api/v1", None, 200, {"api_version": "1.0.0", "api_version_path": "v1"}),
    ("GET", "/", None, 200, {"description": "OpenWhisk", "api_paths": ["/api/v1"]}),
    ("OPTIONS", "/actions/there", None, 200, None),
    # actions
    ("GET", "/actions", None, 200, None),
    ("GET", "/actions?limit=0&skip=0", None, 200, None),
    ("GET", "/actions?count=true", None, 200, {"actions": 2}),
    (
        "GET",
        "/actions?limit=500",
        None,
        400,
        "The query parameter 'limit' was malformed:\nThe value '500' is not in the range of 0 to 200 for actions.",
    ),
    ("GET", "/actions/pack/", None, 200, None),
    ("GET", "/actions/bound/", None, 200, None),
    ("GET", "/actions/nothing/", None, 404, MISSING),
    (
        "GET",
        "/actions/there",
        None,
        200,
        {"name": "there", "publish": False, "limits": {"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}},
    ),
    ("GET", "/actions/there?code=false", None, 200, {"exec": {"kind": "python:3", "binary": False}}),
    ("GET", "/actions/bound/inside", None, 200, {"namespace": "guest/pack", "name": "inside"}),
    ("GET", "/actions/nothing", None, 404, MISSING),
    ("GET", "/actions/bell", None, 409, "Resource by this name exists but is not in this collection."),
    ("GET", "/api/v1/namespaces/nobody/actions/x", None, 403, NOBODY),
    ("PUT", "/actions/there", EXEC, 409, EXISTS),
    ("PUT", "/actions/there?", EXEC, 409, EXISTS),
    ("PUT", "/actions/new", {}, 400, "exec undefined"),
    ("PUT", "/actions/new", {"exec": {"kind": "cobol:1", "code": "x"}}, 400, "kind 'cobol:1' not in Set("),
    ("PUT", "/actions/new", {"exec": {"kind": "python:3"}}, 400, f"{MALFORMED}'code' must be a string"),
    ("PUT", "/actions/new", {"exec": {"code": "x"}}, 400, f"{MALFORMED}'kind' must be a string defined in 'exec'"),
    (
        "PUT",
        "/actions/new",
        {"exec": {"kind": "blackbox"}},
        400,
        f"{MALFORMED}'image' must be a string defined in 'exec' for 'blackbox' actions",
    ),
    (
        "PUT",
        "/actions/new",
        EXEC | {"limits": {"memory": 1}},
        400,
        f"{MALFORMED}requirement failed: memory 1 MB below allowed threshold of 128 MB",
    ),
    ("PUT", "/actions/new", EXEC | {"limits": {"timeout": 10**9}}, 400, "exceeds allowed threshold of 300000 milliseconds"),
    (
        "PUT",
        "/actions/new",
        EXEC | {"parameters": [{"key": "k", "value": "x" * (1 << 20)}]},
        413,
        "parameters larger than allowed: ",
    ),
    ("PUT", "/actions/new", EXEC | {"version": "abc"}, 400, f"{MALFORMED}bad semantic version"),
    ("PUT", "/actions/new", b"{", 400, MALFORMED),
    ("PUT", "/actions/new", b"[]", 400, f"{MALFORMED}Object expected"),
    ("PUT", "/actions/ba$d", EXEC, 400, "The name of the entity contains illegal characters."),
    ("PUT", "/actions/" + "a" * 257, EXEC, 400, "Name segement longer than allowed: 257 > 256."),
    ("PUT", "/actions/nothing/new", EXEC, 404, MISSING),
    ("PUT", "/actions/bound/new", EXEC, 400, "Operation not permitted on package binding."),
    ("PUT", "/api/v1/namespaces/nobody/actions/x", EXEC, 403, NOBODY),
    ("DELETE", "/actions/nothing", None, 404, MISSING),
    ("DELETE", "/actions/bound/inside", None, 400, "Operation not permitted on package binding."),
    # invoke
    ("POST", "/actions/there", {}, 202, None),
    ("POST", "/actions/there?blocking=true", {}, 200, {"name": "there", "logs": [], "subject": "guest"}),
    ("POST", "/actions/there?blocking=true&result=true", {"name": "A"}, 200, {"greeting": "Hello A"}),
    ("POST", "/actions/there?blocking=true&result=true", b"", 200, {"greeting": "Hello stranger"}),
    ("POST", "/actions/bound/inside?blocking=true&result=true", {}, 200, {"greeting": "Hello stranger"}),
    ("POST", "/actions/there?blocking=true", b"5", 400, f"{MALFORMED}Object expected"),
    (
        "POST",
        "/actions/there?blocking=maybe",
        {},
        400,
        "The query parameter 'blocking' was malformed:\n'maybe' is not a valid Boolean value",
    ),
    ("POST", "/actions/there?blocking=true&timeout=60001", {}, 400, "Timeout must be number of milliseconds up to 60000."),
    ("POST", "/actions/there?blocking=true", {"x": "y" * (1 << 20)}, 413, "Request larger than allowed: "),
    ("POST", "/actions/nothing?blocking=true", {}, 404, MISSING),
    ("POST", "/api/v1/namespaces/nobody/actions/x", {}, 403, NOBODY),
    # packages
    ("GET", "/packages", None, 200, None),
    ("GET", "/packages/pack", None, 200, {"name": "pack", "binding": {}, "feeds": []}),
    ("GET", "/packages/bound", None, 200, {"binding": {"namespace": "guest", "name": "pack"}}),
    ("GET", "/packages/nothing", None, 404, "The requested resource 'guest/nothing' does not exist."),
    ("PUT", "/packages/pack", {}, 409, EXISTS),
    ("PUT", "/packages/default", {}, 400, "Package name 'default' is reserved."),
    (
        "PUT",
        "/packages/p2",
        {"binding": {"namespace": "_", "name": "nothing"}},
        400,
        "Binding references a package that does not exist.",
    ),
    ("PUT", "/packages/p2", {"binding": {"namespace": "_", "name": "bound"}}, 400, "Cannot bind to another package binding."),
    (
        "PUT",
        "/packages/p2",
        {"binding": {"namespace": "_", "name": "there"}},
        409,
        "Cannot bind to a resource that is not a package.",
    ),
    ("PUT", "/packages/p2", {"binding": {"namespace": "nobody", "name": "x"}}, 403, NOBODY),
    (
        "PUT",
        "/packages/pack?overwrite=true",
        {"binding": {"namespace": "_", "name": "pack"}},
        409,
        "Resource is a package and cannot be converted into a binding.",
    ),
    (
        "DELETE",
        "/packages/pack",
        None,
        409,
        "Package not empty (contains 1 entity). Set force param or delete package contents.",
    ),
    ("DELETE", "/packages/nothing", None, 404, MISSING),
    ("POST", "/packages/pack", {}, 405, "HTTP method not allowed, supported methods: DELETE, GET, PUT"),
    # triggers and rules
    (
        "GET",
        "/triggers/bell",
        None,
        200,
        {
            "name": "bell",
            "limits": {},
            "rules": {"guest/rings": {"action": {"path": "guest", "name": "there"}, "status": "active"}},
        },
    ),
    ("GET", "/triggers/nothing", None, 404, MISSING),
    ("PUT", "/triggers/bell", {}, 409, EXISTS),
    ("PUT", "/triggers/new", {"annotations": [{"key": "feed", "value": 5}]}, 400, "Feed name is not valid"),
    ("POST", "/triggers/bell", {}, 202, None),
    ("POST", "/triggers/nothing", {}, 404, MISSING),
    ("GET", "/rules/rings", None, 200, {"status": "active", "trigger": {"path": "guest", "name": "bell"}}),
    ("GET", "/rules/nothing", None, 404, MISSING),
    ("PUT", "/rules/rings", {"trigger": "/_/bell", "action": "/_/there"}, 409, EXISTS),
    ("POST", "/rules/rings", {"status": "active"}, 200, None),
    ("POST", "/rules/rings", {"status": "asleep"}, 400, MALFORMED),
    # activations
    ("GET", "/activations", None, 200, None),
    ("GET", "/activations?docs=true&limit=1", None, 200, None),
    ("GET", "/activations?docs=true&count=true", None, 400, "The parameter 'docs' is not permitted with 'count'."),
    ("GET", "/activations?name=a/b/c", None, 400, "Parameter may be a 'simple' name or 'package-name/simple' name: a/b/c"),
    ("GET", "/activations?since=x", None, 400, "Parameter is not a valid value for epoch seconds: x"),
    ("GET", f"/activations/{ID}", None, 404, MISSING),
    ("GET", f"/activations/{ID}/logs", None, 404, MISSING),
    ("GET", "/activations/abc", None, 400, "Activation id length is 3 but must be 32."),
    ("GET", "/activations/" + "x" * 32, None, 400, "The activation id is not valid."),
    ("DELETE", f"/activations/{ID}", None, 405, "HTTP method not allowed, supported methods: GET"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "told"), TABLE, ids=lambda value: str(value)[:60])
async def test_route(ow: Whisk, method: str, path: str, body: Any, status: int, told: Any) -> None:
    url = path if path.startswith("/api/") or path == "/" else f"/api/v1/namespaces/_{path}"
    content = {"content": body, "headers": {"content-type": "application/json"}} if isinstance(body, bytes) else {"json": body}
    answer = await ow.http.request(method, url, **(content if body is not None else {}))
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"]
    assert answer.headers["access-control-allow-origin"] == "*"
    if isinstance(told, str):
        assert told in answer.json()["error"]
        assert answer.json()["code"] == answer.headers["x-request-id"] or answer.json()["code"]
    elif told is not None:
        assert {key: answer.json().get(key) for key in told} == told


async def test_a_request_may_bring_its_own_id(ow: Whisk) -> None:
    mine = await ow.http.get("/api/v1/namespaces/_/actions/nothing", headers={"x-request-id": "mine"})
    assert (mine.json()["code"], mine.headers["x-request-id"]) == ("mine", "mine")
    system = await ow.http.get("/api/v1", headers={"x-request-id": "sid_unknown"})
    assert system.headers["x-request-id"] != "sid_unknown"


async def test_arrays_go_in_and_come_out(ow: Whisk) -> None:
    await ow.action("array", "def main(args):\n    return list(reversed(args))\n")
    assert (await ow.invoke("array", [1, 2, 3])).json() == [3, 2, 1]
