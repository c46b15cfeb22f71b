"""The hook is enough: a made-up dialect, mounted in three ways, on the same hot path as native calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from dayfly.dialects.hook import Mount
from tests.support.echo_dialect import ECHO
from tests.support.signed_dialect import signature, signed
from tests.support.site import Site, running

pytestmark = pytest.mark.anyio

SOURCE = """
def handler(event, context):
    if event == "raise":
        raise ValueError("no")
    return [context.function, event]
"""


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Site]:
    mounts = (
        Mount(dialect=ECHO, prefix="/echo"),
        Mount(dialect=ECHO, hosts=("echo.localhost", "*.echo.test")),
        Mount(dialect=ECHO, listener="echo"),
    )
    async with running(tmp_path_factory.mktemp("d"), mounts, listeners={"echo": 0}) as made:
        response = await made.http.put("/echo/functions/Greet", content=SOURCE)
        assert (response.status_code, response.text) == (201, "1")
        yield made


async def test_sync_calls_through_prefix_host_and_listener(site: Site) -> None:
    own = f"http://127.0.0.1:{site.server.listeners['echo'].port}"
    for url, host in [
        ("/echo/call/Greet", "127.0.0.1"),
        ("/call/Greet", "echo.localhost"),
        ("/call/Greet", "a.echo.test:8000"),
        (own + "/call/Greet", "127.0.0.1"),
    ]:
        response = await site.http.post(url, content=b'{"a":1}', headers={"host": host})
        assert (response.status_code, response.text) == (200, '<<["Greet",{"a":1}]>>'), url
        assert len(response.headers["x-id"]) == 32
    assert (await site.http.post("/call/Greet", content=b"1")).status_code == 404, "not on the main host without the prefix"


async def test_async_calls_and_function_errors_in_its_own_words(site: Site) -> None:
    later = await site.http.post("/echo/call/Greet", content=b'"x"', headers={"x-mode": "later"})
    assert (later.status_code, later.text) == (207, "<<later>>")
    record = await site.record(later.headers["x-id"])
    assert (record["status"], record["mode"], record["function"]) == ("ok", "async", "Greet")
    large = json.dumps("x" * 100)
    assert (await site.http.post("/echo/call/Greet", content=large)).status_code == 200, (
        "the limit is that of asynchronous calls"
    )
    refused = await site.http.post("/echo/call/Greet", content=large, headers={"x-mode": "later"})
    assert refused.status_code == 433, refused.text  # 413 in this dialect
    raised = await site.http.post("/echo/call/Greet", content=b'"raise"')
    assert (raised.status_code, raised.text) == (250, "<<!ValueError>>")


async def test_platform_errors_on_both_lanes_go_through_its_faults(site: Site) -> None:
    missing = await site.http.post("/echo/call/Nobody", content=b"{}")
    assert (missing.status_code, missing.text.split(":")[:2]) == (424, ["E", "NotFound"])
    wide = await site.http.get("/echo/functions/Nobody")
    assert (wide.status_code, wide.text.split(":")[:2]) == (424, ["E", "NotFound"])
    large = await site.http.post("/echo/call/Greet", content=b"1" * 1001)
    assert large.text.startswith("E:TooLarge:"), "its profile's payload limit counts"
    name = await site.http.put("/echo/functions/lower", content=SOURCE)
    assert name.text.startswith("E:NameInvalid:"), "its profile's naming rule counts"
    method = await site.http.delete("/echo/functions/Greet")
    assert (method.status_code, method.text.split(":")[:2]) == (425, ["E", "WrongMethod"])


async def test_pages_call_its_functions_and_manage_nothing(site: Site) -> None:
    page = {"origin": site.url, "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}
    assert (await site.http.post("/echo/call/Greet", content=b"1", headers=page)).status_code == 200
    for method in ("GET", "PUT"):
        refused = await site.http.request(method, "/echo/functions/Greet", content=SOURCE, headers=page)
        assert (refused.status_code, refused.text.split(":")[:2]) == (423, ["E", "Forbidden"])
    assert (await site.http.get("/echo/functions/Greet")).headers["content-security-policy"] == "sandbox"


async def test_a_function_of_one_dialect_is_visible_and_callable_through_the_others(site: Site) -> None:
    assert (await site.call("Greet", "hi")).json() == ["Greet", "hi"]
    functions = await site.api("GET", "/functions")
    assert [(f["name"], f["profile"]) for f in functions["items"]] == [("Greet", "echo")]
    revisions = await site.api("GET", "/functions/Greet/revisions")
    assert revisions["items"][0]["config"]["timeout_s"] == 3.0
    await site.deploy("native", "def handler(event, context):\n    return 'n'\n")
    assert (await site.http.post("/echo/call/native", content=b"{}")).text == "<<n>>"


async def test_its_calls_are_counted_like_all_others(site: Site) -> None:
    before = (await site.api("GET", "/usage", params={"function": "Greet"}))["requests"]
    async with httpx2.AsyncClient() as http:
        await http.post(f"{site.url}/echo/call/Greet", content=b"1")
    assert (await site.api("GET", "/usage", params={"function": "Greet"}))["requests"] == before + 1


TOKEN = "dft_" + "s" * 43


async def test_a_dialect_that_signs_keeps_notes_and_looks_them_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("signed")
    own = {"authorization": f"Bearer {TOKEN}"}
    async with running(data, (lambda view: Mount(dialect=signed(view), prefix="/signed"),), token=TOKEN) as site:
        put = {"code": {"files": {"handler.py": "def handler(event, context):\n    return event\n"}}}
        assert (await site.http.put("/v1/namespaces/default/functions/f", json=put, headers=own)).status_code == 201

        async def ask(method: str, path: str, body: bytes, secret: str = TOKEN) -> tuple[int, str]:
            headers = {"x-key": "dayfly", "x-sign": signature(secret, body)}
            response = await site.http.request(method, path, content=body, headers=headers)
            return response.status_code, response.text

        assert await ask("POST", "/signed/f", b"1") == (200, "-:1")
        assert await ask("PUT", "/signed/notes/f", b"hm") == (201, "1 owner")
        assert await ask("PUT", "/signed/notes/f", b"aha") == (201, "2 owner")
        assert await ask("POST", "/signed/f", b"1") == (200, "aha:1")
        for method, path in (("POST", "/signed/f"), ("PUT", "/signed/notes/f")):
            assert (await ask(method, path, b"1", secret="wrong"))[0] == 401
            assert (await site.http.request(method, path, content=b"1")).status_code == 401, "no signature, no token"
        assert (await ask("PUT", "/signed/notes/nobody", b"x"))[0] == 404
        assert (await site.http.post("/signed/f", content=b"2", headers=own)).text == "aha:2", "the gate decides without one"
    async with running(data, (lambda view: Mount(dialect=signed(view), prefix="/signed"),)) as site:
        assert (await site.http.post("/signed/f", content=b"1")).text == "aha:1", "documents outlive the server; no login asked"
