"""How asynchronous calls of a function are tried again, how old they may get, and where their outcome goes."""

from __future__ import annotations

import re
from typing import Any

from .call import Call, page
from .faults import invalid, missing
from .functions import exists_or
from .record import LATEST, Record
from .scope import Name, function_name, now

_NOBODY = "The function doesn't exist."
_SERVICES = ("lambda", "sqs", "sns", "events", "s3")


async def put(call: Call) -> dict[str, Any]:
    record = exists_or(call, _NOBODY)
    if not any(name in call.args for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
        raise invalid("You must specify at least one of error handling or destination setting.")
    return await _save(call, record, {})


async def update(call: Call) -> dict[str, Any]:
    record = exists_or(call, _NOBODY)
    if not any(name in call.args for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
        raise invalid("You must specify at least one of error handling or destination setting.")
    return await _save(call, record, dict(_config(call)[1]))


async def get(call: Call) -> dict[str, Any]:
    return _config(call)[1]


async def delete(call: Call) -> dict[str, Any]:
    record, _ = _config(call)
    del record.body["invoke_configs"][call.name().qualifier or LATEST]
    await record.save(call.do)
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    record = exists_or(call, _NOBODY)
    return page(list(record.body["invoke_configs"].values()), call.args, "FunctionEventInvokeConfigs")


def _config(call: Call) -> tuple[Record, dict[str, Any]]:
    named = call.name()
    qualifier = named.qualifier or LATEST
    record = call.find(Name(named.name, "", named.account, named.region))
    if record is None or qualifier not in record.body["invoke_configs"]:
        arn = call.scope.function_arn(named.name, qualifier)
        raise missing(f"The function {arn} doesn't have an EventInvokeConfig")
    return record, record.body["invoke_configs"][qualifier]


async def _save(call: Call, record: Record, config: dict[str, Any]) -> dict[str, Any]:
    qualifier = call.name().qualifier or LATEST
    for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
        if name in call.args:
            config[name] = call.args[name]
    if "DestinationConfig" in call.args:
        _check(call, record, call.args["DestinationConfig"])
    destinations = config.get("DestinationConfig", {}) | call.args.get("DestinationConfig", {})
    config |= {
        "FunctionArn": record.arn(qualifier),
        "LastModified": now(),
        "DestinationConfig": {name: _target(destinations.get(name, {})) for name in ("OnSuccess", "OnFailure")},
    }
    record.body["invoke_configs"][qualifier] = config
    await record.save(call.do)
    return config


def _target(destination: dict[str, Any]) -> dict[str, Any]:
    return {"Destination": destination["Destination"]} if destination.get("Destination") else {}


def _check(call: Call, record: Record, destinations: dict[str, Any]) -> None:
    for name in ("OnSuccess", "OnFailure"):
        arn = destinations.get(name, {}).get("Destination")
        if not arn:
            continue
        service = arn.split(":")[2] if arn.count(":") >= 5 else ""
        if service not in _SERVICES:
            shown = {
                each: f"{each}(destination={destinations[each]['Destination']})" if destinations.get(each) else "null"
                for each in ("OnSuccess", "OnFailure")
            }
            raise invalid(
                f"The provided destination config DestinationConfig(onSuccess={shown['OnSuccess']}, onFailure={shown['OnFailure']}) "
                "is invalid."
            )
        if service == "lambda":
            if not re.search(r":function:", arn):
                raise invalid(f"The destination ARN {arn} is invalid.")
            named = function_name(arn)
            if named.name == record.name:
                raise invalid("You can't specify the function as a destination for itself.")
            if call.find(named) is None:
                raise invalid(f"The destination ARN {arn} is invalid.")
