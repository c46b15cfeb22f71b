"""Each resource: what a request asks of the core, and how the outcome is shown."""

from __future__ import annotations

import pytest

from dayfly import actions as a
from dayfly.model.call import Result, Status
from dayfly.model.function import Target
from tests.support.api_client import CODE, HELLO, ID, NS, Client
from tests.support.fake_platform import NOW

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> Client:
    return Client()


async def test_deploying_tells_whether_there_is_a_new_revision(api):
    first = await api.deploy(memory_mb=128)
    assert (first.status_code, first.json()["created"]) == (201, True)
    again = await api.deploy(memory_mb=128)
    assert (again.status_code, again.json()["created"]) == (200, False)
    changed = await api.deploy(memory_mb=256)
    assert (changed.status_code, changed.json()["revision"]["number"]) == (201, 2)


async def test_everything_said_about_a_function_reaches_the_core(api):
    config = {"handler": "app.main", "env": {"A": "1"}, "timeout_s": 2.5, "max_instances": 7}
    body = {"code": {"package": "ab" * 32}, "config": config, "labels": {"team": "x"}, "publish": False}
    await api("PUT", HELLO, json=body)
    action = api.platform.last
    assert isinstance(action, a.PutFunction)
    assert (action.namespace, action.name, action.publish, action.profile) == ("default", "hello", False, "native")
    assert action.code == a.Code(package="ab" * 32)
    assert action.labels == {"team": "x"}
    assert (action.config.handler, action.config.timeout_s, action.config.max_instances) == ("app.main", 2.5, 7)


async def test_a_function_is_shown_listed_and_deleted(api):
    for name in ("b", "a", "c", "other"):
        await api("PUT", f"{NS}/functions/{name}", json=CODE)
    assert (await api("GET", f"{NS}/functions/a")).json()["name"] == "a"
    page = (await api("GET", f"{NS}/functions?limit=2")).json()
    assert [item["name"] for item in page["items"]] == ["a", "b"]
    rest = (await api("GET", f"{NS}/functions", params={"cursor": page["cursor"]})).json()
    assert [item["name"] for item in rest["items"]] == ["c", "other"]
    assert rest["cursor"] == ""
    assert [item["name"] for item in (await api("GET", f"{NS}/functions?prefix=o")).json()["items"]] == ["other"]
    gone = await api("DELETE", f"{NS}/functions/a")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await api("GET", f"{NS}/functions/a")).status_code == 404


async def test_environment_is_shown_and_secrets_only_by_name(api):
    await api.deploy(env={"COLOUR": "blue"}, secrets={"KEY": "api-key"})
    config = (await api("GET", f"{HELLO}/revisions/1")).json()["config"]
    assert (config["env"], config["secrets"]) == ({"COLOUR": "blue"}, {"KEY": "api-key"})


async def test_revisions(api):
    await api.deploy(memory_mb=128)
    await api.deploy(memory_mb=256)
    items = (await api("GET", f"{HELLO}/revisions")).json()["items"]
    assert [(item["number"], item["config"]["memory_mb"]) for item in items] == [(2, 256), (1, 128)]
    assert (await api("GET", f"{HELLO}/revisions/3")).status_code == 404


async def test_traffic_rollback_and_recycle(api):
    await api.deploy(memory_mb=128)
    await api.deploy(memory_mb=256)
    targets = [{"revision": 1, "weight": 1}, {"revision": 2, "weight": 3.5, "tag": "next"}]
    split = await api("PUT", f"{HELLO}/traffic", json={"targets": targets})
    assert split.json()["traffic"] == [{"revision": 1, "weight": 1.0, "tag": ""}, targets[1]]
    assert api.platform.last == a.SetTraffic(name="hello", traffic=(Target(1, 1.0), Target(2, 3.5, "next")))
    await api("POST", f"{HELLO}/rollback", json={"revision": 2})
    assert api.platform.last == a.Rollback(name="hello", revision=2)
    assert (await api("POST", f"{HELLO}/recycle")).json() == {"retired": 3}


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [{"revision": 0}],
        [{"revision": 1, "weight": 0}],
        [{"revision": 1, "weight": -1}],
        [{"revision": 1, "share": 1}],
        [{"revision": 1, "tag": "1"}],
        [{"revision": 1}] * 101,
        "1",
    ],
)
async def test_traffic_that_makes_no_sense(api, targets):
    await api.deploy()
    for path in (f"{HELLO}/traffic", f"{HELLO}/aliases/live"):
        assert (await api("PUT", path, json={"targets": targets})).status_code == 400


async def test_aliases(api):
    await api.deploy()
    await api("PUT", f"{HELLO}/aliases/live", json={"targets": [{"revision": 1}]})
    assert api.platform.last == a.PutAlias(name="hello", alias="live", traffic=(Target(1),))
    assert (await api("GET", f"{HELLO}/aliases")).json() == {"items": {"live": [{"revision": 1, "weight": 1.0, "tag": ""}]}}
    assert (await api("DELETE", f"{HELLO}/aliases/live")).json()["aliases"] == {}
    assert (await api("DELETE", f"{HELLO}/aliases/live")).status_code == 404


async def test_packages_are_stored_once(api):
    headers = {"content-type": "application/octet-stream"}
    first = await api("POST", f"{NS}/packages?filename=app.py", content=b"code", headers=headers)
    assert first.status_code == 201
    assert first.json()["size"] == 4
    assert api.platform.last == a.PutPackage(data=b"code", filename="app.py")
    empty = await api("POST", f"{NS}/packages", content=b"", headers=headers)
    assert (empty.status_code, empty.json()["detail"]) == (400, "The body is empty.")


