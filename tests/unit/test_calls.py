"""Calls, the queue and the instances of a revision, with every event in the test's hands."""

from __future__ import annotations

import pytest

from dayfly.actions import Invoke
from dayfly.errors import (
    BadInput,
    BadResponse,
    Cancelled,
    InitFailed,
    InstanceDied,
    Throttled,
    TimedOut,
    Unavailable,
    UnsupportedMedia,
)
from dayfly.model.call import FunctionError, HttpRequest, Status
from dayfly.model.function import Reservation
from dayfly.model.quota import Quota
from dayfly.pool.pool import Limits
from dayfly.sandbox.port import ResponseHead
from dayfly.testing.clock import settle
from tests.support.boxes import Waiting, revision
from tests.support.desk import Desk

pytestmark = pytest.mark.anyio


async def test_the_first_call_starts_an_instance_and_the_next_one_reuses_it() -> None:
    desk = Desk()
    first = desk.call(b'{"n":1}')
    assert len(desk.sandbox.boxes) == 1
    assert first.results == []
    desk.clock.advance(0.004)
    [box] = desk.sandbox.boxes
    box.ready(init_s=0.002)
    desk.clock.advance(0.010)
    assert box.calls[1][1] == b'{"n":1}'
    box.answer(b'"one"')
    assert (first.results[0].body, first.results[0].cold) == (b'"one"', True)
    assert first.results[0].timings.cold == pytest.approx(0.004)
    assert first.results[0].timings.run == pytest.approx(0.010)

    second = desk.call()
    box.answer(b'"two"')
    assert second.results[0].cold is False
    assert len(desk.sandbox.boxes) == 1
    assert [(r.status, r.cold) for r in desk.records] == [(Status.OK, True), (Status.OK, False)]
    assert desk.records[0].billed_ms == 10
    assert desk.dispatcher.active == {}


async def test_concurrency_is_respected_exactly_and_the_maximum_too() -> None:
    desk = Desk(revision(concurrency=2, max_instances=2))
    clients = [desk.call() for _ in range(7)]
    for box in list(desk.sandbox.boxes):
        box.ready()
    assert [len(box.calls) for box in desk.sandbox.boxes] == [2, 2]
    served = 0
    while served < 7:
        for box in desk.sandbox.boxes:
            assert len(box.calls) <= 2
            if box.calls:
                box.answer()
                served += 1
    assert all(client.endings == 1 for client in clients)
    assert len(desk.sandbox.boxes) == 2


async def test_a_waiting_call_takes_whatever_gets_free_first() -> None:
    desk = Desk(revision(max_instances=2))
    desk.call()
    desk.sandbox.boxes[0].ready()
    waiting = desk.call()
    assert len(desk.sandbox.boxes) == 2, "one more instance is started for it"
    desk.sandbox.boxes[0].answer()
    assert desk.sandbox.boxes[0].calls, "but the first instance was free before that one was ready"
    desk.sandbox.boxes[0].answer(b'"early"')
    assert waiting.results[0].body == b'"early"'
    desk.sandbox.boxes[1].ready()
    assert desk.group.load.level == 0


async def test_starts_are_bounded_and_every_call_is_served() -> None:
    desk = Desk(revision(max_instances=50), Limits(concurrent_starts=3))
    clients = [desk.call() for _ in range(10)]
    ready = 0
    while ready < len(desk.sandbox.boxes):
        assert len(desk.sandbox.boxes) - ready <= 3
        desk.sandbox.boxes[ready].ready()
        ready += 1
    assert ready == 10
    for box in desk.sandbox.boxes:
        box.answer()
    assert all(client.endings == 1 for client in clients)


