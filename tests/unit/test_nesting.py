"""How deep a call is that a function makes, and when it is too deep."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dayfly.actions import Invoke
from dayfly.calls.call import Call
from dayfly.calls.nesting import MAX_DEPTH, nested
from dayfly.errors import Forbidden, Throttled
from dayfly.model.identity import LOCAL, Identity

FUNCTION = Identity(name="shop/cart", id="function:shop/cart", instance="i1")


def running(instance: str | None, depth: int) -> Call:
    box: Any = SimpleNamespace(id=instance) if instance else None
    return cast(Call, SimpleNamespace(instance=box, invoke=Invoke(namespace="shop", function="cart", depth=depth)))


def depth_of(identity: Identity, *active: Call, claimed: int = 0) -> int:
    invoke = Invoke(namespace="shop", function="pay", depth=claimed)
    nested(lambda invoke, identity: None, lambda: active)(invoke, identity)
    return invoke.depth


def test_a_call_from_outside_is_as_deep_as_it_says() -> None:
    assert depth_of(LOCAL, running("i1", 5)) == 0


def test_a_function_calls_one_deeper_than_its_instance_runs_whatever_it_claims() -> None:
    assert depth_of(FUNCTION, running("i1", 0)) == 1
    assert depth_of(FUNCTION, running("i1", 2), running("i1", 4), running("i2", 9), running(None, 7), claimed=1) == 5


def test_a_function_that_calls_between_calls_is_not_outside() -> None:
    assert depth_of(FUNCTION) == 1


def test_a_circle_ends() -> None:
    assert depth_of(FUNCTION, running("i1", MAX_DEPTH - 1)) == MAX_DEPTH
    with pytest.raises(Throttled, match="circle"):
        depth_of(FUNCTION, running("i1", MAX_DEPTH))


def test_who_may_not_call_hears_that_first() -> None:
    def refuse(invoke: Invoke, identity: Identity) -> None:
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        nested(refuse, lambda: [running("i1", MAX_DEPTH)])(Invoke(namespace="shop", function="pay"), FUNCTION)
