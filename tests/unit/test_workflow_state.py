"""The fold and the decision of workflows, without a clock, a store or a function."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dayfly.model.function import Config
from dayfly.workflows.state import BRANCHES, LIMIT, Begun, Branch, Call, Ended, Finish, Fork, How, State, begin, decide, fold

SEQUENCE = Config(runtime="sequence", handler="", steps=("a/x", "a/y", "a/z"))
CONDUCTOR = Config(conductor=True)


def ended(body: Any, how: How = How.OK, identifier: str = "p", ms: int = 2, memory_mb: int = 128) -> Ended:
    return Ended(identifier, how, msgspec.json.encode(body), ms, memory_mb)


def after(config: Config, *events: Any, body: bytes = b'{"n":1}') -> State:
    state = begin(config, body)
    for event in events:
        state = fold(config, state, event)
    return state


def test_a_sequence_goes_step_by_step_and_sums_up() -> None:
    assert decide(SEQUENCE, after(SEQUENCE)) == Call("a/x", b'{"n":1}')
    state = after(SEQUENCE, ended({"n": 2}), Begun("inner"))
    assert (decide(SEQUENCE, state), state.begun) == (Call("a/y", b'{"n":2}'), "inner")
    whole = after(SEQUENCE, ended(1, identifier="1"), ended(2, identifier="2", memory_mb=512), ended({"n": 4}, identifier="3"))
    assert decide(SEQUENCE, whole) == Finish(How.OK, b'{"n":4}')
    assert (whole.parts, whole.ms, whole.memory_mb) == (("1", "2", "3"), 6, 512)


@pytest.mark.parametrize("how", [How.FAILED, How.BROKEN])
def test_a_sequence_ends_with_what_fails(how: How) -> None:
    state = after(SEQUENCE, ended({"n": 2}), ended({"error": "no"}, how))
    assert decide(SEQUENCE, state) == Finish(how, b'{"error":"no"}')


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ({"action": "x", "params": {"p": 1}}, Call("x", b'{"p":1}')),
        ({"action": "x"}, Call("x", b"{}")),
        ({"action": "x", "params": 5}, Call("x", b'{"value":5}')),
        ({"action": 5}, Call("", b'{"error":"Failed to parse action name from json value 5 during composition."}')),
        ({"params": {"p": 1}, "other": 2}, Finish(How.OK, b'{"p":1}')),
        ({"n": 1}, Finish(How.OK, b'{"n":1}')),
        ([1], Finish(How.OK, b"[1]")),
    ],
)
def test_what_a_conductors_answer_means(answer: Any, decision: Any) -> None:
    assert decide(CONDUCTOR, after(CONDUCTOR)) == Call("", b'{"n":1}')
    assert decide(CONDUCTOR, after(CONDUCTOR, ended(answer))) == decision


def test_a_conductor_gets_answers_with_its_state_and_errors_too() -> None:
    first = ended({"action": "x", "state": {"s": 1}})
    assert decide(CONDUCTOR, after(CONDUCTOR, first, ended({"n": 2}))) == Call("", b'{"n":2,"s":1}')
    failed = after(CONDUCTOR, first, ended({"error": "no"}, How.BROKEN))
    assert decide(CONDUCTOR, failed) == Call("", b'{"error":"no","s":1}'), "it may catch that"


def test_a_conductor_comes_to_an_end() -> None:
    events = [event for _ in range(LIMIT) for event in (ended({"action": "x"}), ended({}))]
    told = after(CONDUCTOR, *events, ended({"action": "x"}))
    assert decide(CONDUCTOR, told) == Call("", b'{"error":"Too many actions in the composition."}')
    stubborn = after(CONDUCTOR, *events, *([ended({"action": "x"})] * (LIMIT + 1)))
    assert decide(CONDUCTOR, stubborn) == Finish(How.FAILED, b'{"error":"Too many actions in the composition."}')


def test_branches_are_called_side_by_side_and_meet_again() -> None:
    asked = ended({"action": "x", "branches": [{"n": 1}, 2], "state": {"s": 3}})
    forked = after(CONDUCTOR, asked)
    assert decide(CONDUCTOR, forked) == Fork("x", (Branch(body=b'{"n":1}'), Branch(body=b'{"value":2}')))
    first = Ended("b2", How.BROKEN, b'{"error":"no"}', 5, 512, branch=1)
    half = after(CONDUCTOR, asked, Begun("b1", branch=0), first)
    branches = (Branch(body=b'{"n":1}', begun="b1"), Branch(body=b'{"value":2}', answer=b'{"error":"no"}'))
    assert decide(CONDUCTOR, half) == Fork("x", branches), "who goes on from here calls the second one no more"
    whole = fold(CONDUCTOR, half, Ended("b1", How.OK, b"7", 2, branch=0))
    call = decide(CONDUCTOR, whole)
    assert isinstance(call, Call)
    assert (call.name, msgspec.json.decode(call.body)) == ("", {"branches": [7, {"error": "no"}], "s": 3})
    assert (whole.parts, whole.ms, whole.memory_mb, whole.components) == (("p", "b2", "b1"), 9, 512, 1)


def test_no_branches_meet_at_once_and_too_many_never_part() -> None:
    assert decide(CONDUCTOR, after(CONDUCTOR, ended({"action": "x", "branches": []}))) == Call("", b'{"branches":[]}')
    many = after(CONDUCTOR, ended({"action": "x", "branches": [{}] * (BRANCHES + 1)}))
    assert decide(CONDUCTOR, many) == Call("", b'{"error":"Too many actions in the composition."}')
