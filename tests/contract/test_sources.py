"""One suite over all sources that read from another server: each against the real one, started here."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.servers import Foreign, KafkaServer, Mosquitto, NatsServer, PostgresServer, RedisServer, texts
from tests.support.sources import Sourced

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[RedisServer, NatsServer, Mosquitto, PostgresServer, KafkaServer], ids=lambda server: server.kind)
async def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Foreign]:
    server: Foreign = request.param(tmp_path)
    await server.start()
    try:
        await server.prepare()
        yield server
    finally:
        await server.stop()
        server.clean()


async def arrived(world: Sourced, count: int) -> list[str]:
    """What is on disk, once there are so many different ones."""
    while len(set(found := await texts(world))) < count:
        await asyncio.sleep(0.02)
    return found


async def test_what_is_put_in_there_arrives_here_once_and_in_order(foreign: Foreign) -> None:
    async with Sourced() as world:
        await world.trigger(foreign.kind, **foreign.settings())
        await world.running()
        sent = [str(number) for number in range(30)]
        await foreign.put(sent)
        assert await arrived(world, 30) == sent
        await world.until(lambda: len(world.calls) == 30)
        event = world.events[0]
        assert event.source == "/namespaces/default/triggers/t"
        assert event.data == b'{"text":"0"}'


async def test_it_waits_there_while_the_trigger_is_paused_or_no_server_runs(foreign: Foreign, tmp_path: Path) -> None:
    async with Sourced(tmp_path / "db") as world:
        await world.trigger(foreign.kind, **foreign.settings())
        await world.running()
        await foreign.put(["first"])
        await arrived(world, 1)
    await foreign.put(["second"])
    async with Sourced(tmp_path / "db") as world:
        await world.running()
        assert await arrived(world, 2) == ["first", "second"]


async def test_it_fails_visibly_while_the_other_server_is_away_and_goes_on_afterwards(foreign: Foreign) -> None:
    async with Sourced() as world:
        await world.trigger(foreign.kind, **foreign.settings())
        await world.running()
        await foreign.put(["before"])
        await arrived(world, 1)
        await foreign.stop()
        await world.until(lambda: (health := world.runner.health("default", "t")) and health.state == "failing")
        health = world.runner.health("default", "t")
        assert health is not None
        assert health.error
        assert health.failures >= 1
        await foreign.start()
        await world.running()
        await foreign.put(["after"])
        assert set(await arrived(world, 2)) == {"before", "after"}


async def test_nothing_is_lost_when_this_server_is_killed(foreign: Foreign, tmp_path: Path) -> None:
    """Given a server that reads, when it is killed again and again in the middle, then everything arrives, most of it once."""
    async with Sourced(tmp_path / "db") as world:
        await world.trigger(foreign.kind, **foreign.settings())
        await world.running()
    chance = random.Random(7)
    sent: list[str] = []
    for _ in range(3):
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.source_victim", str(tmp_path / "db"), stdout=asyncio.subprocess.PIPE
        )
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"running\n"
        batch = [f"{len(sent) + number}" for number in range(60)]
        sent += batch
        putting = asyncio.ensure_future(foreign.put(batch))
        await asyncio.sleep(chance.random() * 0.1)
        victim.kill()
        await victim.wait()
        await putting
    async with Sourced(tmp_path / "db") as world:
        await world.running()
        found = await arrived(world, len(sent))
        assert set(found) == set(sent)
        assert len(found) <= len(sent) + 3 * 100, "only what was under way at a kill comes twice"


async def test_postgres_tells_who_listens(tmp_path: Path) -> None:
    """Given a trigger that listens, when it is notified, then each notification is an event; what nobody heard is gone, as is
    PostgreSQL's way."""
    server = PostgresServer(tmp_path)
    await server.start()
    try:
        async with Sourced() as world, await server.client() as client:
            settings = {"mode": "listen", "dsn": server.dsn, "channel": "orders"}
            await world.trigger("postgres", **settings)
            await world.running()
            for number in range(20):
                await client.execute("SELECT pg_notify('orders', %s)", [f'{{"text": "{number}"}}'])
            await client.execute("NOTIFY others, 'not for us'")
            await client.execute("NOTIFY orders")
            await world.until(lambda: len(world.calls) == 21)
            assert await texts(world) == [str(number) for number in range(20)]
            events = await world.accepted()
            assert {(event.type, event.subject) for event in events} == {("dayfly.postgres.notification", "orders")}
            assert events[-1].data is None
            assert len({event.id for event in events}) == 21

            others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            await client.execute(f"SELECT pg_terminate_backend(pid) {others}")
            await world.until(lambda: (health := world.runner.health("default", "t")) and health.state == "failing")
            await client.execute("SELECT pg_notify('orders', 'unheard')")
            await world.running()
            await client.execute("SELECT pg_notify('orders', 'heard')")
            await world.until(lambda: len(world.calls) == 22)
            assert (await world.accepted())[-1].data == b"heard"
    finally:
        await server.stop()
        server.clean()


async def test_a_timer_fires_each_moment_once_although_this_server_is_killed(tmp_path: Path) -> None:
    async with Sourced(tmp_path / "db") as world:
        await world.trigger("timer", schedule="* * * * * *", missed="all")
        await world.running()
    for _ in range(3):
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.source_victim", str(tmp_path / "db"), stdout=asyncio.subprocess.PIPE
        )
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"running\n"
        await asyncio.sleep(0.9)
        victim.kill()
        await victim.wait()
    async with Sourced(tmp_path / "db") as world:
        await world.running()
        events = await world.accepted()
        while len(events) < 4:
            await asyncio.sleep(0.05)
            events = await world.accepted()
        moments = [datetime.fromisoformat(event.time).timestamp() for event in events]
        assert moments == [moments[0] + number for number in range(len(moments))], "none lost, none twice"


async def test_a_message_that_cannot_be_an_event_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    try:
        async with Sourced() as world:
            await world.trigger("redis", **server.settings())
            await world.running()
            await server.put(["before", "x" * (5 << 20), "after"])
            await world.until(lambda: len(world.calls) == 3)
            events = await world.accepted()
            assert [event.type for event in events] == ["dayfly.redis.entry", "dayfly.source.refused", "dayfly.redis.entry"]
            assert b"larger than" in (events[1].data or b"")
            while await server.unread():
                await asyncio.sleep(0.02)
    finally:
        await server.stop()
