"""Function URLs: their configuration."""

from __future__ import annotations

import re
import secrets
from typing import Any

from ...actions import DeleteDocument, PutDocument
from ...model.names import DEFAULT_NAMESPACE
from .call import Call, page
from .faults import AwsError, conflict, invalid, missing
from .record import LATEST, Record
from .scope import Name, now, stamp

KIND = "lambda/url"
_PATTERN = re.compile(r"(?!^\d+$)^[0-9a-zA-Z-_]+$")
_MEMBERS = ("AuthType", "Cors", "InvokeMode")


async def create(call: Call) -> dict[str, Any]:
    record, qualifier = _function(call)
    if qualifier in record.body["urls"]:
        raise conflict(
            f"Failed to create function url config for [functionArn = {record.arn(qualifier)}]. "
            "Error message:  FunctionUrlConfig exists for this Lambda function"
        )
    identifier = secrets.token_hex(16)
    port = call.head.host.rpartition(":")[2]
    host = "localhost" + (f":{port}" if port.isdigit() else "")
    moment = stamp(now())
    config = {
        "FunctionUrl": f"{call.head.scheme}://{identifier}.lambda-url.{record.scope.region}.{host}/",
        "FunctionArn": record.arn(qualifier),
        "CreationTime": moment,
        "LastModifiedTime": moment,
        "InvokeMode": "BUFFERED",
        "_id": identifier,
    } | {name: call.args[name] for name in _MEMBERS if name in call.args}
    record.body["urls"][qualifier] = config
    body = {"namespace": record.scope.namespace, "account": record.scope.account, "region": record.scope.region}
    body |= {"function": record.name, "qualifier": qualifier}
    await call.do(PutDocument(namespace=DEFAULT_NAMESPACE, kind=KIND, name=identifier, body=body))
    await record.save(call.do)
    return _answer(call, config)


async def get(call: Call) -> dict[str, Any]:
    return _config(call)[2]


async def update(call: Call) -> dict[str, Any]:
    _function(call)
    record, _, config = _config(call)
    config |= {name: call.args[name] for name in _MEMBERS if name in call.args}
    config["LastModifiedTime"] = stamp(now())
    await record.save(call.do)
    return _answer(call, config)


async def delete(call: Call) -> dict[str, Any]:
    record, qualifier, config = _config(call)
    del record.body["urls"][qualifier]
    await record.save(call.do)
    await call.do(DeleteDocument(namespace=DEFAULT_NAMESPACE, kind=KIND, name=config["_id"]))
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    record = call.find()
    if record is None:
        raise missing("Function does not exist")
    return page(list(record.body["urls"].values()), call.args, "FunctionUrlConfigs")


def _answer(call: Call, config: dict[str, Any]) -> dict[str, Any]:
    """What a change answers: a mode that was not asked for is told to readers only."""
    return {name: value for name, value in config.items() if name != "InvokeMode" or name in call.args}


def _function(call: Call) -> tuple[Record, str]:
    named = call.name()
    if named.qualifier == LATEST:
        raise invalid("$LATEST is not a valid qualifier for function URLs.")
    if named.qualifier and not _PATTERN.match(named.qualifier):
        pattern = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{named.qualifier}' at 'qualifier' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}",
            400,
        )
    record = call.find(Name(named.name, "", named.account, named.region))
    if record is None or not record.exists(named.qualifier):
        raise missing("Function does not exist")
    return record, named.qualifier


def _config(call: Call) -> tuple[Record, str, dict[str, Any]]:
    named = call.name()
    record = call.find(Name(named.name, "", named.account, named.region))
    if record is None or named.qualifier not in record.body["urls"]:
        raise missing()
    return record, named.qualifier, record.body["urls"][named.qualifier]
