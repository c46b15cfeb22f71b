"""Secrets at rest: encrypted, moved to a new key while the server serves, and never shown."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from dayfly.config import Settings
from dayfly.errors import DayflyError
from dayfly.server import Server
from tests.support.site import ISOLATION, Site, running

pytestmark = pytest.mark.anyio

SOURCE = "import os\n\ndef handler(event, context):\n    return os.environ['PASSWORD']\n"


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def put(site: Site, name: str, value: str) -> None:
    await site.api("PUT", f"/secrets/{name}", json={"value": value})


async def test_a_secret_is_nowhere_in_the_clear_and_reaches_its_function(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    data = tmp_path_factory.mktemp("s")
    async with running(data) as site:
        await put(site, "db", "correct horse battery staple")
        await site.deploy("f", SOURCE, secrets={"PASSWORD": "db"})
        assert (await site.call("f")).text == "correct horse battery staple"
        for path in ("/secrets", "/functions/f", "/functions/f/revisions/1", "/invocations", "/logs"):
            assert "horse" not in (await site.http.get(f"/v1/namespaces/default{path}")).text
        assert b"horse" not in everything(data)
    assert b"horse" not in everything(data)
    assert "horse" not in caplog.text
    async with running(data) as site:
        assert (await site.call("f")).text == "correct horse battery staple"


async def test_the_key_is_changed_while_secrets_are_written_and_none_is_lost(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("r")
    async with running(data) as site:
        for number in range(20):
            await put(site, f"s{number}", f"old {number}")
        pair = (await site.http.post("/v1/namespaces/default/keys", json={"name": "aws", "kind": "pair"})).json()
        token = (await site.http.post("/v1/namespaces/default/tokens", json={"roles": ["viewer"]})).json()["token"]
        before = (data / "key").read_text()
        writes = [put(site, f"s{number}", f"new {number}") for number in range(0, 20, 2)]
        rotated, *_ = await asyncio.gather(site.http.post("/v1/secrets/rotate-key"), *writes)
        assert rotated.status_code == 200, rotated.text
        assert rotated.json()["values"] >= 22  # the pair's and the server's own among them
        after = (data / "key").read_text()
        assert after != before
        assert len(after.split()) == 1
        seen = await site.http.get("/v1/namespaces/default/functions", headers={"authorization": f"Bearer {token}"})
        assert seen.status_code == 200, "tokens that are out stay good"
    async with running(data) as site:
        values = site.server.secrets._secrets["default"]
        assert values == {f"s{number}": f"{'old' if number % 2 else 'new'} {number}" for number in range(20)}
        found = site.server.keyring.secret(pair["key"]["id"])
        assert found is not None
        assert found[0].decode() == pair["secret"]


async def test_a_lost_key_is_said_at_the_start_and_not_in_some_function(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("l")
    async with running(data) as site:
        await put(site, "db", "x")
    (data / "key").unlink()
    server = Server(Settings(data=data, port=0, isolation=ISOLATION))
    with pytest.raises(DayflyError, match="encrypted with a key that is not there"):
        await server.open()
    await server.store.close()
    server._lock.close()


async def test_secrets_of_an_older_version_are_encrypted_at_the_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("o")
    async with running(data) as site:
        await put(site, "db", "some password")
    with sqlite3.connect(data / "dayfly.db") as database:
        database.execute("UPDATE secrets SET value = ?, sealed = 0 WHERE name = 'db'", (b"plain as day",))
    async with running(data) as site:
        assert site.server.secrets._secrets["default"] == {"db": "plain as day"}
    with sqlite3.connect(data / "dayfly.db") as database:
        (value,) = database.execute("SELECT value FROM secrets WHERE name = 'db'").fetchone()
    assert b"plain" not in value


async def test_only_who_owns_everything_changes_the_key(site: Site) -> None:
    made = (await site.http.post("/v1/namespaces/default/keys", json={"name": "x", "roles": ["owner"]})).json()
    answer = await site.http.post("/v1/secrets/rotate-key", headers={"authorization": f"Bearer {made['secret']}"})
    assert answer.status_code == 403
