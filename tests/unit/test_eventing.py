"""Events over a real store in memory, with a clock that moves when told: from a broker through triggers to functions, and what dies on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.model.call import Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.trigger import Source
from dayfly.testing.clock import settle
from tests.support.world import CALM, RAISED, F, World, event

pytestmark = pytest.mark.anyio


async def test_an_event_reaches_every_trigger_it_passes(world: World) -> None:
    await world.trigger("all")
    await world.trigger("orders", Destination(kind="function", name="g"), filters=({"prefix": {"type": "order."}},))
    await world.trigger("big", Destination(kind="function", name="h"), filters=({"sql": "type = 'nothing'"},))
    [one, two] = await world.publish(event("1"), event("2", type="user.left"))
    assert [d.trigger for d in one.deliveries] == ["all", "orders"]
    assert [d.trigger for d in two.deliveries] == ["all"]
    await world.idle()
    assert sorted(world.ids("f")) == ["1", "2"]
    assert world.ids("g") == ["1"]
    [seen] = [call for call in world.calls if call.function == "g"]
    assert (seen.invocation, seen.cause, seen.mode) == (one.deliveries[1].id, "1", "event")
    assert world.bodies("g") == [
        {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed", "data": {"id": "1"}}
    ]


async def test_an_id_counts_once_within_the_window(world: World) -> None:
    await world.trigger("t")
    [first] = await world.publish(event("1"))
    [second] = await world.publish(event("1"))
    assert (first.duplicate, second.duplicate, second.deliveries) == (False, True, ())
    [other, new, again] = await world.publish(msgspec.structs.replace(event("1"), source="/other"), event("2"), event("2"))
    assert [p.duplicate for p in (other, new, again)] == [False, False, True]
    await world.idle()
    world.clock.advance(601.0)
    [later] = await world.publish(event("1"))
    assert later.duplicate is False
    await world.idle()
    assert len(world.calls) == 4


async def test_a_trigger_takes_an_event_once_within_its_own_window(world: World) -> None:
    """Given a broker that takes everything, and two triggers of which one looks for repetitions."""
    await world.perform(a.PutBroker(name="open", dedup_s=0.0))
    await world.trigger("once", broker="open", delivery=Policy(dedup_s=60.0))
    await world.trigger("always", broker="open", target=Destination(kind="function", name="g"))
    for _ in range(2):
        [published] = await world.publish(event("1"), broker="open")
    await world.publish(event("2"), broker="open")
    await world.idle()
    assert (sorted(world.ids()), sorted(world.ids("g"))) == (["1", "2"], ["1", "1", "2"])
    repeated = await world.eventing.queue.status(next(one.id for one in published.deliveries if one.trigger == "once"))
    assert repeated is not None
    assert (repeated.state, repeated.last_error[:19]) == ("cancelled", "it came before, as ")
    await world.perform(a.FireTrigger(name="once", events=(event("1"),)))  # by hand, it goes
    world.clock.advance(60.0)
    await world.publish(event("1"), broker="open")
    await world.idle()
    assert sorted(world.ids()) == ["1", "1", "1", "2"]


async def test_what_a_function_gets_depends_on_how_it_speaks_and_what_the_target_says(world: World) -> None:
    await world.trigger("http", Destination(kind="function", name="http"))
    await world.trigger("data", Destination(kind="function", name="d", shape="data"))
    await world.publish(event("1", subject="ä 1", extensions={"tenant": "x"}))
    await world.idle()
    spoken = {call.function: call for call in world.calls}
    assert spoken["d"].body == spoken["http"].body == b'{"id":"1"}'
    http = spoken["http"].http
    assert http is not None
    headers = dict(http.headers)
    assert headers["ce-id"] == "1"
    assert headers["ce-subject"] == "%C3%A4%201"
    assert headers["ce-tenant"] == "x"


async def test_a_failing_delivery_is_retried_then_dead_then_redriven(world: World) -> None:
    await world.trigger("t", delivery=Policy(max_attempts=3, delay_s=10.0, jitter=0.0))
    world.answers["f"] = [Result(invocation="", error=RAISED), errors.TimedOut("slow"), Result(invocation="", status=500)]
    [published] = await world.publish(event("1"))
    for wait in (10.0, 20.0):
        await world.idle()
        world.clock.advance(wait)
    await world.until(lambda: len(world.calls) == 3)
    await world.idle()
    [dead] = await world.dead(trigger="t")
    assert (dead.id, dead.function, dead.attempts) == (published.deliveries[0].id, "f", 3)
    assert (dead.condition, dead.reason) == ("RetriesExhausted", "the function answered 500")
    assert (await world.perform(a.GetDead(id=dead.id))).event == event("1")
    assert [call.attempt for call in world.calls] == [1, 2, 3]
    assert await world.perform(a.Redrive(trigger="t")) == 1
    await world.idle()
    assert await world.dead() == []
    assert len(world.calls) == 4


async def test_what_is_dead_can_be_purged(world: World) -> None:
    await world.trigger("t", delivery=Policy(max_attempts=1))
    world.answers["f"] = [Result(invocation="", error=RAISED)] * 3
    await world.publish(event("1"), event("2"), event("3"))
    await world.idle()
    dead = await world.dead()
    assert await world.perform(a.PurgeDead(ids=(dead[0].id, "nobody"))) == 1
    assert await world.perform(a.PurgeDead()) == 2
    assert await world.dead() == []


async def test_paused_means_waiting_and_deleted_means_gone(world: World) -> None:
    await world.trigger("t")
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(event("1"), event("2"))
    await world.quiet()
    assert world.calls == []
    stats = await world.perform(a.GetTriggerStats(name="t"))
    assert (stats.waiting, stats.running, stats.oldest) == (2, 0, world.clock.now())
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 2)
    await world.perform(a.PauseTrigger(name="t"))
    [published] = await world.publish(event("3"))
    await world.perform(a.DeleteTrigger(name="t"))
    await world.quiet()
    assert len(world.calls) == 2
    entry = await world.eventing.queue.status(published.deliveries[0].id)
    assert entry is not None
    assert entry.state == "cancelled"


async def test_what_the_feed_brings_late_undoes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, late = world.store.fetch, asyncio.Event()

    async def slow_at_first(query: str, **parameters: Any) -> Any:
        rows = await fetch(query, **parameters)
        if query == "catalog_one" and not late.is_set():
            await late.wait()
        return rows

    monkeypatch.setattr(world.store, "fetch", slow_at_first)
    perform = world.eventing.performers()
    await perform[a.PutTrigger](a.PutTrigger(name="t", target=F, delivery=CALM))
    await settle()  # it has been read as it was before the pause
    await perform[a.PauseTrigger](a.PauseTrigger(name="t"))
    late.set()
    await settle()
    assert (await perform[a.GetTrigger](a.GetTrigger(name="t"))).paused


async def test_a_trigger_can_be_fired_by_hand(world: World) -> None:
    await world.trigger("t", filters=({"exact": {"type": "never"}},))
    [fired] = await world.perform(a.FireTrigger(name="t", events=(event("1"),)))
    await world.idle()
    assert world.calls[0].invocation == fired.deliveries[0].id


async def test_nothing_wrong_is_accepted(world: World) -> None:
    with pytest.raises(errors.NotFound, match="no broker"):
        await world.publish(event("1"), broker="nope")
    with pytest.raises(errors.BadInput, match="no 'type'"):
        await world.publish(event("1", type=""))
    with pytest.raises(errors.BadInput, match="RFC 3339"):
        await world.publish(event("1", time="yesterday"))
    for wrong in (
        {"target": Destination(kind="function", name="gone")},
        {"target": Destination(kind="queue", name="gone")},
        {"target": F, "broker": "gone"},
    ):
        with pytest.raises(errors.NotFound):
            await world.perform(a.PutTrigger(name="t", **wrong))
    for bad in (
        {"target": Destination(kind="http", name="ftp://x")},
        {"target": F, "filters": ({"nope": 1},)},
        {"target": F, "broker": "default", "source": Source(kind="queue")},
    ):
        with pytest.raises(errors.BadInput):
            await world.perform(a.PutTrigger(name="t", **bad))
    with pytest.raises(errors.NotFound, match="no namespace"):
        await world.perform(a.PutBroker(namespace="other", name="b"))
    assert (await world.perform(a.ListTriggers())).items == ()
