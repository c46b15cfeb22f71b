"""What follows a delivery: destinations of success and failure, addresses, answers that are events; in memory, with a clock that moves when told."""

from __future__ import annotations

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.model.call import Result
from dayfly.model.delivery import Destination, Policy
from tests.support.world import RAISED, World, event

pytestmark = pytest.mark.anyio


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
