"""Calls that functions make of functions.

A function shows who it is, and so which instance it is. What it calls is one step deeper than the deepest call that its instance is
running: it cannot claim less, as it could if it said so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..actions import Invoke
from ..errors import Throttled
from ..model.identity import Identity
from .call import Call

MAX_DEPTH = 32  # functions that call functions that ...

Check = Callable[[Invoke, Identity], None]


def nested(check: Check, active: Callable[[], Iterable[Call]]) -> Check:
    """`check`, and then the depth of a call that a function makes. Raises Throttled where that is too deep."""

    def checked(invoke: Invoke, identity: Identity) -> None:
        check(invoke, identity)
        if not identity.instance:
            return
        depths = [call.invoke.depth for call in active() if call.instance is not None and call.instance.id == identity.instance]
        invoke.depth = 1 + max(depths, default=0)
        if invoke.depth > MAX_DEPTH:
            raise Throttled(
                f"{identity.name} is {MAX_DEPTH} calls deep: functions call each other in a circle",
                hint="Look for the function that calls itself, by way of others maybe.",
                retry_after=1.0,
            )

    return checked
