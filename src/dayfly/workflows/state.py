"""How far a workflow is: events, and the fold that makes a state of them. Pure.

A sequence goes through the steps of its configuration. A conductor is called again and again; its answer names who is next:

    {"action": NAME, "params": {...}, "state": {...}}      call NAME with `params`; its answer and `state` are for the conductor
    {"action": NAME, "branches": [{...}, ...], "state": {...}}   call NAME with each, side by side; {"branches": [their answers]} and
                                                           `state` are for the conductor
    {"params": {...}} or anything without `action`         the end; the answer is `params`, or the whole

A part whose answer is an object with a member `error` has failed: that ends a sequence, and is for a conductor to deal with.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..model.function import Config

LIMIT = 50  # parts that do the work; a conductor may be called twice as often
BRANCHES = 1000  # side by side, those of nested workflows included
TOO_LONG = "Too many actions in the composition."
SEQUENCE_TOO_LONG = "Too many actions in the sequence."


class How(enum.StrEnum):
    """How a part ended."""

    OK = "ok"
    FAILED = "failed"  # its answer says so
    BROKEN = "broken"  # the code raised, or could not be run to its end


class Begun(Struct, frozen=True, tag="begun"):
    """A part that is a workflow of its own was begun under this id."""

    id: str
    branch: int = -1  # which one, if it is one of several side by side


class Ended(Struct, frozen=True, tag="ended"):
    """A part gave its answer, JSON. `id` is empty if it could not be called at all."""

    id: str
    how: How
    body: bytes
    ms: int = 0
    memory_mb: int = 0
    branch: int = -1


Event = Begun | Ended


class Branch(Struct, frozen=True, kw_only=True):
    """One of several calls side by side. `answer` is None while it is under way."""

    body: bytes
    begun: str = ""
    answer: bytes | None = None


class State(Struct, frozen=True, kw_only=True):
    body: bytes  # JSON: for the part that comes next, or the answer
    step: int = 0  # of a sequence: how many are done; of a conductor: how often it was called
    how: How = How.OK  # of the part before
    next: str = ""  # of a conductor: whom it named
    kept: dict[str, Any] | None = None  # its state
    over: bool = False
    parts: tuple[str, ...] = ()  # ids in order
    begun: str = ""  # id of the nested workflow that is under way
    branches: tuple[Branch, ...] = ()  # of a conductor: what `next` is called with, side by side
    components: int = 0
    ms: int = 0
    memory_mb: int = 0


def begin(config: Config, body: bytes) -> State:
    return State(body=body, memory_mb=config.memory_mb if config.conductor else 0)


def fold(config: Config, state: State, event: Event) -> State:
    """The state after an event."""
    if event.branch >= 0:
        return _branched(state, event)
    if isinstance(event, Begun):
        return replace(state, begun=event.id)
    state = replace(
        state,
        begun="",
        body=event.body,
        how=event.how,
        ms=state.ms + event.ms,
        memory_mb=max(state.memory_mb, event.memory_mb),
        parts=(*state.parts, event.id) if event.id else state.parts,
    )
    if not config.conductor:
        return replace(state, step=state.step + 1, over=event.how is not How.OK or state.step + 1 >= len(config.steps))
    if state.next:  # the component's answer goes to the conductor
        return replace(state, next="", how=How.OK, components=state.components + 1, body=_with(event.body, state.kept))
    return _conducted(replace(state, step=state.step + 1))


def _branched(state: State, event: Event) -> State:
    """After an event of one of several calls side by side. With the last answer the conductor gets them all."""
    branches = list(state.branches)
    if isinstance(event, Begun):
        branches[event.branch] = replace(branches[event.branch], begun=event.id)
        return replace(state, branches=tuple(branches))
    branches[event.branch] = replace(branches[event.branch], answer=event.body)
    state = replace(
        state,
        branches=tuple(branches),
        ms=state.ms + event.ms,
        memory_mb=max(state.memory_mb, event.memory_mb),
        parts=(*state.parts, event.id) if event.id else state.parts,
    )
    return _joined(state) if all(branch.answer is not None for branch in branches) else state


def _joined(state: State) -> State:
    body = b'{"branches":[' + b",".join(branch.answer or b"null" for branch in state.branches) + b"]}"
    return replace(state, next="", branches=(), how=How.OK, components=state.components + 1, body=_with(body, state.kept))


def _conducted(state: State) -> State:
    """After an answer of the conductor."""
    answer = msgspec.json.decode(state.body)
    if not isinstance(answer, dict):
        return replace(state, over=True)
    params = answer.get("params", msgspec.UNSET)
    if params is not msgspec.UNSET and not isinstance(params, dict):
        params = {"value": params}
    kept = answer.get("state")
    if kept is not None and not isinstance(kept, dict):
        kept = {"state": kept}
    named = answer.get("action", msgspec.UNSET)
    if named is msgspec.UNSET:
        return replace(state, over=True, body=state.body if params is msgspec.UNSET else msgspec.json.encode(params))
    state = replace(state, kept=kept)
    if not isinstance(named, str):
        return _told(
            state, f"Failed to parse action name from json value {msgspec.json.encode(named).decode()} during composition."
        )
    if state.components >= LIMIT:
        return _told(state, TOO_LONG)
    given = answer.get("branches")
    if isinstance(given, list):
        if len(given) > BRANCHES:
            return _told(state, TOO_LONG)
        branches = (one if isinstance(one, dict) else {"value": one} for one in given)
        state = replace(state, next=named, branches=tuple(Branch(body=msgspec.json.encode(one)) for one in branches))
        return state if state.branches else _joined(state)
    return replace(state, next=named, body=b"{}" if params is msgspec.UNSET else msgspec.json.encode(params))


def _told(state: State, message: str) -> State:
    """The conductor hears of an error that is its own doing."""
    return replace(state, body=_with(error_body(message), state.kept))


def _with(body: bytes, kept: dict[str, Any] | None) -> bytes:
    """An answer as the conductor gets it: its state laid over it."""
    if not kept:
        return body
    value = msgspec.json.decode(body)
    return msgspec.json.encode((value if isinstance(value, dict) else {"value": value}) | kept)


def error_body(message: str) -> bytes:
    return msgspec.json.encode({"error": message})


class Call(Struct, frozen=True):
    """Call a function: NAMESPACE/NAME of a sequence's step, a name as the conductor gave it, or the conductor itself (empty)."""

    name: str
    body: bytes


class Fork(Struct, frozen=True):
    """Call a function several times, side by side; those that have their answer already, not again."""

    name: str
    branches: tuple[Branch, ...]


class Finish(Struct, frozen=True):
    how: How
    body: bytes


def decide(config: Config, state: State) -> Call | Fork | Finish:
    """What happens next."""
    if state.over:
        return Finish(state.how, state.body)
    if not config.conductor:
        return Call(config.steps[state.step], state.body)
    if not state.next and state.step > 2 * LIMIT:
        return Finish(How.FAILED, error_body(TOO_LONG))
    return Fork(state.next, state.branches) if state.branches else Call(state.next, state.body)
