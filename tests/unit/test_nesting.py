"""Functions that call functions: circles and bombs are bounded, whatever they claim."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dayfly.actions import FireTrigger, Invoke, PublishEvents, SendMessages
from dayfly.calls.nesting import FAMILIES, MAX_DEPTH, MAX_FAMILY, Nesting
from dayfly.errors import Forbidden, Throttled
from dayfly.model.call import Mode
from dayfly.model.event import Event
from dayfly.model.identity import LOCAL, Identity
from dayfly.model.trigger import Message

pytestmark = pytest.mark.anyio


class World:
    """Calls under way, by the instance that runs them."""

    def __init__(self) -> None:
        self.active: list[Any] = []
        self.nesting = Nesting(lambda invoke, identity: None, lambda: self.active)
        self.count = 0

    def run(self, invoke: Invoke, instance: str) -> None:
        self.count += 1
        invoke.invocation = f"call{self.count}"
        self.active.append(SimpleNamespace(invoke=invoke, instance=SimpleNamespace(id=instance), ahead=False))

    def ask(self, instance: str, **claims: Any) -> Invoke:
        invoke = Invoke(namespace="shop", function="f", **claims)
        self.nesting.check(invoke, Identity(name="shop/f", id="function:shop/f", instance=instance))
        return invoke


def test_a_circle_ends_at_its_depth() -> None:
    world = World()
    outside = Invoke(namespace="shop", function="f")
    world.nesting.check(outside, LOCAL)
    assert (outside.depth, outside.root) == (0, "")
    world.run(outside, "i0")
    for depth in range(1, MAX_DEPTH + 1):
        invoke = world.ask(f"i{depth - 1}")
        assert (invoke.depth, invoke.root) == (depth, "call1")
        world.run(invoke, f"i{depth}")
    with pytest.raises(Throttled, match="in a circle"):
        world.ask(f"i{MAX_DEPTH}")


def test_depth_and_family_are_not_for_the_function_to_say() -> None:
    world = World()
    world.run(Invoke(namespace="shop", function="f", depth=7, root="call0"), "i0")
    invoke = world.ask("i0", depth=0)
    assert (invoke.depth, invoke.root) == (8, "call0")


@pytest.mark.parametrize("mode", Mode)
def test_a_family_has_a_bound_however_its_calls_are_made(mode: Mode) -> None:
    world = World()
    world.run(Invoke(namespace="shop", function="f"), "i0")
    for _ in range(MAX_FAMILY):
        world.ask("i0", mode=mode)
    with pytest.raises(Throttled, match="have come of one call, call1"):
        world.ask("i0", mode=mode)
    world.run(Invoke(namespace="shop", function="g"), "i9")
    world.ask("i9")  # another family is served


def test_a_call_that_is_looked_at_twice_counts_once() -> None:
    world = World()
    world.run(Invoke(namespace="shop", function="f"), "i0")
    invoke = world.ask("i0")
    for _ in range(MAX_FAMILY):
        world.nesting.check(invoke, Identity(name="shop/f", id="function:shop/f", instance="i0"))
    world.ask("i0")


def test_what_runs_between_calls_has_a_bound_of_its_own() -> None:
    world = World()
    assert world.ask("i0").root == "i0"
    for number in range(2 * FAMILIES):
        world.ask(f"x{number}")
    assert len(world.nesting._families) == FAMILIES, "memory is bounded"


def test_who_may_not_call_is_told_that_first() -> None:
    def refuse(invoke: Invoke, identity: Identity) -> None:
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        Nesting(refuse, list).check(Invoke(namespace="shop", function="f"), LOCAL)


async def test_the_facade_bounds_the_same() -> None:
    world = World()
    world.run(Invoke(namespace="shop", function="f", depth=MAX_DEPTH), "i0")

    async def perform(action: Any, identity: Identity) -> None:
        raise AssertionError("it came through")

    with pytest.raises(Throttled):
        await world.nesting.guard(perform)(Invoke(namespace="shop", function="f"), Identity(name="f", id="f", instance="i0"))


EVENT = Event(id="1", source="/s", type="t", extensions={"dayflyhops": 0, "dayflyroot": "of others", "mine": "kept"})


async def seen(world: World, action: Any, identity: Identity) -> Any:
    """The action as it gets to who performs it."""

    async def perform(action: Any, identity: Identity) -> Any:
        return action

    return await world.nesting.guard(perform)(action, identity)


async def test_events_and_messages_of_a_function_keep_depth_and_family_and_what_they_claim_is_dropped() -> None:
    world = World()
    world.run(Invoke(namespace="shop", function="f", depth=4, root="call0"), "i0")
    function = Identity(name="shop/f", id="function:shop/f", instance="i0")
    for action in (PublishEvents(events=(EVENT,)), FireTrigger(name="t", events=(EVENT,))):
        (event,) = (await seen(world, action, function)).events
        assert (event.hops, event.root, event.extensions["mine"]) == (5, "call0", "kept")
    claims = Message(body=b"", hops=1, root="of others")
    (message,) = (await seen(world, SendMessages(name="q", messages=(claims,)), function)).messages
    assert (message.hops, message.root) == (5, "call0")


async def test_nobody_outside_spends_the_budget_of_a_family() -> None:
    world = World()
    (event,) = (await seen(world, PublishEvents(events=(EVENT,)), LOCAL)).events
    assert (event.hops, event.root) == (0, "")
    claims = Message(body=b"", hops=1, root="of others")
    (message,) = (await seen(world, SendMessages(name="q", messages=(claims,)), LOCAL)).messages
    assert (message.hops, message.root) == (0, "")


async def test_a_family_is_bounded_in_events_and_messages_too() -> None:
    world = World()
    function = Identity(name="shop/f", id="function:shop/f", instance="i0")
    world.run(Invoke(namespace="shop", function="f"), "i0")
    for _ in range(MAX_FAMILY // 1000):
        await seen(world, PublishEvents(events=(EVENT,) * 1000), function)
    for action in (PublishEvents(events=(EVENT,)), SendMessages(name="q", messages=(Message(body=b""),))):
        with pytest.raises(Throttled, match="have come of one call"):
            await seen(world, action, function)
