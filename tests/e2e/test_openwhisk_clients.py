"""OpenWhisk's own clients, unchanged: the `openwhisk` package and the composer. `scripts/install.sh` installs them where there is npm."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.whisk import Whisk, whisk

pytestmark = pytest.mark.anyio
CLIENTS = Path(__file__).parent.parent / "clients" / "openwhisk"


@pytest.fixture(scope="module")
async def ow(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Whisk]:
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "openwhisk").is_dir():
        pytest.skip("needs Node and the packages of tests/clients/openwhisk (scripts/install.sh with npm)")
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        yield made


async def run(ow: Whisk, script: str) -> Any:
    command = ["node", str(CLIENTS / script), ow.url, GUEST_KEY]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_the_javascript_client_finds_everything_where_it_looks(ow: Whisk) -> None:
    seen = await run(ow, "entities.cjs")
    assert seen == {
        "namespaces": ["guest"],
        "result": {"text": "Hello Ada"},
        "default": {"text": "Hello you"},
        "later": {"text": "Hello later"},
        "logs": ["stdout: later"],
        "listed": [True],
        "silent": seen["silent"],
        "rung": {"text": "Hello bell"},
        "sequence": {"text": "Hello you"},
        "conflict": [409, "resource already exists"],
        "failure": [502, "no"],
        "left": [],
    }
    assert not seen["silent"], "204 without a body"


async def test_composed_programs_run_as_they_did(ow: Whisk) -> None:
    probe = await ow(
        "PUT", "/actions/probe", json={"exec": {"kind": "nodejs:20", "code": "require('openwhisk')\nfunction main() {}"}}
    )
    if probe.status_code != 200:
        pytest.skip(f"npm cannot install `openwhisk` for the actions: {probe.json()['error'][:200]}")
    for name, (answer, wanted) in (await run(ow, "composer.cjs")).items():
        assert answer == wanted, name


async def test_an_action_calls_another_with_the_client_it_brings(ow: Whisk) -> None:
    await ow.action("inner", "function main(args) { return { inner: args } }", "nodejs:20")
    code = "const ow = require('openwhisk')\nfunction main(args) { return ow().actions.invoke({ name: 'inner', blocking: true, result: true, params: args }) }"
    made = await ow(
        "PUT",
        "/actions/outer",
        json={"exec": {"kind": "nodejs:20", "code": code}, "annotations": [{"key": "provide-api-key", "value": True}]},
    )
    if made.status_code != 200:
        pytest.skip(f"npm cannot install `openwhisk` for the actions: {made.json()['error'][:200]}")
    if "functions" not in ow.site.server.listeners:
        pytest.skip("functions have no network here (see dayfly doctor)")
    assert await ow.result("outer", {"x": 1}) == {"inner": {"x": 1}}
