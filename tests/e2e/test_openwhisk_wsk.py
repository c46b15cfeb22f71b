"""`wsk` and `wskdeploy` themselves, as `scripts/install.sh` builds them where there is Go: what they print and how they end.

`wsk` ends with the status of a refusal less 256: 144 is 400, 147 is 403, 148 is 404, 153 is 409, 246 is 502.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.support.whisk import PYTHON, Whisk, whisk

pytestmark = pytest.mark.anyio
WSK = Path(__file__).parent.parent / "clients" / "openwhisk" / "bin" / "wsk"
WEB = "function main(args) { return { body: `${args.name} ${args.__ow_path}` } }\n"
FAILS = "def main(args):\n    return {'error': 'out of ink'}\n"
MANIFEST = """
packages:
  shop:
    actions:
      greet: {function: greet.py, version: "1.0", inputs: {name: Ada}}
    sequences:
      both: {actions: "greet, greet"}
    triggers:
      sale: {inputs: {name: Bob}}
    rules:
      on-sale: {trigger: sale, action: both}
"""


class Wsk:
    def __init__(self, ow: Whisk, folder: Path) -> None:
        self._folder = folder
        self._env = os.environ | {"WSK_CONFIG_FILE": str(folder / "wskprops"), "HOME": str(folder)}
        (folder / "wskprops").write_text(f"APIHOST={ow.url}\nAUTH={GUEST_KEY}\n")
        for name, text in (("greet.py", PYTHON), ("web.js", WEB), ("fails.py", FAILS), ("manifest.yaml", MANIFEST)):
            (folder / name).write_text(text)

    async def __call__(self, *arguments: str, code: int = 0, tool: Path = WSK) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [tool, *arguments],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode == code, told
        return told


@pytest.fixture(scope="module")
async def wsk(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Wsk]:
    if not WSK.is_file():
        pytest.skip("needs wsk (scripts/install.sh with Go)")
    async with whisk(tmp_path_factory.mktemp("d")) as made:
        yield Wsk(made, tmp_path_factory.mktemp("w"))


async def test_an_action_from_create_to_delete(wsk: Wsk) -> None:
    assert "whisk namespace\t\tguest" in await wsk("property", "get")
    assert "ok: created action hello" in await wsk("action", "create", "hello", "greet.py")
    assert "resource already exists" in await wsk("action", "create", "hello", "greet.py", code=153)
    assert "ok: updated action hello" in await wsk("action", "update", "hello", "-p", "name", "Bob", "-a", "description", "d")
    assert "action /guest/hello: d\n   (parameters: *name)" in await wsk("action", "get", "hello", "--summary")
    called = await wsk("action", "invoke", "hello", "-b")
    assert re.search(r"ok: invoked /_/hello with id [0-9a-f]{32}\n", called)
    assert '"greeting": "Hello Ada"' in await wsk("action", "invoke", "hello", "-r", "-p", "name", "Ada")
    assert re.search(
        r" python:3\S* (cold|warm) +\d+m?s +success guest/hello:0\.0\.2\n", await wsk("activation", "list", "hello")
    )
    assert await wsk("activation", "logs", "--last", "--strip") == "hello Ada\n"
    assert "does not exist" in await wsk("action", "invoke", "nothing", code=148)
    assert "not authorized to access 'somebody/x'" in await wsk("action", "create", "/somebody/x", "greet.py", code=147)
    assert "contains illegal characters" in await wsk("action", "create", "x$", "greet.py", code=144)
    await wsk("action", "create", "fails", "fails.py")
    assert '"error": "out of ink"' in await wsk("action", "invoke", "fails", "-r", code=246)
    assert "ok: saved action code to" in await wsk("action", "get", "hello", "--save-as", "kept.py")
    assert "ok: deleted action hello" in await wsk("action", "delete", "hello")


async def test_triggers_rules_and_alarms(wsk: Wsk) -> None:
    await wsk("action", "create", "rung", "greet.py")
    assert "ok: created trigger bell" in await wsk("trigger", "create", "bell", "-p", "name", "Eve")
    assert "ok: created rule ring" in await wsk("rule", "create", "ring", "bell", "rung")
    assert "ok: triggered /_/bell with id" in await wsk("trigger", "fire", "bell", "-p", "x", "1")
    assert r"\"rule\":\"guest/ring\",\"action\":\"guest/rung\"" in await wsk("activation", "get", "--last")
    await wsk("rule", "disable", "ring")
    assert "ok: rule ring is inactive" in await wsk("rule", "status", "ring")
    feed = ("--feed", "/whisk.system/alarms/alarm", "-p", "cron")
    refused = await wsk("trigger", "create", "clock", *feed, "nonsense", code=246)
    assert "ok: deleted trigger clock" in refused, "wsk undoes what it made for a feed that does not want it"
    assert "ok: created trigger clock" in await wsk("trigger", "create", "clock", *feed, "0 0 1 1 *")
    assert '"cron": "0 0 1 1 *"' in await wsk("trigger", "get", "clock")
    assert "ok: deleted trigger clock" in await wsk("trigger", "delete", "clock")
    assert "package /whisk.system/utils" in await wsk("package", "get", "/whisk.system/utils", "--summary")


async def test_apis(wsk: Wsk) -> None:
    await wsk("action", "create", "page", "web.js", "--web", "true")
    made = await wsk("api", "create", "/club", "/books/{isbn}", "get", "page", "--response-type", "http")
    assert "ok: created API /club/books/{isbn} GET for action /_/page" in made
    assert re.search(r"/guest/default/page +get +/club  http\S+/api/guest/club/books/\{isbn\}", await wsk("api", "list"))
    assert re.search(r'"target-url": "\S+/page\.http\$\(request\.path\)"', await wsk("api", "get", "/club"))
    assert "ok: deleted API /club" in await wsk("api", "delete", "/club")
    assert "API '/club' does not exist" in await wsk("api", "delete", "/club", code=1)


async def test_wskdeploy_deploys_and_takes_back(wsk: Wsk) -> None:
    tool = WSK.with_name("wskdeploy")
    await wsk("-m", "manifest.yaml", tool=tool)
    assert '"greeting": "Hello Ada"' in await wsk("action", "invoke", "shop/greet", "-r")
    assert '"version": "1.0.0"' in await wsk("action", "get", "shop/greet")
    assert re.search(r"/guest/on-sale +private +active", await wsk("rule", "list"))
    await wsk("undeploy", "-m", "manifest.yaml", tool=tool)
    assert "on-sale" not in await wsk("list")
