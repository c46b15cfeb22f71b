"""Event source mappings: from a queue to a function."""

from __future__ import annotations

from typing import Any

from .call import Call
from .faults import invalid, missing
from .scope import Name


async def create(call: Call) -> dict[str, Any]:
    if not call.args.get("EventSourceArn"):
        raise invalid("Unrecognized event source.")
    named = call.name()
    if call.find(Name(named.name, "", named.account, named.region)) is None:
        raise invalid("Function does not exist")
    raise invalid("This operation is not supported by Dayfly.")


async def get(call: Call) -> dict[str, Any]:
    raise missing()


async def update(call: Call) -> dict[str, Any]:
    raise missing()


async def delete(call: Call) -> dict[str, Any]:
    raise missing()


async def list_all(call: Call) -> dict[str, Any]:
    return {"EventSourceMappings": []}
