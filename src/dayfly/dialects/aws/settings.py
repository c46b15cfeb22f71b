"""Account settings, and what a function has besides: runtime management, recursion."""

from __future__ import annotations

from typing import Any

from .call import Call
from .concurrency import ACCOUNT_LIMIT
from .faults import invalid
from .functions import UNZIPPED
from .layers import KIND as LAYER
from .record import KIND

ZIPPED = 52_428_800  # bytes of a package in a request
STORAGE = 80_530_636_800  # bytes of all packages


async def account(call: Call) -> dict[str, Any]:
    bodies = [document.body for document in call.view.documents(call.scope.namespace, KIND)]
    size = sum(version["CodeSize"] for body in bodies for version in (body["latest"], *body["versions"].values()))
    for document in call.view.documents(call.scope.namespace, LAYER):
        size += sum(version["Content"]["CodeSize"] for version in document.body["versions"].values())
    reserved = sum(body.get("reserved") or 0 for body in bodies)
    return {
        "AccountLimit": {
            "TotalCodeSize": STORAGE,
            "CodeSizeUnzipped": UNZIPPED,
            "CodeSizeZipped": ZIPPED,
            "ConcurrentExecutions": ACCOUNT_LIMIT,
            "UnreservedConcurrentExecutions": ACCOUNT_LIMIT - reserved,
        },
        "AccountUsage": {"TotalCodeSize": size, "FunctionCount": len(call.view.functions(call.scope.namespace))},
    }


async def put_runtime_management(call: Call) -> dict[str, Any]:
    named, record, args = call.name(), call.record(), call.args
    record.require(named.qualifier)
    update = args["UpdateRuntimeOn"]
    if update == "Manual" and not args.get("RuntimeVersionArn"):
        raise invalid("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
    if update != "Manual" and args.get("RuntimeVersionArn"):
        raise invalid("RuntimeVersionArn is only supported when UpdateRuntimeOn is Manual.")
    config = {"UpdateRuntimeOn": update, "FunctionArn": record.arn(named.qualifier)}
    if args.get("RuntimeVersionArn"):
        config["RuntimeVersionArn"] = args["RuntimeVersionArn"]
    record.body.setdefault("runtime_management", {})[named.qualifier] = config
    await record.save(call.do)
    return config


async def get_runtime_management(call: Call) -> dict[str, Any]:
    named, record = call.name(), call.record()
    record.require(named.qualifier)
    config: dict[str, Any] | None = record.body.get("runtime_management", {}).get(named.qualifier)
    return config or {"UpdateRuntimeOn": "Auto", "FunctionArn": record.arn(named.qualifier)}


async def put_recursion(call: Call) -> dict[str, Any]:
    record = call.record()
    record.body["recursion"] = call.args["RecursiveLoop"]
    await record.save(call.do)
    return {"RecursiveLoop": record.body["recursion"]}


async def get_recursion(call: Call) -> dict[str, Any]:
    return {"RecursiveLoop": call.record().body.get("recursion", "Terminate")}
