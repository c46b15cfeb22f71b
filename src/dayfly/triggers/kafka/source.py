"""Kafka topics, read by a consumer group: offsets are committed once the events are on our disk.

There is no checkpoint: the group's offsets are one, in Kafka. The key of a record becomes `partitionkey`, by which deliveries can be kept
in order. Headers that make a record a CloudEvent (`ce_*`) do so.
Source: aiokafka.readthedocs.io; bindings/kafka-protocol-binding.md of CloudEvents.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Coroutine
from typing import Annotated, Any, Final, Literal

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from msgspec import Meta, Struct

from ...errors import BadInput
from ...events import cloudevents
from ...model.event import KEY, Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed, guessed

WAIT: Final = 5000  # milliseconds of silence, after which we look whether anybody is there
ANSWER: Final = 5.0  # seconds that brokers have for an answer
ENDINGS: Final = 3  # times that a connection is told to end


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topics: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    servers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)] = ("127.0.0.1:9092",)
    group: Annotated[str, Meta(max_length=256, description="consumer group; empty: of the trigger's name")] = ""
    start: Annotated[Literal["earliest", "latest"], Meta(description="where a new group begins")] = "earliest"
    tls: bool = False
    user: Annotated[str, Meta(max_length=256, description="SASL/PLAIN, if given")] = ""
    password: Annotated[str, Meta(max_length=4096, description="best: secret:NAME")] = ""
    batch: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = MAX_BATCH


class Kafka(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings

    async def run(self) -> None:
        settings, trigger = self._settings, self.context.trigger
        login: dict[str, Any] = {}
        if settings.user:
            login = {"sasl_mechanism": "PLAIN", "sasl_plain_username": settings.user, "sasl_plain_password": settings.password}
        protocol = ("SASL_" if settings.user else "") + ("SSL" if settings.tls else "PLAINTEXT")
        consumer = AIOKafkaConsumer(
            *settings.topics,
            bootstrap_servers=list(settings.servers),
            group_id=settings.group or f"dayfly-{trigger.namespace}-{trigger.name}",
            client_id="dayfly",
            enable_auto_commit=False,
            auto_offset_reset=settings.start,
            security_protocol=protocol,
            ssl_context=ssl.create_default_context() if settings.tls else None,
            **login,
        )
        try:
            await consumer.start()
            self.context.ready()
            while True:
                found = await consumer.getmany(timeout_ms=WAIT, max_records=settings.batch)
                records = [record for batch in found.values() for record in batch]
                if records:
                    offsets = {partition: batch[-1].offset + 1 for partition, batch in found.items() if batch}
                    confirm = functools.partial(_commit, consumer, offsets)
                    await self.deliver([self._event(record) for record in records], confirm)
                else:
                    await _answered(consumer.end_offsets(list(consumer.assignment())))
        except (KafkaError, OSError) as error:
            raise SourceFailed(f"Kafka at {', '.join(settings.servers)}: {error or type(error).__name__}") from None
        finally:
            ending = asyncio.ensure_future(consumer.stop())
            ending.add_done_callback(lambda done: done.cancelled() or done.exception())
            for _ in range(ENDINGS):  # where the brokers are away, the library hangs on to one thing after the other
                await asyncio.wait({ending}, timeout=ANSWER)
                ending.cancel()

    def _event(self, record: Any) -> Event:
        headers = {name.lower(): value.decode("utf-8", "replace") for name, value in record.headers or ()}
        content_type = headers.get("content-type", "")
        attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce_")}
        body = record.value or b""
        try:
            if content_type.startswith(cloudevents.STRUCTURED):
                return cloudevents.from_json(body)
            if "specversion" in attributes:
                return cloudevents.from_attributes(attributes, content_type, body)
        except BadInput:
            pass  # it only looks like one
        key = record.key.decode("utf-8", "replace") if record.key else ""
        return Event(
            id=f"{record.topic}/{record.partition}/{record.offset}",
            source=self.context.source,
            type="dayfly.kafka.record",
            subject=record.topic,
            datacontenttype=content_type or guessed(body),
            extensions={KEY: key} if key and key.isprintable() else {},
            data=body or None,
        )


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[Any, int]) -> None:
    await _answered(consumer.commit(offsets))


async def _answered(question: Coroutine[Any, Any, Any]) -> None:
    """Raises KafkaError, or TimeoutError when the brokers are away: the library itself goes on asking them and says nothing."""
    async with asyncio.timeout(ANSWER):
        await question


def source(context: Context, settings: Settings) -> Kafka:
    return Kafka(context, settings)
