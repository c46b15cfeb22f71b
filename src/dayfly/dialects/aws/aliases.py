"""Published versions and aliases."""

from __future__ import annotations

from typing import Any

from ...actions import DeleteAlias
from ...errors import NotFound
from . import versions
from .call import Call, page
from .faults import STALE, AwsError, conflict, invalid, missing
from .record import LATEST, Record, listed
from .scope import Name, new_uuid


async def publish_version(call: Call) -> dict[str, Any]:
    args = call.args
    record = call.record(Name(call.name().name, "", call.name().account, call.name().region))
    sha = args.get("CodeSha256")
    if sha and sha != record.latest["CodeSha256"]:
        raise invalid(
            f"CodeSHA256 ({sha}) is different from current CodeSHA256 in $LATEST ({record.latest['CodeSha256']}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )
    if args.get("RevisionId") and args["RevisionId"] != record.latest["RevisionId"]:
        raise AwsError("PreconditionFailedException", STALE)
    version = await versions.publish(call, record, args.get("Description", record.latest.get("Description", "")))
    await record.save(call.do)
    return version


async def list_versions(call: Call) -> dict[str, Any]:
    record = call.record()
    found = [listed(record.latest, record.arn(LATEST))]
    found += [listed(version, record.arn(number)) for number, version in record.body["versions"].items()]
    return page(found, call.args, "Versions")


async def create(call: Call) -> dict[str, Any]:
    args = call.args
    name, number = args["Name"], args["FunctionVersion"]
    named = call.name()
    record = call.find(named)
    if record is None:
        raise missing(f"Function not found: {call.scope.function_arn(named.name, number)}")
    weights = _weights(record, number, args.get("RoutingConfig"))
    if name in record.body["aliases"]:
        raise conflict(f"Alias already exists: {record.arn(name)}")
    alias = {
        "AliasArn": record.arn(name),
        "Name": name,
        "FunctionVersion": number,
        "Description": args.get("Description", ""),
        "RevisionId": new_uuid(),
    }
    if weights:
        alias["RoutingConfig"] = {"AdditionalVersionWeights": weights}
    record.body["aliases"][name] = alias
    await versions.point(call, record, alias)
    await record.save(call.do)
    return alias


async def get(call: Call) -> dict[str, Any]:
    return _alias(call)[1]


async def update(call: Call) -> dict[str, Any]:
    args = call.args
    record, alias = _alias(call)
    if args.get("RevisionId") and args["RevisionId"] != alias["RevisionId"]:
        raise AwsError("PreconditionFailedException", STALE)
    number = args.get("FunctionVersion", alias["FunctionVersion"])
    routing = args.get("RoutingConfig", alias.get("RoutingConfig"))
    weights = _weights(record, number, routing)
    alias |= {"FunctionVersion": number, "RevisionId": new_uuid()}
    if "Description" in args:
        alias["Description"] = args["Description"]
    alias.pop("RoutingConfig", None)
    if weights:
        alias["RoutingConfig"] = {"AdditionalVersionWeights": weights}
    await versions.point(call, record, alias)
    await record.save(call.do)
    return alias


async def delete(call: Call) -> dict[str, Any]:
    record = call.record()
    name = call.args["Name"]
    if record.body["aliases"].pop(name, None) is None:
        return {}
    for part in ("policies", "invoke_configs", "provisioned"):  # its URL stays, and is forbidden to all
        record.body[part].pop(name, None)
    await record.save(call.do)
    try:
        await call.do(DeleteAlias(namespace=record.scope.namespace, name=record.name, alias=name))
    except NotFound:
        pass
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    record = call.record()
    wanted = call.args.get("FunctionVersion")
    found = [
        alias
        for _, alias in sorted(record.body["aliases"].items())
        if wanted in (None, alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}))
    ]
    return page(found, call.args, "Aliases")


def _alias(call: Call) -> tuple[Record, dict[str, Any]]:
    named, name = call.name(), call.args["Name"]
    record = call.find(named)
    if record is None or name not in record.body["aliases"]:
        raise missing(f"Cannot find alias arn: {call.scope.function_arn(named.name, name)}")
    return record, record.body["aliases"][name]


def _weights(record: Record, number: str, routing: dict[str, Any] | None) -> dict[str, float]:
    """The checked further versions of an alias. Raises AwsError, also for a version that is not there."""
    weights: dict[str, float] = (routing or {}).get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if number in weights:
        raise invalid(
            f"Invalid function version {number}. Function version {number} is already included in routing configuration."
        )
    if weights and number == LATEST:
        raise invalid("$LATEST is not supported for an alias pointing to more than 1 version", untyped=True)
    for each in (number, *weights):
        if each != LATEST and each not in record.body["versions"]:
            raise missing(f"Function not found: {record.arn(each)}")
    return weights
