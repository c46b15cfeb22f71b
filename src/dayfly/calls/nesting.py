"""Calls that functions make of functions.

A function shows who it is, and so which instance it is. What it calls is one step deeper than the deepest call that its instance is
running, and belongs to the same family: it cannot claim otherwise, as it could if it said so itself. Depth is bounded, against
circles, and so is the size of a family, against functions that call themselves twice. Asynchronous calls keep both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..actions import Invoke
from ..errors import Throttled
from ..model.identity import Identity
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
            if identity.instance and type(action) is Invoke and not action.root:
                self._place(action, identity)
            return await handler(action, identity)

        return bounded

    def _place(self, invoke: Invoke, identity: Identity) -> None:
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
        size = self._families.pop(root, 0) + 1
        self._families[root] = size  # the latest one
        if len(self._families) > FAMILIES:
            self._families.popitem(last=False)
        if size > MAX_FAMILY:
            raise Throttled(
                f"more than {MAX_FAMILY} calls have come of one call, {root}: {identity.name} is among those who make more",
                hint="Look for a function that calls itself more than once. A queue takes work of any size.",
                retry_after=60.0,
            )
        invoke.depth, invoke.root = depth, root
