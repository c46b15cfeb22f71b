"""Bad input of every kind: a clear error for the one who caused it, and a neighbour that notices nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.neighbour import SOURCE as NEIGHBOUR
from tests.support.neighbour import neighbour
from tests.support.site import Site

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["a/b", "a..b", "Über", "x" * 300, "-a", "a%00b", "%2e%2e", "a b"])
async def test_names_that_are_none(site: Site, name: str) -> None:
    response = await site.http.put(
        f"/v1/namespaces/default/functions/{name}", json={"code": {"files": {"handler.py": NEIGHBOUR}}}
    )
    assert response.status_code in (400, 404, 405), (name, response.text)
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"code": {"files": {"handler.py": "x"}}, "config": {"memory_mb": "much"}}, "memory_mb"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"memory_mb": -1}}, "memory_mb"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"memmory_mb": 128}}, "memmory_mb"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"timeout_s": 1e300}}, "timeout"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"min_instances": 5, "max_instances": 2}}, "min_instances"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"runtime": "cobol"}}, "cobol"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"env": {"DAYFLY_X": "1"}}}, "DAYFLY_X"),
        ({"code": {"files": {"handler.py": "x"}}, "config": {"env": {"A=B": "1"}}}, "env"),
        ({"code": {"files": {"../evil.py": "x"}}}, "evil"),
        ({"code": {"files": {"/etc/passwd": "x"}}}, "passwd"),
        ({"code": {"files": {}}}, "code"),
        ({"code": {"package": "0" * 64}}, "package"),
        ({"code": {"package": "../../etc"}}, "package"),
        ({}, "code"),
        ([], "object"),
    ],
)
async def test_wrong_requests_name_the_field(site: Site, body: Any, words: str) -> None:
    response = await site.http.put("/v1/namespaces/default/functions/wrong", json=body)
    assert response.status_code in (400, 404, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert words in response.text
    assert (await site.http.get("/v1/namespaces/default/functions/wrong")).status_code == 404


HOSTILE = {
    "exits": ("import os\ndef handler(e, c):\n    os._exit(3)\n", 502, "exit status 3"),
    "sys_exit": ("import sys\ndef handler(e, c):\n    sys.exit(3)\n", (500, 502), "3"),
    "kills_itself": (
        "import os, signal\ndef handler(e, c):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    import ctypes\n    ctypes.string_at(0)\n",
        502,
        "SIG",
    ),
    "returns_a_set": ("def handler(e, c):\n    return {'a': [1, {2}]}\n", 502, "set"),
    "returns_itself": ("def handler(e, c):\n    x = []\n    x.append(x)\n    return x\n", 502, ""),
    "returns_nan": ("def handler(e, c):\n    return float('nan')\n", 502, "nan"),
    "raises_base": ("class E(BaseException): pass\ndef handler(e, c):\n    raise E('x')\n", 500, "E"),
    "recurses": ("def handler(e, c):\n    return handler(e, c)\n", 500, "RecursionError"),
    "bad_header": (
        "def handler(r, c):\n    return {'status': 200, 'headers': {'a': 'b\\r\\nset-cookie: x=1'}, 'body': ''}\n",
        502,
        "",
    ),
    "bad_status": ("def handler(r, c):\n    return {'status': 99, 'body': ''}\n", 502, "99"),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_functions_that_misbehave_harm_only_their_caller(site: Site, kind: str) -> None:
    source, status, words = HOSTILE[kind]
    flavour = "http" if kind.startswith("bad_") else "event"
    name = kind.replace("_", "-")
    await site.deploy(name, source, flavour=flavour, timeout_s=5)
    async with neighbour(site):
        answer = await site.call(name)
    expected = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in expected, answer.text
    assert words.lower() in answer.text.lower()
    assert "dayfly-invocation-id" in answer.headers
    assert "set-cookie" not in answer.headers


async def test_a_leaked_thread_does_not_stop_the_next_calls(site: Site) -> None:
    source = "import threading, time\ndef handler(e, c):\n    threading.Thread(target=lambda: time.sleep(1000)).start()\n    return threading.active_count()\n"
    await site.deploy("leaks", source)
    counts = [(await site.call("leaks")).json() for _ in range(3)]
    assert counts == sorted(counts)


async def test_malformed_json_is_the_callers_error_and_costs_no_start(site: Site) -> None:
    await site.deploy("strict", NEIGHBOUR)
    before = len(await records(site, "strict"))
    for body in (b"{", b"[1,", b"nan", b"\xff", b'{"a":1}}', b"[" * 100_000):
        response = await site.http.post("/fn/default/strict", content=body, headers={"content-type": "application/json"})
        assert (response.status_code, response.headers["dayfly-error"]) == (400, "platform"), body[:20]
    assert len(await records(site, "strict")) == before


async def records(site: Site, function: str) -> list[Any]:
    return list((await site.api("GET", "/invocations", params={"function": function}))["items"])


async def test_five_megabytes_go_through_both_ways(site: Site) -> None:
    await site.deploy("big", "def handler(event, context):\n    return event['x'] * 2\n")
    began = time.monotonic()
    answer = await site.call("big", {"x": "y" * 2_500_000})
    assert answer.text == "y" * 5_000_000
    assert time.monotonic() - began < 60
    assert (await site.call("big", {"x": "y" * 7_000_000})).status_code == 413
