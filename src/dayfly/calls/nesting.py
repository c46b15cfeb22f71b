"""Calls that functions make of functions.

A function shows who it is, and so which instance it is. What it calls is one step deeper than the deepest call that its instance is
running, and belongs to the same family: it cannot claim otherwise, as it could if it said so itself. Depth is bounded, against
circles, and so is the size of a family, against functions that call themselves twice. Asynchronous calls keep both, and so do events
and messages: a function that publishes what triggers it is called one step deeper each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from msgspec.structs import replace

from ..actions import FireTrigger, Invoke, PublishEvents, SendMessages
from ..errors import Throttled
from ..model.event import Event
from ..model.identity import Identity
from ..model.trigger import Message
from .call import Call

MAX_DEPTH = 32  # functions that call functions that ...
MAX_FAMILY = 10_000  # calls that come of one call from outside
FAMILIES = 4096  # that are remembered, the latest ones

Check = Callable[[Invoke, Identity], None]
Handler = Callable[[Any, Identity], Awaitable[Any]]


class Nesting:
    """`check` first asks the check that it is given, and then bounds what functions call."""

    def __init__(self, check: Check, active: Callable[[], Iterable[Call]]) -> None:
        self._check = check
        self._active = active
        self._families: OrderedDict[str, int] = OrderedDict()  # calls, by the id of the call from outside

    def check(self, invoke: Invoke, identity: Identity) -> None:
        """Raises Throttled where calls are nested too deep, or come of one call in too great a number."""
        self._check(invoke, identity)
        if identity.instance and not invoke.root:
            self._place(invoke, identity)

    def guard(self, handler: Handler) -> Handler:
        """Middleware of the façade, for functions that call by way of the control API of some dialect."""

        async def bounded(action: Any, identity: Identity) -> Any:
            kind = type(action)
            if kind is Invoke and identity.instance and not action.root:
                self._place(action, identity)
            elif kind in (PublishEvents, FireTrigger):
                action = replace(action, events=self._events(action.events, identity))
            elif kind is SendMessages:
                action = replace(action, messages=self._messages(action.messages, identity))
            return await handler(action, identity)

        return bounded

    def _place(self, invoke: Invoke, identity: Identity) -> None:
        invoke.depth, invoke.root = self._next(identity, 1)

    def _events(self, events: tuple[Event, ...], identity: Identity) -> tuple[Event, ...]:
        if not identity.instance:  # what comes from outside belongs to no family
            return tuple(event.within(event.hops, "") if event.root else event for event in events)
        depth, root = self._next(identity, len(events))
        return tuple(event.within(depth, root) for event in events)

    def _messages(self, messages: tuple[Message, ...], identity: Identity) -> tuple[Message, ...]:
        depth, root = self._next(identity, len(messages)) if identity.instance else (0, "")
        return tuple(replace(message, hops=depth, root=root) for message in messages)

    def _next(self, identity: Identity, count: int) -> tuple[int, str]:
        """How deep what an instance makes is, and what family it belongs to, which grows by `count`. Raises Throttled."""
        mine = [
            call.invoke
            for call in self._active()
            if call.instance is not None and call.instance.id == identity.instance and not call.ahead
        ]
        parent = max(mine, key=lambda one: one.depth, default=None)
        # Between its calls an instance may still run, and calls on an account of its own.
        root = (parent.root or parent.invocation) if parent is not None else identity.instance
        depth = 1 + (parent.depth if parent is not None else 0)
        if depth > MAX_DEPTH:
            raise Throttled(
                f"{identity.name} is {MAX_DEPTH} calls deep: functions call each other in a circle",
                hint="Look for the function that calls itself, by way of others maybe.",
                retry_after=1.0,
            )
        size = self._families.pop(root, 0) + count
        self._families[root] = size  # the latest one
        if len(self._families) > FAMILIES:
            self._families.popitem(last=False)
        if size > MAX_FAMILY:
            raise Throttled(
                f"more than {MAX_FAMILY} calls have come of one call, {root}: {identity.name} is among those who make more",
                hint="Look for a function that calls itself more than once. A queue takes work of any size.",
                retry_after=60.0,
            )
        return depth, root
