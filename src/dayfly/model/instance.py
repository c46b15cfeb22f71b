"""An instance: one sandbox that runs one revision. Its life is an explicit state machine."""

from __future__ import annotations

import enum

from msgspec import Struct


class State(enum.StrEnum):
    STARTING = "starting"  # sandbox and user code are being loaded
    IDLE = "idle"
    BUSY = "busy"  # at least one call under way
    DRAINING = "draining"  # takes no new call; ends with its last one
    STOPPED = "stopped"  # gone


TRANSITIONS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.IDLE, State.BUSY, State.DRAINING, State.STOPPED}),
    State.IDLE: frozenset({State.BUSY, State.STOPPED}),
    State.BUSY: frozenset({State.IDLE, State.DRAINING, State.STOPPED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


class IllegalTransition(AssertionError):
    """An instance was asked for a change of state that does not exist: a fault in the pool."""


class InstanceInfo(Struct, frozen=True, kw_only=True):
    """An instance as the API shows it."""

    id: str
    namespace: str
    function: str
    revision: int
    state: State
    created: float  # seconds since the epoch
    calls: int
    inflight: int
    memory_kb: int = 0
