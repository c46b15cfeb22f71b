"""A broker as a topic: everybody who subscribed gets a copy, and each firing leaves a record of what it was delivered to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from dayfly import actions as a
from dayfly.errors import NotFound
from dayfly.model.call import Invocation, Mode
from dayfly.model.delivery import Delivered, Destination, Input, Policy
from dayfly.model.event import Scheduled
from dayfly.model.function import Flavour
from dayfly.model.trigger import Source
from tests.support.world import CALM, F, World, event

pytestmark = pytest.mark.anyio

G = Destination(kind="function", name="g")
TOPIC = Destination(kind="broker", name="topic")


@pytest.fixture
async def records(world: World) -> list[Invocation]:
    """What the brokers of the world have put on record. There is a broker `topic`, with two triggers: t to f, u to g."""
    kept: list[Invocation] = []
    world.eventing.brokers.keep = kept.append
    await world.perform(a.PutBroker(name="topic", records=True, dedup_s=0.0))
    await world.trigger("t", broker="topic")
    await world.trigger("u", G, broker="topic")
    return kept


async def test_a_firing_goes_to_everybody_and_leaves_a_record(world: World, records: list[Invocation]) -> None:
    [published] = await world.publish(event("1"), broker="topic")
    await world.idle()
    assert (world.ids("f"), world.ids("g")) == (["1"], ["1"])
    [record] = records
    assert (record.id, record.function, record.cause, record.answer) == (published.record, "broker:topic", "1", '{"id":"1"}')
    noted = msgspec.json.decode(record.note)
    assert noted["event"] == {"id": "1", "source": "/shop", "type": "order.placed"}
    called = {call.function: call.invocation for call in world.calls}
    assert noted["deliveries"] == [{"trigger": "t", "id": called["f"]}, {"trigger": "u", "id": called["g"]}]


async def test_the_record_is_there_though_the_server_died_before_it_was_written(
    world: World, records: list[Invocation]
) -> None:
    [published] = await world.publish(event("1"), broker="topic")
    await world.eventing.close(0.0)
    world.eventing = world.made()
    await world.eventing.open()
    assert await world.eventing.brokers.record(published.record) == records[0]
    assert await world.eventing.brokers.record("") is None


async def test_the_event_itself_knows_its_deliveries_with_or_without_records(world: World) -> None:
    await world.trigger("t")
    [published] = await world.publish(event("1"))
    seen = await world.perform(a.GetEvent(id="1"))
    assert (seen.deliveries, seen.record) == (published.deliveries, "")
    assert [one.trigger for one in seen.deliveries] == ["t"]


async def test_who_is_paused_and_skips_is_passed_by_and_said_so(world: World, records: list[Invocation]) -> None:
    await world.trigger("u", G, broker="topic", paused=True, while_paused="skip")
    [published] = await world.publish(event("1"), broker="topic")
    assert published.deliveries[1] == Scheduled(trigger="u", id="")
    await world.perform(a.ResumeTrigger(name="u"))
    await world.publish(event("2"), broker="topic")
    await world.idle()
    assert (world.ids("f"), world.ids("g")) == (["1", "2"], ["2"])
    assert [len(msgspec.json.decode(record.note)["deliveries"]) for record in records] == [2, 2]


async def test_whom_nobody_gets_leaves_no_record(world: World, records: list[Invocation]) -> None:
    for name, target in (("t", F), ("u", G)):
        await world.trigger(name, target, broker="topic", paused=True, while_paused="skip")
    [published] = await world.publish(event("1"), broker="topic")
    assert (published.record, records) == ("", [])


async def test_a_trigger_can_call_asynchronously_as_a_shape_says(world: World, records: list[Invocation]) -> None:
    """What is fired belongs to the function then: neither a pause nor the end of the trigger holds it back."""

    def elsewhere(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
        if to.name == "/gone":
            raise NotFound("gone")
        return Input(body=b"{}", namespace=events[0].namespace, function="f", owner="default", note="{}")

    world.eventing.router.shapes = {"moved": elsewhere}
    moved = [Destination(kind="function", name=name, shape="moved") for name in ("/there", "/gone")]
    for name, target in zip("tu", moved, strict=True):
        await world.trigger(name, target, broker="topic", calls_async=True)
    [published] = await world.publish(event("1"), broker="topic")
    await world.perform(a.DeleteTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    [call] = world.calls
    assert (call.function, call.mode, call.invocation, call.note) == ("f", Mode.ASYNC, published.deliveries[0].id, "{}")
    assert published.deliveries[1] == Scheduled(trigger="u", id="", error="gone")
    assert msgspec.json.decode(records[0].note)["deliveries"][1] == {"trigger": "u", "id": "", "error": "gone"}
    assert (await world.eventing.brokers.record(published.record)) == records[0]


async def test_what_is_refused_as_a_duplicate_calls_nobody(world: World) -> None:
    """Given triggers that call asynchronously, one of which looks for repetitions itself."""
    await world.perform(a.PutBroker(name="strict", dedup_s=60.0))
    await world.perform(a.PutBroker(name="open", dedup_s=0.0))
    await world.trigger("t", F, broker="strict", calls_async=True)
    await world.trigger("u", G, broker="open", calls_async=True, delivery=Policy(dedup_s=60.0))
    for _ in range(2):
        [strict] = await world.publish(event("1"), broker="strict")
        [open_] = await world.publish(event("1"), broker="open")
    await world.idle()
    assert (strict.duplicate, open_.duplicate) == (True, False)
    assert sorted(call.function for call in world.calls) == ["f", "g"]
    repeated = await world.eventing.queue.status(open_.deliveries[0].id)
    assert repeated is not None
    assert (repeated.state, repeated.last_error[:14]) == ("cancelled", "it came before")
    await world.perform(a.FireTrigger(name="u", events=(event("1"),)))  # by hand, it goes
    await world.idle()
    assert [call.function for call in world.calls].count("g") == 2


async def test_a_source_an_answer_and_a_dead_letter_fire_as_a_client_does(world: World, records: list[Invocation]) -> None:
    """What comes into a broker out of a delivery is recorded, counted and shown to followers like what is published."""
    await world.trigger("alarm", TOPIC, source=Source(kind="test"))
    follower = await world.perform(a.FollowEvents(broker="topic"))
    seen = asyncio.ensure_future(anext(follower))
    await world.quiet()
    await world.eventing.brokers.emit("default", "alarm", [event("tick")])
    await world.until(lambda: world.ids("f") == ["tick"] and world.ids("g") == ["tick"])
    assert [record.cause for record in records] == ["tick"]
    assert (await seen).event.id == "tick"
    [kind] = (await world.perform(a.ListEventTypes(broker="topic"))).items
    assert (kind.type, kind.count) == ("order.placed", 1)


async def test_what_was_there_already_leaves_no_second_record(world: World, records: list[Invocation]) -> None:
    await world.perform(a.PutBroker(name="topic", records=True))
    await world.publish(event("1"), event("1"), broker="topic")
    assert len(records) == 1


async def test_a_message_from_a_trigger_wakes_a_receiver_that_waits(world: World) -> None:
    await world.perform(a.PutQueue(name="q"))
    await world.trigger("t", Destination(kind="queue", name="q"), delivery=CALM)
    receiving = asyncio.ensure_future(world.perform(a.ReceiveMessages(name="q", wait_s=20.0)))
    await world.quiet()
    await world.publish(event("1"))
    await world.until(receiving.done)
    assert len(receiving.result()) == 1
