"""Kafka: what can be seen without a broker. The rest: test_sources.py, where one is at hand."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from dayfly.triggers.kafka.source import Kafka, Settings
from dayfly.triggers.port import Context
from tests.support.servers import free_port
from tests.support.sources import Sourced

pytestmark = pytest.mark.anyio


def record(**given: Any) -> ConsumerRecord:
    fields: dict[str, Any] = {
        "topic": "orders",
        "partition": 1,
        "offset": 7,
        "timestamp": 0,
        "timestamp_type": 0,
        "key": None,
        "value": b"{}",
        "checksum": None,
        "serialized_key_size": 0,
        "serialized_value_size": 0,
        "headers": (),
    }
    return ConsumerRecord(**fields | given)


async def test_a_broker_that_does_not_answer_shows() -> None:
    async with Sourced() as world:
        address = f"127.0.0.1:{free_port()}"
        await world.trigger("kafka", topics=["orders"], servers=[address])
        await world.until(lambda: (health := world.runner.health("default", "t")) and health.state == "failing")
        health = world.runner.health("default", "t")
        assert health is not None
        assert address in health.error


async def test_a_record_becomes_an_event() -> None:
    async with Sourced() as world:
        trigger = await world.trigger("timer", schedule="@yearly")
        context = Context(trigger=trigger, outlet=None, clock=world.clock, since=0.0)  # type: ignore[arg-type]
        source = Kafka(context, Settings(topics=("orders",)))
        event = source._event(record(key=b"ada", value=b'{"a":1}'))
        assert (event.id, event.type, event.subject) == ("orders/1/7", "dayfly.kafka.record", "orders")
        assert event.extensions == {"partitionkey": "ada"}
        assert event.datacontenttype == "application/json"
        headers = (("ce_specversion", b"1.0"), ("ce_id", b"9"), ("ce_source", b"/shop"), ("ce_type", b"order.placed"))
        own = source._event(record(headers=headers))
        assert (own.id, own.source, own.type) == ("9", "/shop", "order.placed")
