"""One instance as the pool sees it: a box, its state and its free slots."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ..model.instance import TRANSITIONS, IllegalTransition, InstanceInfo, State
from ..sandbox.port import Box, Exit, Ready

if TYPE_CHECKING:
    from .group import Group, Waiter

AHEAD: Final = 3  # calls that wait in an instance's socket at most


class Instance:
    """Moves through `State`; an illegal move raises. Its group hears of readiness and of the end."""

    __slots__ = (
        "ahead",
        "box",
        "calls",
        "created",
        "created_mono",
        "follows",
        "freezes",
        "fresh",
        "frozen",
        "group",
        "id",
        "idle_since",
        "inflight",
        "init_s",
        "measured",
        "memory_kb",
        "ready_mono",
        "room_ahead",
        "since",
        "slots",
        "state",
        "used",
        "watched",
    )

    def __init__(self, identifier: str, group: Group, slots: int, now: float, monotonic: float) -> None:
        self.id = identifier
        self.group = group
        self.slots = slots  # calls it may run at the same time
        self.state = State.STARTING
        self.inflight = 0
        self.calls = 0
        self.ahead: deque[Waiter] = deque()  # calls in its socket that it has not begun
        self.room_ahead = 0  # how many it takes
        self.follows = False  # whether the call it runs was sent ahead: nobody saw it begin
        self.since = monotonic  # when it was given a call last
        self.fresh = True  # no call has been given to it yet: the next one is the cold one
        self.created = now
        self.created_mono = monotonic
        self.ready_mono = 0.0
        self.idle_since = monotonic
        self.init_s = 0.0
        self.memory_kb = 0
        self.measured = 0.0  # monotonic; when `memory_kb` was
        self.used = 0.0  # the evictor's clock when a call ended here last
        self.freezes = group.config.freeze_s > 0  # while it is idle, by the pool's hand
        self.frozen = False
        self.watched = False  # whether `frost` has it on its list
        self.box: Box  # set by the group as soon as the sandbox has made it

    def move(self, state: State) -> None:
        """Change state; raises IllegalTransition on a move that does not exist."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"instance {self.id} cannot go from {self.state} to {state}")
        self.state = state

    def on_ready(self, ready: Ready) -> None:
        self.init_s = ready.init_s
        if ready.freezes:
            self.freezes = False  # it does so by itself
        self.room_ahead = min(ready.ahead, AHEAD)
        self.group.on_ready(self)

    def on_exit(self, exit: Exit) -> None:
        self.group.on_exit(self, exit)

    def info(self) -> InstanceInfo:
        revision = self.group.revision
        return InstanceInfo(
            id=self.id,
            namespace=revision.namespace,
            function=revision.function,
            revision=revision.number,
            state=self.state,
            created=self.created,
            calls=self.calls,
            inflight=self.inflight,
            memory_kb=self.memory_kb,
        )
