"""Looking back: events are listed, followed, replayed, forgotten, and there again after a restart; in memory, with a clock that moves when told."""

from __future__ import annotations

import asyncio

import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.model.delivery import Destination, Policy
from dayfly.model.trigger import Source
from dayfly.testing.clock import settle
from tests.support.world import World, event

pytestmark = pytest.mark.anyio


async def test_events_are_listed_followed_and_forgotten(world: World) -> None:
    await world.perform(a.PutBroker(name="b", retention_s=100.0))
    followed = await world.perform(a.FollowEvents(broker="b", type="x"))
    coming = asyncio.ensure_future(anext(followed))
    await settle()
    await world.publish(event("1"), event("2", type="x"), broker="b")
    assert (await coming).event.id == "2"
    await followed.aclose()
    page = await world.perform(a.ListEvents(broker="b", limit=1))
    assert [one.event.id for one in page.items] == ["2"]
    page = await world.perform(a.ListEvents(broker="b", limit=1, cursor=page.cursor))
    assert [one.event.id for one in page.items] == ["1"]
    kinds = (await world.perform(a.ListEventTypes())).items
    assert [(kind.type, kind.count) for kind in kinds] == [("order.placed", 1), ("x", 1)]
    assert (await world.perform(a.GetEvent(id="2"))).event == event("2", type="x")
    world.clock.advance(101.0)
    await world.eventing.brokers.tidy()
    assert (await world.perform(a.ListEvents())).items == ()


async def test_what_is_still_to_be_delivered_is_not_forgotten(world: World) -> None:
    await world.perform(a.PutBroker(name="b", retention_s=1.0))
    await world.trigger("t", broker="b")
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(event("1"), broker="b")
    world.clock.advance(60.0)
    await world.eventing.brokers.tidy()
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: world.ids() == ["1"])
    await world.idle()
    await world.eventing.brokers.tidy()
    assert (await world.perform(a.ListEvents())).items == ()


async def test_calls_and_events_are_replayed(world: World) -> None:
    call = Invoke(namespace="default", function="f", body=b'{"id":"c"}', qualifier="prod")
    id = await world.eventing.queue.enqueue(call)
    await world.idle()
    recording = await world.perform(a.GetInput(id=id))
    assert recording.call.body == b'{"id":"c"}'
    [again] = await world.perform(a.Replay(id=id, qualifier="7"))
    await world.until(lambda: len(world.calls) == 2)
    assert (world.calls[1].invocation, world.calls[1].qualifier, world.calls[1].cause) == (again, "7", id)
    await world.trigger("t", Destination(kind="function", name="g"))
    [published] = await world.publish(event("e"))
    await world.idle()
    await world.perform(a.Replay(id="e"))
    await world.idle()
    assert world.ids("g") == ["e", "e"]
    await world.perform(a.Replay(id=published.deliveries[0].id, qualifier="3"))
    await world.idle()
    assert [call.qualifier for call in world.calls if call.function == "g"] == ["", "", "3"]
    with pytest.raises(errors.NotFound, match="no input is kept"):
        await world.perform(a.Replay(id="nothing"))


async def test_a_source_emits_with_its_checkpoint(world: World) -> None:
    await world.trigger("t", source=Source(kind="test"), filters=({"prefix": {"type": "order."}},))
    brokers = world.eventing.brokers
    assert await brokers.checkpoint("default", "t") is None
    assert await brokers.emit("default", "t", [event("1"), event("2", type="x")], b"at 2") == 0
    await world.until(lambda: world.ids() == ["1"])
    assert await brokers.checkpoint("default", "t") == b"at 2"
    await world.perform(a.DeleteTrigger(name="t"))
    with pytest.raises(errors.NotFound):
        await brokers.emit("default", "t", [event("3")])


async def test_everything_is_there_again_after_a_restart(world: World) -> None:
    await world.perform(a.PutQueue(name="q"))
    await world.trigger("t", delivery=Policy(order_by="subject"))
    world.gates["f"] = asyncio.Event()
    await world.publish(*(event(str(n), subject="k") for n in range(3)))
    await world.until(lambda: len(world.calls) == 1)
    await world.eventing.close(0.0)
    world.gates.clear()
    world.eventing = world.made()
    await world.eventing.open()
    await world.until(lambda: world.ids() == ["0", "0", "1", "2"])  # what was cut off runs again, first
    assert (await world.perform(a.GetQueue(name="q"))).name == "q"
    [published] = await world.publish(event("9"))
    assert published.duplicate is False


async def test_who_is_cancelled_does_not_take_the_batch_along(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=3))
    await world.perform(a.PauseTrigger(name="t"))
    published = await world.publish(event("1"), event("2"), event("3"))
    world.gates["f"] = gate = asyncio.Event()
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: world.running.get("f") == 1)
    await world.eventing.queue.cancel(published[1].deliveries[0].id)
    gate.set()
    await world.until(lambda: len(world.calls) == 2)
    assert [one["id"] for one in world.bodies()[1]] == ["1", "3"]


async def test_what_brokers_hold_is_known_without_counting_and_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.perform(a.PutBroker(name="b", retention_bytes=2000))
    await world.publish(*(event(str(n), data="x" * 500) for n in range(10)), broker="b")
    assert await world.store.fetch("events_channels") == []  # no event has paid for the sum
    monkeypatch.setattr("dayfly.events.broker.COUNTED", 3)
    await world.eventing.brokers.tidy()
    [(_, _, size)] = await world.store.fetch("events_channels")
    assert 1000 < size <= 2000
    monkeypatch.setattr("dayfly.events.broker.MAX_STORED", size + 100)
    await world.eventing.brokers.tidy()
    with pytest.raises(errors.Throttled, match="wait for their delivery"):
        await world.publish(event("more", data="x" * 500), broker="b")