async def test_starts_that_nobody_waits_for_any_more_are_dropped() -> None:
    desk = Desk(revision(max_instances=50), Limits(concurrent_starts=2))
    clients = [desk.call() for _ in range(10)]
    desk.sandbox.boxes[0].ready()
    for _ in clients:
        desk.sandbox.boxes[0].answer()
    desk.sandbox.boxes[1].ready()
    assert all(client.endings == 1 for client in clients)
    assert len(desk.sandbox.boxes) < 10
    assert desk.pool.instances == len(desk.group.instances) == len(desk.sandbox.boxes)


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    desk = Desk(revision(max_instances=1), Limits(queue_per_function=2))
    clients = [desk.call() for _ in range(3)]
    with pytest.raises(Throttled) as caught:
        desk.call()
    assert caught.value.retry_after is not None
    assert caught.value.invocation
    assert desk.records[-1].status is Status.REJECTED
    desk.sandbox.boxes[0].ready()
    for _ in clients:
        desk.sandbox.boxes[0].answer()
    assert all(client.endings == 1 for client in clients)


async def test_no_room_on_the_machine_is_unavailable_not_throttled() -> None:
    desk = Desk(revision(), Limits(instances=0))
    client = desk.call()
    assert isinstance(client.failures[0], Unavailable)
    assert desk.group.load.level == 0


async def test_a_call_that_waited_too_long_is_told_and_its_place_given_up() -> None:
    desk = Desk(revision(max_instances=1), Limits(queue_timeout_s=5))
    running = desk.call(timeout_s=30)
    desk.sandbox.boxes[0].ready()
    waiting = desk.call()
    desk.clock.advance(6)
    assert isinstance(waiting.failures[0], Unavailable)
    third = desk.call()
    desk.sandbox.boxes[0].answer()
    desk.sandbox.boxes[0].answer(b'"third"')
    assert running.endings == waiting.endings == third.endings == 1
    assert third.results[0].body == b'"third"'


async def test_a_timed_out_call_kills_its_instance_and_the_queue_gets_a_new_one() -> None:
    desk = Desk(revision(max_instances=1, timeout_s=2))
    slow = desk.call()
    desk.sandbox.boxes[0].ready()
    waiting = desk.call()
    desk.clock.advance(2.1)
    await settle()
    assert isinstance(slow.failures[0], TimedOut)
    assert slow.failures[0].invocation == desk.records[0].id
    assert desk.records[0].status is Status.TIMED_OUT
    assert desk.sandbox.boxes[0].destroyed
    desk.sandbox.boxes[1].ready()
    desk.sandbox.boxes[1].answer()
    assert waiting.results[0].cold
    assert slow.endings == 1
    assert desk.pool.instances == 1


async def test_a_timeout_beside_other_calls_lets_those_finish_first() -> None:
    desk = Desk(revision(concurrency=2, timeout_s=2))
    slow = desk.call()
    [box] = desk.sandbox.boxes
    box.ready()
    desk.clock.advance(1.5)
    other = desk.call()
    desk.clock.advance(0.6)
    assert isinstance(slow.failures[0], TimedOut)
    assert box.cancelled == [1]
    assert not box.destroyed
    box.answer(stream=2)
    await settle()
    assert other.endings == 1
    assert box.destroyed


async def test_a_crash_in_the_middle_of_a_call_is_the_platforms_error_with_the_id() -> None:
    desk = Desk()
    client = desk.call()
    desk.sandbox.boxes[0].ready()
    desk.sandbox.boxes[0].die()
    assert isinstance(client.failures[0], InstanceDied)
    assert client.failures[0].invocation == desk.records[0].id
    assert desk.records[0].status is Status.CRASHED
    assert (desk.group.load.level, desk.pool.instances) == (0, 0)
    desk.call()
    assert len(desk.sandbox.boxes) == 2


