"""Cases of OpenWhisk's own suites, as data: requests of two tenants, with the status and what the answer must hold.

A case has two namespaces of its own, `{ann}` and `{bob}`; a request is Ann's unless it says otherwise. What an answer must hold:

    a text        stands in the member `error`
    an object     its members have these values; objects in it are compared the same way
    anything else is the whole answer
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx2

from tests.support.whisk import Whisk, basic, whisk

TOKEN = "dft_" + "c" * 40
ARGS = "def main(args):\n    return args\n"


class Ask(NamedTuple):
    method: str
    path: str  # below the caller's namespace; absolute ones begin with /api
    body: Any = None  # JSON, or bytes as they are
    status: int = 200
    told: Any = None
    by: str = "ann"
    headers: Mapping[str, str] = MappingProxyType({})


Case = list[Ask]


def get(path: str, status: int = 200, told: Any = None, **more: Any) -> Ask:
    return Ask("GET", path, None, status, told, **more)


def put(path: str, body: Any = None, status: int = 200, told: Any = None, **more: Any) -> Ask:
    return Ask("PUT", path, {} if body is None else body, status, told, **more)


def post(path: str, body: Any = None, status: int = 200, told: Any = None, **more: Any) -> Ask:
    return Ask("POST", path, body, status, told, **more)


def delete(path: str, status: int = 200, told: Any = None, **more: Any) -> Ask:
    return Ask("DELETE", path, None, status, told, **more)


def code(source: str = ARGS, kind: str = "python:3", **more: Any) -> dict[str, Any]:
    """The body that puts an action."""
    return {"exec": {"kind": kind, "code": source}, **more}


def sequence(*components: str) -> dict[str, Any]:
    return {"exec": {"kind": "sequence", "components": list(components)}}


def pairs(**given: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in given.items()]


def big(what: str) -> dict[str, Any]:
    """Parameters or annotations that are too many."""
    return {what: pairs(a="a" * (1 << 19), b="b" * (1 << 19))}


class Suite:
    """Plays cases on one server that asks for a login."""

    def __init__(self, ow: Whisk) -> None:
        self.ow = ow
        self._numbers = itertools.count()
        self._owner = {"authorization": f"Bearer {TOKEN}"}

    async def tenant(self, name: str) -> dict[str, str]:
        """A new namespace, and the headers that open it."""
        http = self.ow.site.http
        assert (await http.put(f"/v1/namespaces/{name}", headers=self._owner)).status_code in (200, 201)
        body = {"name": name, "kind": "basic", "roles": ["owner"]}
        key = await http.post(f"/v1/namespaces/{name}/keys", json=body, headers=self._owner)
        return basic(key.json()["secret"])

    async def play(self, case: Case) -> None:
        number = next(self._numbers)
        names = {"ann": f"ann{number}", "bob": f"bob{number}"}
        who = {key: await self.tenant(name) for key, name in names.items() if key == "ann" or _needs(case, key)}
        for ask in case:
            answer = await self.ask(ask, names, who)
            where = f"{ask.method} {ask.path} by {ask.by}: {answer.status_code} {answer.text[:2000]}"
            assert answer.status_code == ask.status, where
            if ask.told is not None:
                told = filled(ask.told, names)
                holds(told, answer.json() if answer.content else None, where)

    async def ask(self, ask: Ask, names: dict[str, str], who: dict[str, dict[str, str]]) -> httpx2.Response:
        path = filled(ask.path, names)
        url = path if path.startswith("/api") else f"/api/v1/namespaces/_{path}"
        headers = {**who.get(ask.by, {}), **ask.headers}
        body: dict[str, Any] = {}
        if isinstance(ask.body, bytes):
            body = {"content": ask.body}
            headers = {"content-type": "application/json"} | headers
        elif ask.body is not None:
            body = {"json": filled(ask.body, names)}
        return await self.ow.http.request(ask.method, url, headers=headers, **body)


def _needs(case: Case, name: str) -> bool:
    return any(ask.by == name or f"{{{name}}}" in ask.path + json.dumps(ask.told, default=str) for ask in case)


def filled(value: Any, names: dict[str, str]) -> Any:
    """The same with the names of the namespaces."""
    if isinstance(value, str):
        for key, name in names.items():
            value = value.replace(f"{{{key}}}", name)
        return value
    if isinstance(value, dict):
        return {filled(key, names): filled(item, names) for key, item in value.items()}
    return [filled(item, names) for item in value] if isinstance(value, list) else value


def holds(told: Any, answer: Any, where: str) -> None:
    if isinstance(told, str):
        assert told in answer["error"], where
    elif isinstance(told, dict) and isinstance(answer, dict):
        for key, value in told.items():
            if callable(value):
                assert value(answer.get(key)), f"{key}: {where}"
            elif isinstance(value, dict) and value:
                holds(value, answer.get(key), where)
            else:
                assert key in answer, f"{key}: {where}"
                assert answer[key] == value, f"{key}: {where}"
    elif callable(told):
        assert told(answer), where
    else:
        assert answer == told, where


def names(*expected: str) -> Callable[[Any], bool]:
    """That a list is of entities with these names, in any order."""
    return lambda answer: sorted(entity["name"] for entity in answer) == sorted(expected)


@asynccontextmanager
async def suite(data: Path, **settings: Any) -> AsyncIterator[Suite]:
    async with whisk(data, key="", token=TOKEN, **settings) as made:
        yield Suite(made)
