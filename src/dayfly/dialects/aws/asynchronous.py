"""How asynchronous calls of a function are tried again, how old they may get, and where their outcome goes."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from ...actions import DeleteAsyncConfig, PutAsyncConfig
from ...errors import NotFound
from ...model.delivery import Destination, Kind
from .call import Call, page
from .faults import invalid, missing
from .record import LATEST, Record
from .scope import Name, function_name, now

_NOBODY = "The function doesn't exist."
_SERVICES = ("lambda", "sqs", "sns", "events", "s3")


async def put(call: Call) -> dict[str, Any]:
    return await _save(call, _told(call), {})


async def update(call: Call) -> dict[str, Any]:
    return await _save(call, _told(call), dict(_config(call)[1]))


async def get(call: Call) -> dict[str, Any]:
    return _config(call)[1]


async def delete(call: Call) -> dict[str, Any]:
    record, _ = _config(call)
    qualifier = call.name().qualifier or LATEST
    del record.body["invoke_configs"][qualifier]
    await record.save(call.do)
    try:
        address = {"function": record.name, "qualifier": record.core_qualifier(qualifier)}
        await call.do(DeleteAsyncConfig(namespace=record.scope.namespace, **address))
    except NotFound:
        pass
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    record = call.existing(_NOBODY)
    configs = [config for _, config in sorted(record.body["invoke_configs"].items())]
    return page(configs, call.args, "FunctionEventInvokeConfigs")


def _told(call: Call) -> Record:
    """The function, if the request says anything about it. Raises AwsError."""
    if not any(name in call.args for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
        raise invalid("You must specify at least one of error handling or destination setting.")
    return call.existing(_NOBODY)


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
    await apply(call, record, qualifier)
    return config


async def apply(call: Call, record: Record, qualifier: str) -> None:
    """Tell the core: what is kept here, and the dead-letter target of the function's configuration. Targets that are not there
    (another account's, a service that is not offered) stay in the configuration, and get nothing."""
    config = record.body["invoke_configs"].get(qualifier, {})
    destinations = config.get("DestinationConfig", {})
    retries = config.get("MaximumRetryAttempts")
    age = config.get("MaximumEventAgeInSeconds")
    letter = record.version(qualifier).get("DeadLetterConfig", {}).get("TargetArn")
    extra = {"arn": record.arn(), "qualifier": "" if qualifier == LATEST else qualifier}
    put = PutAsyncConfig(
        namespace=record.scope.namespace,
        function=record.name,
        qualifier=record.core_qualifier(qualifier),
        max_attempts=None if retries is None else retries + 1,
        max_age_s=None if age is None else float(age),
        on_success=_destination(destinations.get("OnSuccess", {}).get("Destination"), extra),
        on_failure=_destination(destinations.get("OnFailure", {}).get("Destination"), extra),
        dead_letter=_destination(letter, {}),
    )
    try:
        await call.do(put)
    except NotFound:
        await call.do(replace(put, on_success=None, on_failure=None, dead_letter=None))


def _destination(arn: str | None, extra: dict[str, str]) -> Destination | None:
    kinds: dict[str, Kind] = {"lambda": "function", "sqs": "queue", "sns": "topic", "events": "broker"}
    kind = kinds.get(arn.split(":")[2]) if arn else None
    if arn is None or kind is None:
        return None
    shape = "lambda-record" if extra else "lambda-letter"
    if kind == "function":
        named = function_name(arn)
        return Destination(kind=kind, name=named.name, qualifier=named.qualifier, shape=shape, extra=extra)
    return Destination(kind=kind, name=re.split("[:/]", arn)[-1], shape=shape, extra=extra)


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