@pytest.mark.parametrize("whole", [True, False])
async def test_a_body_that_comes_while_the_call_waits_reaches_the_instance(whole: bool) -> None:
    desk = Desk(revision(flavour="http"))
    client = Waiting()
    invoke = Invoke(
        namespace="default", function="hello", body=b"", http=HttpRequest(method="POST", path="/", query="", headers=())
    )
    call = desk.dispatcher.begin(invoke, client, body_done=False)
    for piece in (b"hel", b"lo"):
        call.feed(piece, False)
    if whole:
        call.feed(b"", True)
    desk.sandbox.boxes[0].ready()
    if not whole:
        call.feed(b"!", True)
    [(_, body, _)] = desk.sandbox.boxes[0].calls.values()
    assert body == (b"hello" if whole else b"hello!")


async def test_per_invocation_each_call_has_an_instance_and_the_next_one_is_started_ahead() -> None:
    desk = Desk(revision(isolation="per-invocation"))
    first = desk.call()
    desk.sandbox.boxes[0].ready()
    assert len(desk.sandbox.boxes) == 2, "while the first call runs, the next instance starts"
    desk.sandbox.boxes[1].ready()
    desk.sandbox.boxes[0].answer()
    await settle()
    assert first.endings == 1
    assert desk.sandbox.boxes[0].destroyed
    second = desk.call()
    assert len(desk.sandbox.boxes[1].calls) == 1, "it was waiting"
    desk.sandbox.boxes[1].fail()
    await settle()
    assert (second.endings, desk.sandbox.boxes[1].destroyed, len(desk.sandbox.alive)) == (1, True, 1)


async def test_per_invocation_within_a_maximum_of_one() -> None:
    desk = Desk(revision(isolation="per-invocation", max_instances=1))
    clients = [desk.call() for _ in range(3)]
    for number, client in enumerate(clients):
        assert len(desk.sandbox.boxes) == number + 1
        desk.sandbox.boxes[number].ready()
        desk.sandbox.boxes[number].answer()
        await settle()
        assert client.endings == 1


async def test_code_that_does_not_load_fails_all_who_wait_and_starts_nothing_more() -> None:
    desk = Desk()
    clients = [desk.call() for _ in range(3)]
    for box in list(desk.sandbox.boxes):
        box.die(InitFailed("ImportError: no module named x", file="handler.py", line=1))
    assert [type(client.failures[0]) for client in clients] == [InitFailed] * 3
    assert {record.status for record in desk.records} == {Status.INIT_FAILED}
    assert len(desk.sandbox.boxes) == 3
    assert (desk.group.load.level, desk.pool.instances, len(desk.group.waiting)) == (0, 0, 0)


async def test_what_user_code_raises_is_a_result_not_a_platform_error() -> None:
    desk = Desk()
    client = desk.call()
    desk.sandbox.boxes[0].ready()
    desk.sandbox.boxes[0].fail("no such order")
    assert client.results[0].error is not None
    assert client.results[0].error.message == "no such order"
    assert (desk.records[0].status, desk.records[0].error_type) == (Status.ERROR, "ValueError")
    assert desk.group.idle, "the instance lives on"


async def test_a_stream_passes_through_and_ends_once() -> None:
    desk = Desk()
    client = desk.call()
    [box] = desk.sandbox.boxes
    box.ready()
    sink = box.calls.pop(1)[2]
    sink.on_response(ResponseHead(status=201), b"", False)
    sink.on_data(b"a", False)
    sink.on_data(b"b", True)
    assert client.results[0].streaming
    assert client.data == [(b"a", False), (b"b", True)]
    assert desk.records[0].http_status == 201
    assert desk.group.idle


async def test_an_error_in_the_middle_of_a_stream_breaks_it_off() -> None:
    desk = Desk()
    client = desk.call()
    [box] = desk.sandbox.boxes
    box.ready()
    sink = box.calls.pop(1)[2]
    sink.on_response(ResponseHead(), b"x", False)
    sink.on_error(FunctionError(type="KeyError", message="'k'"))
    assert isinstance(client.failures[0], BadResponse)
    assert client.endings == 1
    assert desk.records[0].status is Status.ERROR


