"""One control operation under way: its arguments, where it applies, and how to perform actions for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from ...actions import PutNamespace
from ...model.names import DEFAULT_NAMESPACE
from ..hook import Do, Head, View
from .faults import missing
from .record import Record, find
from .scope import Name, Scope, function_name, place


class Call(Struct, frozen=True):
    head: Head
    scope: Scope
    args: dict[str, Any]
    do: Do
    view: View

    def name(self) -> Name:
        """The function that is meant, and its qualifier. Raises AwsError."""
        return function_name(self.args["FunctionName"], self.args.get("Qualifier") or "")

    def find(self, name: Name | None = None) -> Record | None:
        named = name or self.name()
        return find(self.view, place(self.scope, named), named.name)

    def record(self, name: Name | None = None, *, message: str = "") -> Record:
        """What is kept of the function. Raises ResourceNotFoundException."""
        named = name or self.name()
        found = self.find(named)
        if found is None:
            arn = place(self.scope, named).function_arn(named.name, named.qualifier)
            raise missing(message or f"Function not found: {arn}")
        return found

    def existing(self, message: str) -> Record:
        """The record of the function, if its qualifier exists, too; else ResourceNotFoundException with this message."""
        named = self.name()
        record = self.find(Name(named.name, "", named.account, named.region))
        if record is None or not record.exists(named.qualifier):
            raise missing(message)
        return record

    async def prepare(self) -> None:
        """Have the namespace, before something is put there."""
        if self.scope.namespace != DEFAULT_NAMESPACE:
            await self.do(PutNamespace(namespace=self.scope.namespace))


Perform = Callable[[Call], Awaitable[dict[str, Any]]]


def page(items: list[Any], args: dict[str, Any], key: str, *, default: int = 50, marker: str = "NextMarker") -> dict[str, Any]:
    """A piece of a list, as `Marker` and `MaxItems` ask for; the marker is the number of items before it."""
    given = str(args.get("Marker") or "")
    start = int(given) if given.isdecimal() and len(given) < 10 else 0
    size = args.get("MaxItems") or default
    result: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        result[marker] = str(start + size)
    return result