@pytest.mark.parametrize("filename", ["../x.py", "a/b.py", "a%00.py", ".hidden", "", "a" * 200])
async def test_a_filename_is_only_a_name(api, filename):
    headers = {"content-type": "application/octet-stream"}
    assert (await api("POST", f"{NS}/packages?filename={filename}", content=b"x", headers=headers)).status_code == 400


async def test_namespaces(api):
    assert (await api("PUT", "/v1/namespaces/team-a")).json() == {"name": "team-a", "created": NOW}
    assert (await api("GET", "/v1/namespaces/team-a")).json() == {"name": "team-a", "created": NOW}
    missing = await api("GET", "/v1/namespaces/team-b")
    assert (missing.status_code, missing.json()["hint"]) == (404, "PUT /v1/namespaces/team-b creates it.")
    names = [item["name"] for item in (await api("GET", "/v1/namespaces")).json()["items"]]
    assert names == ["default", "team-a"]
    assert (await api("DELETE", "/v1/namespaces/team-a")).status_code == 204
    assert (await api("GET", "/v1/namespaces/team-a/functions")).status_code == 404
    await api.deploy()
    assert (await api("DELETE", NS)).status_code == 409


async def test_secret_values_go_in_and_never_come_out(api):
    put = await api("PUT", f"{NS}/secrets/api-key", json={"value": "hunter2"})
    assert api.platform.last == a.PutSecret(name="api-key", value="hunter2")
    listed = await api("GET", f"{NS}/secrets")
    assert [item["name"] for item in listed.json()["items"]] == ["api-key"]
    assert "hunter2" not in put.text + listed.text
    assert (await api("GET", f"{NS}/secrets/api-key")).status_code == 405
    assert (await api("DELETE", f"{NS}/secrets/api-key")).status_code == 204


async def test_a_refused_secret_is_not_repeated_in_the_problem(api):
    response = await api("PUT", f"{NS}/secrets/api-key", json={"value": "hunter2", "extra": 1})
    assert response.status_code == 400
    assert "hunter2" not in response.text


async def test_invocations_are_listed_by_what_they_are(api):
    api.platform.record(ID)
    response = await api(
        "GET", f"{NS}/invocations?function=hello&status=timed-out&since=1h30m&until=2023-11-14T22:00:00Z&limit=5"
    )
    assert response.json()["items"][0]["id"] == ID
    assert api.platform.last == a.ListInvocations(
        function="hello", status=Status.TIMED_OUT, since=NOW - 5400, until=1_699_999_200.0, limit=5
    )
    assert (await api("GET", f"{NS}/invocations/{ID}")).json()["billed_ms"] == 250


async def test_cancelling(api):
    api.platform.record(ID, Status.RUNNING)
    assert (await api("DELETE", f"{NS}/invocations/{ID}")).json()["status"] == "cancelled"
    api.platform.record(ID, Status.OK)
    assert (await api("DELETE", f"{NS}/invocations/{ID}")).status_code == 409


async def test_a_kept_answer_is_wrapped_so_that_it_cannot_act_as_a_page(api):
    api.platform.record(ID)
    html = Result(invocation=ID, status=201, headers=(("content-type", "text/html"),), body=b"<script>alert(1)</script>")
    api.platform.results[ID] = html
    response = await api("GET", f"{NS}/invocations/{ID}/result")
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert (answer["status"], answer["body"], answer["encoding"]) == (201, "<script>alert(1)</script>", "utf-8")
    assert answer["headers"] == [["content-type", "text/html"]]


async def test_a_binary_answer_comes_as_base64(api):
    api.platform.record(ID, body=b"\xff\x00")
    answer = (await api("GET", f"{NS}/invocations/{ID}/result")).json()
    assert (answer["body"], answer["encoding"]) == ("/wA=", "base64")


async def test_usage_and_instances(api):
    assert (await api("GET", f"{NS}/usage?function=hello&since=1d")).json()["requests"] == 2
    assert api.platform.last == a.GetUsage(function="hello", since=NOW - 86400)
    assert (await api("GET", f"{NS}/instances?function=hello")).json()["items"][0]["state"] == "idle"
    assert api.platform.last == a.ListInstances(function="hello")


async def test_the_entrance_leads_everywhere(api):
    entrance = (await api("GET", "/v1")).json()
    for link in entrance["links"].values():
        assert (await api("GET", link)).status_code == 200


async def test_the_entrance_says_what_can_run_here():
    entrance = (await Client(runtimes=("python3.11", "nodejs"))("GET", "/v1")).json()
    assert entrance["runtimes"] == ["python3.11", "nodejs"]


async def test_metrics_are_prometheus_text(api):
    response = await api("GET", "/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.text == "up 1\n"


async def test_health_says_when_the_server_stops():
    assert (await Client()("GET", "/healthz")).json() == {"status": "ok"}
    stopping = await Client(healthy=lambda: False)("GET", "/healthz")
    assert (stopping.status_code, stopping.json()) == (503, {"status": "stopping"})


async def test_the_reference_loads_nothing_and_runs_nothing(api):
    page = await api("GET", "/v1/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for forbidden in ("<script", "src=", "http://", "https://", "javascript:"):
        assert forbidden not in page.text
    assert "/v1/namespaces/{namespace}/functions/{name}/traffic" in page.text
    assert "Split the calls over revisions" in page.text


async def test_answers_are_not_kept_or_sniffed(api):
    headers = (await api("GET", "/v1")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
