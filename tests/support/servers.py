"""Servers of others, started by the tests that need them: on loopback, at a port the kernel gives, with a folder of their own."""

from __future__ import annotations

import asyncio
import base64
import functools
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import Sourced

KAFKA_JARS = Path(__file__).parents[1] / "servers/kafka/jars"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """Where a server's program is; skips the test if there is none."""
    found = shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *glob.glob("/usr/lib/postgresql/*/bin")])
    )
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


class Foreign:
    """A server, and how tests put something into it. `kind` is that of the source that reads from it."""

    kind = ""
    end = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Of a source that reads what `put` writes."""
        raise NotImplementedError

    async def prepare(self) -> None:
        """Make what must be there before a source begins."""

    async def put(self, texts: list[str]) -> None:
        raise NotImplementedError

    async def unread(self) -> int:
        """How many are not acknowledged."""
        raise NotImplementedError

    def clean(self) -> None:
        """Remove what is not in the folder."""

    async def start(self) -> None:
        self.process = await asyncio.to_thread(self._launch)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def _launch(self) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)

    async def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(self.end)
            await asyncio.to_thread(self.process.wait)


class RedisServer(Foreign):
    kind = "redis"

    def command(self) -> list[str]:
        return [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]

    def settings(self) -> dict[str, Any]:
        return {"url": f"redis://127.0.0.1:{self.port}", "stream": "orders", "batch": 7}

    def client(self) -> Any:
        from redis.asyncio import Redis

        return Redis(port=self.port)

    async def put(self, texts: list[str]) -> None:
        async with self.client() as client:
            for text in texts:
                await client.xadd("orders", {"text": text})

    async def unread(self) -> int:
        async with self.client() as client:
            [group] = await client.xinfo_groups("orders")
            return int(group["lag"] or 0) + int(group["pending"])


class NatsServer(Foreign):
    kind = "nats"

    def command(self) -> list[str]:
        return [program("nats-server"), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]

    def settings(self) -> dict[str, Any]:
        return {
            "servers": [f"nats://127.0.0.1:{self.port}"],
            "stream": "ORDERS",
            "subject": "orders.*",
            "batch": 7,
            "ack_wait_s": 1,
        }

    async def client(self) -> Any:
        import nats

        return await nats.connect(f"nats://127.0.0.1:{self.port}")

    async def prepare(self) -> None:
        client = await self.client()
        await client.jetstream().add_stream(name="ORDERS", subjects=["orders.*"])
        await client.close()

    async def put(self, texts: list[str]) -> None:
        client = await self.client()
        for text in texts:
            await client.jetstream().publish("orders.new", f'{{"text":"{text}"}}'.encode())
        await client.close()

    async def unread(self) -> int:
        client = await self.client()
        info = await client.jetstream().consumer_info("ORDERS", "dayfly-default-t")
        await client.close()
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


class Mosquitto(Foreign):
    kind = "mqtt"

    def command(self) -> list[str]:
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 10000",
        ]
        if os.getuid() == 0:
            lines.append("user root")
        config.write_text("\n".join(lines) + "\n")
        return [program("mosquitto"), "-c", str(config)]

    def settings(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "topics": ["orders/#"]}

    async def prepare(self) -> None:
        self.waiting = 0

    async def put(self, texts: list[str]) -> None:
        from paho.mqtt import publish

        messages = [("orders/new", f'{{"text":"{text}"}}', 1, False) for text in texts]
        await asyncio.to_thread(publish.multiple, messages, "127.0.0.1", self.port)


class KafkaServer(Foreign):
    """One broker that is its own controller. `make kafka` gets its jars; DAYFLY_TEST_KAFKA names another folder with some."""

    kind = "kafka"
    end = signal.SIGKILL  # it takes its time to say goodbye

    def command(self) -> list[str]:
        jars = Path(os.environ.get("DAYFLY_TEST_KAFKA", KAFKA_JARS))
        if not jars.is_dir():
            pytest.skip("no Kafka broker at hand: make kafka")
        java = [program("java"), "-Xmx300m", "-cp", f"{jars}/*"]
        config = self.folder / "kafka.properties"
        if not config.exists():
            controller = free_port()
            settings = {
                "process.roles": "broker,controller",
                "node.id": 1,
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
                "controller.listener.names": "CONTROLLER",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "log.dirs": self.folder / "logs",
                "offsets.topic.replication.factor": 1,
                "offsets.topic.num.partitions": 1,
                "group.initial.rebalance.delay.ms": 0,
            }
            config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            identifier = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "A")
            tool = ["kafka.tools.StorageTool", "format", "-t", identifier, "-c", str(config)]
            subprocess.run([*java, *tool], check=True, capture_output=True)
        return [*java, "kafka.Kafka", str(config)]

    def settings(self) -> dict[str, Any]:
        return {"topics": ["orders"], "servers": [f"127.0.0.1:{self.port}"], "batch": 7}

    async def put(self, texts: list[str]) -> None:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{self.port}")
        await producer.start()
        try:
            for text in texts:
                await producer.send_and_wait("orders", f'{{"text":"{text}"}}'.encode(), key=b"k")
        finally:
            await producer.stop()

    async def prepare(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}")
        await admin.start()
        try:
            await admin.create_topics([NewTopic("orders", num_partitions=1, replication_factor=1)])
        finally:
            await admin.close()


class PostgresServer(Foreign):
    kind = "postgres"
    end = signal.SIGINT  # SIGTERM would wait for everybody who is connected

    def _as_postgres(self, *command: str) -> list[str]:
        if os.getuid() != 0:
            return list(command)
        return [program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]

    def command(self) -> list[str]:
        data = self.data
        if not list(data.iterdir()):
            if os.getuid() == 0:
                shutil.chown(data, "postgres", "postgres")
            subprocess.run(
                self._as_postgres(program("initdb"), "-D", str(data), "-A", "trust", "-N", "-U", "postgres"),
                check=True,
                capture_output=True,
                cwd="/",
            )
        options = ["-D", str(data), "-p", str(self.port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"]
        return self._as_postgres(program("postgres"), *options)

    @functools.cached_property
    def data(self) -> Path:
        """Not in the tests' folder, which is for one user alone."""
        return Path(tempfile.mkdtemp(prefix="dayfly-pg-"))

    def clean(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    @functools.cached_property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def settings(self) -> dict[str, Any]:
        return {"mode": "outbox", "dsn": self.dsn, "table": "outbox", "channel": "outbox", "type_column": "kind", "batch": 7}

    async def client(self) -> Any:
        import psycopg

        while True:
            try:
                return await psycopg.AsyncConnection.connect(self.dsn, autocommit=True)
            except psycopg.OperationalError:  # it is starting
                await asyncio.sleep(0.05)

    async def prepare(self) -> None:
        async with await self.client() as client:
            await client.execute("CREATE TABLE outbox (id bigserial PRIMARY KEY, kind text, payload jsonb)")

    async def put(self, texts: list[str]) -> None:
        from psycopg.types.json import Jsonb

        async with await self.client() as client:
            for text in texts:
                await client.execute("INSERT INTO outbox (kind, payload) VALUES ('order.placed', %s)", [Jsonb({"text": text})])
            await client.execute("NOTIFY outbox")

    async def unread(self) -> int:
        async with await self.client() as client:
            cursor = await client.execute("SELECT count(*) FROM outbox")
            [count] = await cursor.fetchone()
            return int(count)


async def texts(world: Sourced) -> list[str]:
    """What has arrived, in the order of its acceptance."""
    import json

    return [json.loads(event.data)["text"] for event in await world.accepted() if event.data]