async def test_cancelling_a_waiting_and_a_running_call() -> None:
    desk = Desk(revision(max_instances=1))
    running = desk.call(invocation="a" * 32)
    desk.sandbox.boxes[0].ready()
    waiting = desk.call(invocation="b" * 32)
    assert desk.dispatcher.cancel("b" * 32)
    assert desk.dispatcher.cancel("a" * 32)
    assert not desk.dispatcher.cancel("a" * 32)
    await settle()
    assert [type(client.failures[0]) for client in (running, waiting)] == [Cancelled, Cancelled]
    assert desk.sandbox.boxes[0].destroyed
    assert (desk.group.load.level, desk.pool.instances) == (0, 0)


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", "application/json", BadInput),
        (b"\xff\xfe", "application/json", BadInput),
        (b"<a/>", "text/xml", UnsupportedMedia),
    ],
)
async def test_a_body_that_is_no_event_never_reaches_the_function(body: bytes, kind: str, error: type[Exception]) -> None:
    desk = Desk()
    with pytest.raises(error):
        desk.call(body, content_type=kind)
    assert desk.sandbox.boxes == []
    assert desk.dispatcher.active == {}


async def test_a_call_without_a_body_gets_its_query_as_the_event() -> None:
    desk = Desk()
    desk.call(b"", http=HttpRequest(method="GET", path="/", query="name=Ada&n=1", headers=()))
    desk.sandbox.boxes[0].ready()
    assert desk.sandbox.boxes[0].calls[1][1] == b'{"name":"Ada","n":"1"}'


async def test_the_body_of_an_http_call_may_come_in_pieces_before_and_after_the_start() -> None:
    desk = Desk(revision(flavour="http"))
    client = Waiting()
    http = HttpRequest(method="PUT", path="/x", query="", headers=(("a", "b"),))
    call = desk.dispatcher.begin(Invoke(namespace="default", function="hello", http=http), client, body_done=False)
    call.feed(b"x" * 200_000, False)
    assert not call.full
    call.feed(b"y" * 200_000, False)
    assert call.full
    drained: list[int] = []
    call.when_drained(lambda: drained.append(1))
    [box] = desk.sandbox.boxes
    box.ready()
    assert drained == [1]
    call.feed(b"z", True)
    head, body, _ = box.calls[1]
    assert body == b"x" * 200_000 + b"y" * 200_000 + b"z"
    assert head["http"] == {"method": "PUT", "path": "/x", "query": "", "headers": [["a", "b"]]}


async def test_a_body_that_was_whole_before_the_start_reaches_the_instance_whole() -> None:
    desk = Desk(revision(flavour="http"))
    http = HttpRequest(method="PUT", path="/x", query="", headers=())
    call = desk.dispatcher.begin(Invoke(namespace="default", function="hello", http=http), Waiting(), body_done=False)
    call.feed(b"hel", False)
    call.feed(b"lo", False)
    call.feed(b"", True)
    [box] = desk.sandbox.boxes
    box.ready()
    assert (box.calls[1][1], box.ended) == (b"hello", {1})


async def test_recycling_makes_the_next_call_cold_and_harms_no_running_one() -> None:
    desk = Desk(revision(max_instances=3))
    running = desk.call()
    desk.sandbox.boxes[0].ready()
    assert desk.group.recycle() == 1
    desk.sandbox.boxes[0].answer()
    await settle()
    assert running.results[0].error is None
    assert desk.sandbox.boxes[0].destroyed
    desk.call()
    assert len(desk.sandbox.boxes) == 2


async def test_recycling_at_the_maximum_stays_within_it_and_the_queue_is_served_after() -> None:
    desk = Desk(revision(max_instances=1))
    running = desk.call()
    desk.sandbox.boxes[0].ready()
    waiting = desk.call()
    desk.group.recycle()
    desk.group.reserve(1)
    assert len(desk.sandbox.boxes) == 1, "the one that ends with its call still counts"
    desk.sandbox.boxes[0].answer()
    desk.sandbox.boxes[1].ready()
    desk.sandbox.boxes[1].answer()
    assert running.endings == waiting.endings == 1
    assert waiting.failures == []


