"""Reserved concurrency (a bound of the function) and provisioned concurrency (instances of a version that are always there)."""

from __future__ import annotations

from typing import Any

from ...actions import ListInstances, ReserveConcurrency
from ...model.instance import State
from . import versions
from .call import Call, page
from .faults import AwsError, invalid, missing
from .record import KIND, LATEST, Record
from .scope import Name, now, stamp

ACCOUNT_LIMIT = 1000  # calls at the same time
UNRESERVED = 100  # of them that stay for functions without a reservation
_FUNCTIONS_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)

_PUBLISHED_ONLY = "The function resource provided must be an alias or a published version."


async def put(call: Call) -> dict[str, Any]:
    record = _unqualified(call)
    wanted = call.args["ReservedConcurrentExecutions"]
    others = sum(
        document.body.get("reserved") or 0
        for document in call.view.documents(record.scope.namespace, KIND)
        if document.name != record.name
    )
    if wanted > ACCOUNT_LIMIT - UNRESERVED - others:
        raise invalid(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{UNRESERVED}].",
            untyped=True,
        )
    provisioned = sum(config["RequestedProvisionedConcurrentExecutions"] for config in record.body["provisioned"].values())
    if provisioned > wanted:
        raise invalid(
            f" ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned concurrency "
            f"[{provisioned}].",
            untyped=True,
        )
    record.body["reserved"] = wanted
    await record.save(call.do)
    await call.do(ReserveConcurrency(namespace=record.scope.namespace, name=record.name, limit=wanted))
    return {"ReservedConcurrentExecutions": wanted}


async def get(call: Call) -> dict[str, Any]:
    reserved = call.record().body.get("reserved")
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


async def delete(call: Call) -> dict[str, Any]:
    record = _unqualified(call)
    if record.body.pop("reserved", None) is not None:
        await record.save(call.do)
        await call.do(ReserveConcurrency(namespace=record.scope.namespace, name=record.name, limit=None))
    return {}


async def put_provisioned(call: Call) -> dict[str, Any]:
    wanted = call.args["ProvisionedConcurrentExecutions"]
    record, qualifier = _qualified(call, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    reserved = record.body.get("reserved")
    taken = sum(
        config["RequestedProvisionedConcurrentExecutions"]
        for other, config in record.body["provisioned"].items()
        if other != qualifier
    )
    if wanted > ACCOUNT_LIMIT:
        raise invalid(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{ACCOUNT_LIMIT}].",
            untyped=True,
        )
    if wanted > ACCOUNT_LIMIT - UNRESERVED:
        raise invalid(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
            f"value of [{UNRESERVED}].",
            untyped=True,
        )
    if reserved is not None and wanted + taken > reserved:
        raise invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
        )
    alias = record.body["aliases"].get(qualifier)
    number = alias["FunctionVersion"] if alias is not None else qualifier
    if alias is not None and number in record.body["provisioned"]:
        raise _conflict("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
    if alias is None and any(
        record.body["aliases"].get(name, {}).get("FunctionVersion") == number for name in record.body["provisioned"]
    ):
        raise _conflict("Version is pointed by a Provisioned Concurrency alias")
    config = {"RequestedProvisionedConcurrentExecutions": wanted, "LastModified": stamp(now())}
    record.body["provisioned"][qualifier] = config
    await _provide(call, record, number, wanted)
    await record.save(call.do)
    return _state(config, 0)


async def get_provisioned(call: Call) -> dict[str, Any]:
    record, qualifier = _qualified(call, _PUBLISHED_ONLY)
    config = record.body["provisioned"].get(qualifier)
    if config is None:
        raise _no_config()
    return _state(config, await _ready(call, record, qualifier))


async def delete_provisioned(call: Call) -> dict[str, Any]:
    record, qualifier = _qualified(call, _PUBLISHED_ONLY)
    if record.body["provisioned"].pop(qualifier, None) is not None:
        await _provide(call, record, record.version(qualifier)["Version"], 0)
        await record.save(call.do)
    return {}


async def list_provisioned(call: Call) -> dict[str, Any]:
    record = call.record()
    found = []
    for qualifier, config in record.body["provisioned"].items():
        ready = await _ready(call, record, qualifier)
        found.append(_state(config, ready) | {"FunctionArn": record.arn(qualifier)})
    return page(found, call.args, "ProvisionedConcurrencyConfigs")


async def _provide(call: Call, record: Record, number: str, count: int) -> None:
    """Give a version its instances: a revision of its own, which says how many there always are."""
    version = record.version(number)
    version["_provisioned"] = count
    await versions.deploy(call, record, version)
    await versions.repoint(call, record, number)


async def _ready(call: Call, record: Record, qualifier: str) -> int:
    """How many of the instances stand."""
    revision = record.version(qualifier)["_revision"]
    instances = await call.do(ListInstances(namespace=record.scope.namespace, function=record.name))
    return sum(info.revision == revision and info.state in (State.IDLE, State.BUSY) for info in instances.items)


def _state(config: dict[str, Any], ready: int) -> dict[str, Any]:
    wanted = config["RequestedProvisionedConcurrentExecutions"]
    done = ready >= wanted
    return config | {
        "AllocatedProvisionedConcurrentExecutions": min(ready, wanted),
        "AvailableProvisionedConcurrentExecutions": min(ready, wanted),
        "Status": "READY" if done else "IN_PROGRESS",
    }


def _unqualified(call: Call) -> Record:
    named = call.name()
    record = call.find(named)
    if record is None:
        raise missing(f"Function not found: {call.scope.function_arn(named.name, LATEST)}")
    if named.qualifier:
        raise invalid(_FUNCTIONS_ONLY)
    return record


def _qualified(call: Call, of_latest: str) -> tuple[Record, str]:
    """The function and the version or alias that is meant. Raises AwsError; for $LATEST, with this message."""
    named = call.name()
    if not named.qualifier:
        message = "1 validation error detected: Value null at 'qualifier' failed to satisfy constraint: Member must not be null"
        raise AwsError("ValidationException", message, 400)
    record = call.find(Name(named.name, "", named.account, named.region))
    if named.qualifier == LATEST:
        raise invalid(of_latest)
    if record is None:
        what = "Function not found" if named.qualifier.isdigit() else "Cannot find alias arn"
        raise missing(f"{what}: {call.scope.function_arn(named.name, named.qualifier)}")
    record.require(named.qualifier)
    return record, named.qualifier


def _conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message)


def _no_config() -> AwsError:
    return AwsError(
        "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function"
    )
