"""Events over a real store in memory, with a clock that moves when told: from a broker through triggers to whatever they end in."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.model.call import Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.trigger import Message, Source
from dayfly.testing.clock import settle
from tests.support.world import CALM, RAISED, F, World, event

pytestmark = pytest.mark.anyio


# --- broker and triggers --------------------------------------------------------------------------------------------


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


# --- order, concurrency, batches ------------------------------------------------------------------------------------


async def test_equal_keys_go_in_order_and_different_ones_side_by_side(world: World) -> None:
    await world.trigger("t", delivery=Policy(order_by="subject", max_attempts=2, delay_s=5.0, jitter=0.0))
    world.gates["f"] = gate = asyncio.Event()
    await world.publish(*(event(f"{key}{n}", subject=key) for n in range(3) for key in "abc"))
    await world.until(lambda: world.running.get("f") == 3)
    assert sorted(world.ids()) == ["a0", "b0", "c0"]
    world.answers["f"] = [Result(invocation="", error=RAISED)]  # for the first to go on
    gate.set()
    await world.until(lambda: len(world.calls) == 7)
    await world.quiet()
    failed = world.ids()[0][0]
    assert [id for id in world.ids() if id[0] == failed] == [f"{failed}0"]  # the others of its key wait for its retry
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 10)
    for key in "abc":
        mine = [id for id in world.ids() if id[0] == key]
        assert mine == [f"{key}0"] * (2 if key == failed else 1) + [f"{key}1", f"{key}2"]


async def test_the_dead_and_the_cancelled_do_not_hold_up_their_key(world: World) -> None:
    await world.trigger("t", delivery=Policy(order_by="subject", max_attempts=1))
    world.answers["f"] = [Result(invocation="", error=RAISED)]
    world.gates["f"] = gate = asyncio.Event()
    published = await world.publish(*(event(str(n), subject="k") for n in range(4)))
    await world.until(lambda: len(world.calls) == 1)
    await world.eventing.queue.cancel(published[1].deliveries[0].id)  # one that is blocked
    gate.set()
    await world.until(lambda: world.ids() == ["0", "2", "3"])
    await world.idle()
    [dead] = await world.dead()
    await world.perform(a.Redrive(ids=(dead.id,)))
    await world.until(lambda: world.ids() == ["0", "2", "3", "0"])


async def test_a_trigger_runs_no_more_at_once_than_it_may(world: World) -> None:
    await world.trigger("t", delivery=Policy(concurrency=3))
    world.gates["f"] = gate = asyncio.Event()
    await world.publish(*(event(str(n)) for n in range(20)))
    await world.until(lambda: world.running.get("f") == 3)
    await world.quiet()
    gate.set()
    await world.until(lambda: len(world.calls) == 20)
    assert world.peak["f"] == 3


async def test_a_batch_waits_to_fill_but_not_for_long(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=3, batch_window_s=10.0))
    await world.publish(event("1"), event("2"))
    await world.quiet()
    assert world.calls == []
    await world.publish(event("3"))
    await world.until(lambda: len(world.calls) == 1)
    assert [one["id"] for one in world.bodies()[0]] == ["1", "2", "3"]
    await world.publish(event("4"))
    await world.quiet()
    assert len(world.calls) == 1
    world.clock.advance(10.0)
    await world.until(lambda: len(world.calls) == 2)
    assert [one["id"] for one in world.bodies()[1]] == ["4"]


async def test_a_batch_is_bounded_by_bytes(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=100, batch_bytes=2500, concurrency=2))
    await world.perform(a.PauseTrigger(name="t"))
    await world.publish(*(event(str(n), data="x" * 1000) for n in range(9)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: sum(len(batch) for batch in world.bodies()) == 9)
    assert max(len(batch) for batch in world.bodies()) == 2
    assert world.peak["f"] <= 2


async def test_part_of_a_batch_can_fail(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=3, partial=True, max_attempts=2, delay_s=5.0, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    published = await world.publish(*(event(str(n)) for n in range(3)))
    failing = published[1].deliveries[0].id
    answer = msgspec.json.encode({"batchItemFailures": [{"itemIdentifier": failing}]})
    world.answers["f"] = [Result(invocation="", body=answer), Result(invocation="", body=answer)]
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 2)
    assert [[one["id"] for one in batch] for batch in world.bodies()] == [["0", "1", "2"], ["1"]]
    await world.idle()
    assert [letter.id for letter in await world.dead()] == [failing]


async def test_an_answer_that_names_a_stranger_fails_the_whole_batch(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=2, partial=True, max_attempts=1))
    await world.perform(a.PauseTrigger(name="t"))
    world.answers["f"] = [Result(invocation="", body=b'{"batchItemFailures": [{"itemIdentifier": "x"}]}')]
    await world.publish(event("1"), event("2"))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert len(await world.dead()) == 2


async def test_a_batch_that_fails_is_halved_until_the_poisonous_one_stands_alone(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=8, bisect=True, max_attempts=2, delay_s=5.0, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    world.refuses["f"] = "5"
    published = await world.publish(*(event(str(n)) for n in range(8)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 7)
    await world.idle()
    assert [[one["id"] for one in batch] for batch in world.bodies()] == [
        ["0", "1", "2", "3", "4", "5", "6", "7"],
        ["0", "1", "2", "3"],
        ["4", "5", "6", "7"],
        ["4", "5"],
        ["4"],
        ["5"],
        ["6", "7"],
    ]
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 8)
    await world.idle()
    assert [letter.id for letter in await world.dead()] == [published[5].deliveries[0].id]
    assert (await world.dead())[0].attempts == 2


async def test_a_batch_that_finds_no_place_is_not_halved(world: World) -> None:
    await world.trigger("t", delivery=Policy(batch=4, bisect=True, jitter=0.0))
    await world.perform(a.PauseTrigger(name="t"))
    world.answers["f"] = [errors.Throttled("no room")]
    await world.publish(*(event(str(n)) for n in range(4)))
    await world.perform(a.ResumeTrigger(name="t"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert len(world.calls) == 1


# --- what follows ---------------------------------------------------------------------------------------------------


async def test_destinations_are_told_of_success_and_failure(world: World) -> None:
    await world.perform(a.PutQueue(name="done"))
    failed = Destination(kind="function", name="alarm")
    policy = Policy(max_attempts=1, on_success=Destination(kind="queue", name="done", shape="data"), on_failure=failed)
    await world.trigger("t", delivery=policy)
    world.answers["f"] = [Result(invocation="", body=b'"fine"'), Result(invocation="", error=RAISED)]
    await world.publish(event("1"))
    await world.idle()
    await world.publish(event("2"))
    await world.until(lambda: len(world.bodies("alarm")) == 1)
    [told] = world.bodies("alarm")
    assert told["requestContext"]["condition"] == "RetriesExhausted"
    assert told["responsePayload"] == {"errorType": "ValueError", "errorMessage": "bad"}
    assert told["events"] == [{"id": "2", "source": "/shop", "type": "order.placed"}]
    [message] = await world.perform(a.ReceiveMessages(name="done", limit=10))
    record = msgspec.json.decode(message.message.body)
    assert record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"] == "fine"


async def test_asynchronous_calls_have_destinations_and_limits_of_their_own(world: World) -> None:
    await world.perform(a.PutQueue(name="dlq"))
    to = Destination(kind="function", name="audit")
    await world.perform(
        a.PutAsyncConfig(
            function="f", max_attempts=1, on_failure=to, dead_letter=Destination(kind="queue", name="dlq", shape="data")
        )
    )
    world.answers["f"] = [Result(invocation="", error=RAISED)]
    id = await world.eventing.queue.enqueue(Invoke(namespace="default", function="f", body=b'{"n":1}'))
    await world.until(lambda: len(world.bodies("audit")) == 1)
    [told] = world.bodies("audit")
    assert told["requestContext"] == {
        "requestId": id,
        "namespace": "default",
        "function": "f",
        "qualifier": "",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 1,
    }
    assert told["requestPayload"] == {"n": 1}
    [message] = await world.perform(a.ReceiveMessages(name="dlq"))
    assert message.message.body == b'{"n":1}'
    assert [letter.input for letter in [await world.perform(a.GetDead(id=id))]] == [b'{"n":1}']


async def test_an_event_can_end_in_a_queue_a_broker_or_at_an_address(world: World) -> None:
    await world.perform(a.PutQueue(name="q"))
    await world.perform(a.PutBroker(name="second"))
    await world.trigger("to-queue", Destination(kind="queue", name="q"))
    await world.trigger("to-topic", Destination(kind="topic", name="second"))
    await world.trigger("on-second", broker="second")
    await world.trigger("to-web", Destination(kind="http", name="https://example.org/hook", headers={"x-key": "k"}))
    await world.publish(event("1"))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    [body] = world.bodies()
    assert (body["id"], body["dayflyhops"]) == ("1", 1)
    [(url, headers, data)] = world.posts
    assert (url, headers["ce-id"], headers["x-key"], data) == ("https://example.org/hook", "1", "k", b'{"id":"1"}')
    [message] = await world.perform(a.ReceiveMessages(name="q"))
    assert msgspec.json.decode(message.message.body)["id"] == "1"


async def test_an_address_may_have_to_be_asked_first(world: World) -> None:
    asked: list[tuple[str, str]] = []

    async def ask_leave(url: str, origin: str) -> None:
        asked.append((url, origin))
        if "closed" in url:
            raise errors.Forbidden("no")

    world.eventing.catalog.ask_leave = ask_leave
    closed = Destination(kind="http", name="https://closed.example/", origin="dayfly.example")
    with pytest.raises(errors.Forbidden):
        await world.trigger("t", target=closed)
    with pytest.raises(errors.Forbidden):
        await world.trigger("t", delivery=Policy(on_failure=closed))
    with pytest.raises(errors.NotFound):
        await world.perform(a.GetTrigger(name="t"))
    asked.clear()
    await world.trigger("t", target=Destination(kind="http", name="https://open.example/", origin="dayfly.example"))
    assert asked == [("https://open.example/", "dayfly.example")]
    await world.publish(event("1"))
    await world.until(lambda: len(world.posts) == 1)
    assert world.posts[0][1]["webhook-request-origin"] == "dayfly.example"


async def test_an_address_that_asks_for_time_gets_it(world: World) -> None:
    url = "https://example.org/"
    await world.trigger("t", Destination(kind="http", name=url))
    world.answers[url] = [
        Result(invocation="", status=429, headers=(("retry-after", "120"),)),
        Result(invocation="", status=400),
    ]
    await world.publish(event("1"))
    await world.until(lambda: len(world.posts) == 1)
    await world.idle()
    world.clock.advance(119.0)
    await world.quiet()
    assert len(world.posts) == 1
    world.clock.advance(1.0)
    await world.until(lambda: len(world.posts) == 2)
    await world.idle()
    [letter] = await world.dead()
    assert (letter.condition, letter.attempts) == ("NotPossible", 1)


async def test_answers_that_are_events_go_back_into_a_broker_but_not_for_ever(world: World) -> None:
    await world.trigger("t", delivery=Policy(reply="default"))
    reply = b'{"specversion":"1.0","id":"%d","source":"/f","type":"again"}'
    world.answers["f"] = [Result(invocation="", body=reply % n) for n in range(40)]
    await world.publish(event("start"))
    await world.until(lambda: len(world.calls) == 17)
    await world.idle()
    assert len(world.calls) == 17  # the first, and 16 hops


# --- queues ---------------------------------------------------------------------------------------------------------


def message(text: str, **more: Any) -> Message:
    return Message(body=text.encode(), **more)


async def test_a_message_is_held_until_it_is_acknowledged_or_the_lease_is_over(world: World) -> None:
    await world.perform(a.PutQueue(name="q", visibility_s=30.0))
    ids = await world.perform(a.SendMessages(name="q", messages=(message("a"), message("b", delay_s=60.0))))
    [first] = await world.perform(a.ReceiveMessages(name="q", limit=10))
    assert (first.id, first.message.body, first.receives) == (ids[0], b"a", 1)
    assert await world.perform(a.ReceiveMessages(name="q")) == ()
    world.clock.advance(29.0)
    assert await world.perform(a.ExtendMessages(name="q", receipts=(first.receipt,), visibility_s=10.0)) == (True,)
    world.clock.advance(11.0)
    [second] = await world.perform(a.ReceiveMessages(name="q"))
    assert (second.id, second.receives) == (ids[0], 2)
    assert await world.perform(a.AckMessages(name="q", receipts=(first.receipt,))) == (False,)  # fenced off
    assert await world.perform(a.ExtendMessages(name="q", receipts=(second.receipt,), visibility_s=0.0)) == (True,)
    [third] = await world.perform(a.ReceiveMessages(name="q"))
    assert await world.perform(a.AckMessages(name="q", receipts=(third.receipt, "x", "y.z"))) == (True, False, False)
    stats = await world.perform(a.GetQueueStats(name="q"))
    assert (stats.waiting, stats.delayed, stats.held, stats.dead) == (0, 1, 0, 0)
    world.clock.advance(20.0)
    [last] = await world.perform(a.ReceiveMessages(name="q"))
    assert last.id == ids[1]


async def test_a_receiver_can_wait(world: World) -> None:
    await world.perform(a.PutQueue(name="q"))
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=20.0)))
    await world.quiet()
    assert not waiting.done()
    await world.perform(a.SendMessages(name="q", messages=(message("a"),)))
    [received] = await waiting
    assert received.message.body == b"a"
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=60.0)))
    await world.quiet()
    world.clock.advance(31.0)  # the first receiver does not answer: its lease ends, and this one gets it
    [again] = await waiting
    assert again.id == received.id
    waiting = asyncio.create_task(world.perform(a.ReceiveMessages(name="q", wait_s=5.0)))
    await world.quiet()
    world.clock.advance(5.0)
    assert await waiting == ()


async def test_received_too_often_is_dead_and_goes_to_the_dead_letter_queue(world: World) -> None:
    await world.perform(a.PutQueue(name="dlq"))
    to = Destination(kind="queue", name="dlq", shape="data")
    await world.perform(a.PutQueue(name="q", max_receives=2, dead_letter=to))
    await world.perform(a.SendMessages(name="q", messages=(message("poison"),)))
    for _ in range(2):
        [held] = await world.perform(a.ReceiveMessages(name="q", visibility_s=1.0))
        world.clock.advance(1.1)
    assert await world.perform(a.ReceiveMessages(name="q")) == ()
    [dead] = await world.dead(queue="q")
    assert (dead.id, dead.condition, dead.attempts) == (held.id, "RetriesExhausted", 2)
    assert (await world.perform(a.GetDead(id=dead.id))).input == b"poison"
    [letter] = await world.perform(a.ReceiveMessages(name="dlq"))
    assert letter.message.body == b"poison"


async def test_a_fifo_queue_keeps_the_order_of_a_group_and_knows_what_it_has_seen(world: World) -> None:
    await world.perform(a.PutQueue(name="q", fifo=True, content_dedup=True))
    sent = [message(f"{group}{n}", group=group) for n in range(2) for group in "ab"]
    ids = await world.perform(a.SendMessages(name="q", messages=tuple(sent)))
    again = await world.perform(a.SendMessages(name="q", messages=(sent[0], message("x", group="a", dedup="d"))))
    assert again[0] == ids[0]
    with pytest.raises(errors.BadInput, match="group"):
        await world.perform(a.SendMessages(name="q", messages=(message("x"),)))
    order: list[bytes] = []
    while received := await world.perform(a.ReceiveMessages(name="q", limit=10)):
        assert len({one.message.group for one in received}) == len(received)  # one of a group at a time
        order += [one.message.body for one in received]
        await world.perform(a.AckMessages(name="q", receipts=tuple(one.receipt for one in received)))
    assert [body for body in order if body.startswith(b"a") or body == b"x"] == [b"a0", b"a1", b"x"]
    assert [body for body in order if body.startswith(b"b")] == [b"b0", b"b1"]


async def test_a_trigger_takes_from_a_queue(world: World) -> None:
    await world.perform(a.PutQueue(name="q", max_receives=2))
    await world.perform(a.SendMessages(name="q", messages=(message('{"n":1}'),)))
    source = Source(kind="queue", settings={"queue": "q"})
    await world.trigger("t", source=source, delivery=Policy(delay_s=5.0, jitter=0.0))
    await world.until(lambda: len(world.calls) == 1)
    await world.idle()
    assert world.bodies()[0]["data"] == {"n": 1}
    assert (await world.perform(a.GetQueueStats(name="q"))).waiting == 0
    with pytest.raises(errors.Conflict, match="takes from the queue"):
        await world.trigger("u", source=source)
    with pytest.raises(errors.Conflict, match="takes from the queue"):
        await world.perform(a.DeleteQueue(name="q"))
    world.answers["f"] = [Result(invocation="", error=RAISED)] * 2
    await world.perform(a.SendMessages(name="q", messages=(message("2"),)))
    await world.until(lambda: len(world.calls) == 2)
    await world.idle()
    world.clock.advance(5.0)
    await world.until(lambda: len(world.calls) == 3)
    await world.idle()
    [dead] = await world.dead(queue="q")
    assert dead.attempts == 2


# --- looking back ---------------------------------------------------------------------------------------------------


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
    [(_, _, size)] = await world.store.fetch("events_channels")
    assert size > 5000
    await world.eventing.brokers.tidy()
    [(_, _, size)] = await world.store.fetch("events_channels")
    assert size <= 2000
    monkeypatch.setattr("dayfly.events.broker.MAX_STORED", size + 100)
    await world.eventing.brokers.tidy()
    with pytest.raises(errors.Throttled, match="wait for their delivery"):
        await world.publish(event("more", data="x" * 500), broker="b")