async def test_a_full_machine_evicts_somebody_elses_idle_instance() -> None:
    desk = Desk(limits=Limits(instances=1))
    desk.call()
    desk.sandbox.boxes[0].ready()
    desk.sandbox.boxes[0].answer()
    desk.revision = revision(number=2)
    second = desk.call()
    await settle()
    assert desk.sandbox.boxes[0].destroyed
    desk.sandbox.boxes[1].ready()
    desk.sandbox.boxes[1].answer()
    assert second.endings == 1


async def test_a_function_with_reserved_calls_has_no_more_of_them_at_the_same_time() -> None:
    desk = Desk()
    desk.reservations = {("default", "hello"): Reservation(1)}
    desk.call()
    with pytest.raises(Throttled) as caught:
        desk.call()
    assert caught.value.members["bound"] == "reserved"
    assert desk.records[-1].status is Status.REJECTED
    desk.sandbox.boxes[0].ready()
    desk.sandbox.boxes[0].answer(b"1")
    desk.call()


@pytest.mark.parametrize(
    ("limit", "held", "calls", "allowed"),
    [
        (1, {}, {1: 1}, True),
        (1, {}, {1: 1, 2: 1}, False),
        (2, {2: 2}, {1: 1}, False),  # all of it is held for another revision
        (2, {2: 2}, {2: 2}, True),
        (2, {2: 2}, {2: 3}, False),
        (3, {2: 2}, {1: 1, 2: 2}, True),
        (3, {2: 2}, {2: 3}, True),  # what is not held is for all
        (3, {2: 2}, {1: 1, 2: 3}, False),
        (0, {}, {1: 1}, False),
        (1, {2: 5}, {2: 4}, True),  # the reservation was made smaller than what is held
    ],
)
def test_revisions_with_minimum_instances_hold_a_part_of_a_reservation(
    limit: int, held: dict[int, int], calls: dict[int, int], allowed: bool
) -> None:
    assert Reservation(limit, held).allows(calls) is allowed


async def test_a_reservation_counts_the_calls_that_began_before_it_and_while_it_was_not_there() -> None:
    desk = Desk()
    identifiers = [f"{number:032x}" for number in range(5)]
    for number, identifier in enumerate(identifiers):
        desk.reservations = {} if number == 3 else {("default", "hello"): Reservation(10)}  # taken away for one of them
        desk.call(invocation=identifier)
    desk.reservations = {("default", "hello"): Reservation(5)}
    with pytest.raises(Throttled):
        desk.call()
    desk.dispatcher.cancel(identifiers[3])
    desk.call()
    with pytest.raises(Throttled):
        desk.call()
    for identifier in list(desk.dispatcher.active):
        desk.dispatcher.cancel(identifier)
    for _ in range(5):
        desk.call()
    with pytest.raises(Throttled):
        desk.call()


async def test_a_namespace_has_no_more_calls_at_a_time_than_its_quota_however_they_end() -> None:
    desk = Desk(revision(max_instances=1, timeout_s=5.0))
    desk.dispatcher.quotas = {"default": Quota(concurrent_calls=2)}
    running = desk.call()
    waiting = desk.call(invocation="b" * 32)
    with pytest.raises(Throttled) as caught:
        desk.call()
    assert caught.value.members["quota"] == "concurrent_calls"
    assert desk.dispatcher.running("default") == 2, "who is refused does not count"
    desk.sandbox.boxes[0].ready()
    desk.sandbox.boxes[0].answer(b"1")  # one is answered, and the other one begins
    assert running.endings == 1
    late = desk.call()
    desk.dispatcher.cancel("b" * 32)
    assert waiting.endings == 1
    assert desk.dispatcher.running("default") == 1
    desk.sandbox.boxes[-1].ready()
    desk.clock.advance(5.1)
    assert isinstance(late.failures[0], TimedOut)
    assert desk.dispatcher.running("default") == 0
