"""Event source mappings: a trigger of the core that takes the messages of a queue in batches and calls a function with them.

Queues are what can be mapped. A mapping of another source (streams, brokers) is refused.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ...actions import DeleteDocument, DeleteTrigger, GetQueue, PauseTrigger, PutDocument, PutTrigger, ResumeTrigger
from ...errors import DayflyError, NotFound
from ...model.delivery import Destination, Policy
from ...model.trigger import Source
from .call import Call, page
from .faults import AwsError, conflict, invalid, missing
from .record import Record
from .scope import Name, function_name, new_uuid, now

KIND = "lambda/mapping"
CONCURRENCY = 5  # batches at the same time, where nothing is said
_MEMBERS = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FunctionResponseTypes",
    "ScalingConfig",
    "FilterCriteria",
    "MetricsConfig",
)
_OF_STREAMS = (
    "StartingPosition",
    "ParallelizationFactor",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "TumblingWindowInSeconds",
    "DestinationConfig",
)
_PATTERNS = 5  # filters of a mapping
_CHANGES = {("Disabled", "Enabled"): "Enabling", ("Enabled", "Disabled"): "Disabling"}


async def create(call: Call) -> dict[str, Any]:
    args = call.args
    arn = args.get("EventSourceArn")
    if not arn:
        raise invalid("Unrecognized event source.")
    named = call.name()
    record = call.find(Name(named.name, "", named.account, named.region))
    if record is None or not record.exists(named.qualifier):
        raise invalid("Function does not exist")
    if ":sqs:" not in arn:
        raise invalid(
            f"Unrecognized event source, must be sqs. Dayfly does not offer {arn.split(':')[2] if ':' in arn else arn}."
        )
    for name in _OF_STREAMS:
        if args.get(name):
            raise invalid(f"{name} is not valid for SQS event sources.")
    queue = await _queue(call, arn)
    if queue is None:
        raise invalid(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist."
        )
    for document in call.view.documents(call.scope.namespace, KIND):
        if document.body["EventSourceArn"] == arn and document.body["FunctionArn"] == record.arn(named.qualifier):
            raise conflict(
                f'An event source mapping with SQS arn (" {arn} ") and function (" {record.name} ") already exists. '
                f"Please update or delete the existing mapping with UUID {document.name}"
            )
    identifier = new_uuid()
    mapping: dict[str, Any] = {
        "UUID": identifier,
        "EventSourceArn": arn,
        "EventSourceMappingArn": call.scope.arn(f"event-source-mapping:{identifier}"),
        "FunctionArn": record.arn(named.qualifier),
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "StateTransitionReason": "USER_INITIATED",
        "LastModified": now(),
        "_tags": args.get("Tags", {}),
    } | {name: args[name] for name in _MEMBERS if name in args}
    mapping["State"] = "Enabled" if args.get("Enabled", True) else "Disabled"
    await _apply(call, mapping, record, named.qualifier)
    return mapping | ({"State": "Creating"} if mapping["State"] == "Enabled" else {})


async def get(call: Call) -> dict[str, Any]:
    return _find(call)


async def update(call: Call) -> dict[str, Any]:
    mapping, args = _find(call), call.args
    named = function_name(args["FunctionName"]) if args.get("FunctionName") else function_name(mapping["FunctionArn"])
    record = call.find(Name(named.name, "", named.account, named.region))
    if record is None:
        raise invalid("Function does not exist")
    mapping |= {name: args[name] for name in _MEMBERS if name in args}
    mapping |= {"FunctionArn": record.arn(named.qualifier), "LastModified": now()}
    before = mapping["State"]
    if args.get("Enabled") is not None:
        mapping["State"] = "Enabled" if args["Enabled"] else "Disabled"
    await _apply(call, mapping, record, named.qualifier)
    return mapping | {"State": _CHANGES.get((before, mapping["State"]), "Updating")}


async def delete(call: Call) -> dict[str, Any]:
    mapping = _find(call)
    await call.do(DeleteDocument(namespace=call.scope.namespace, kind=KIND, name=mapping["UUID"]))
    try:
        await call.do(DeleteTrigger(namespace=call.scope.namespace, name=_trigger(mapping)))
    except NotFound:
        pass
    return mapping | {"State": "Deleting"}


async def list_all(call: Call) -> dict[str, Any]:
    found = []
    wanted = call.args.get("FunctionName")
    named = function_name(wanted) if wanted else None
    for document in call.view.documents(call.scope.namespace, KIND):
        own = function_name(document.body["FunctionArn"])
        if named is not None and (own.name != named.name or (named.qualifier and own.qualifier != named.qualifier)):
            continue
        if call.args.get("EventSourceArn") in (None, document.body["EventSourceArn"]):
            found.append(dict(document.body))
    return page(found, call.args, "EventSourceMappings", default=100)


async def _apply(call: Call, mapping: dict[str, Any], record: Record, qualifier: str) -> None:
    """Give the core its trigger, and keep the mapping."""
    batch, window = mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]
    arn = mapping["EventSourceArn"]
    fifo = arn.endswith(".fifo")
    if fifo and window:
        raise invalid("Batching window is not supported for FIFO queues")
    if fifo and batch > 10:
        raise invalid("The batch size for FIFO queues must be between 1 and 10.")
    if batch > 10 and not window:
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
    queue = await _queue(call, arn)
    visibility = queue.visibility_s if queue is not None else 30.0
    timeout = record.version(qualifier)["Timeout"]
    if visibility < timeout:
        raise invalid(f"Queue visibility timeout: {visibility:g} seconds is less than Function timeout: {timeout} seconds")
    concurrency = mapping.get("ScalingConfig", {}).get("MaximumConcurrency", CONCURRENCY)
    space = call.scope.namespace
    target = Destination(
        kind="function",
        name=record.name,
        qualifier=record.core_qualifier(qualifier) if qualifier else "",
        shape="sqs",
        extra={"queue": arn, "region": record.scope.region},
    )
    delivery = Policy(
        batch=batch,
        batch_window_s=float(window),
        partial="ReportBatchItemFailures" in mapping["FunctionResponseTypes"],
        concurrency=concurrency,
        delays_s=(visibility,),
        jitter=0.0,
    )
    name = _trigger(mapping)
    try:
        await call.do(
            PutTrigger(
                namespace=space,
                name=name,
                target=target,
                source=Source(kind="queue", settings={"queue": arn.rpartition(":")[2]}),
                filters=_filters(mapping.get("FilterCriteria", {})),
                delivery=delivery,
                description=f"Event source mapping of {record.name}",
            )
        )
        stopped = mapping["State"] == "Disabled"
        await call.do((PauseTrigger if stopped else ResumeTrigger)(namespace=space, name=name))
    except DayflyError as error:
        if isinstance(error, AwsError):
            raise
        raise invalid(error.detail) from None
    await call.do(PutDocument(namespace=space, kind=KIND, name=mapping["UUID"], body=mapping))


def _filters(criteria: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Filter criteria as filters of the core: of several patterns, any. They look at the body of a message."""
    patterns = [each.get("Pattern") for each in criteria.get("Filters", [])]
    if len(patterns) > _PATTERNS:
        raise invalid(f"Invalid filter criteria: at most {_PATTERNS} filters.")
    found = []
    for text in patterns:
        try:
            pattern = json.loads(text)
        except (TypeError, ValueError):
            raise invalid("Invalid filter pattern definition.") from None
        if not isinstance(pattern, dict):
            raise invalid("Invalid filter pattern definition.")
        if set(pattern) - {"body"}:
            raise invalid("Invalid filter pattern definition. Dayfly filters messages by their body.")
        if pattern:
            found.append({"pattern": {"data": pattern["body"]}})
    return ({"any": found},) if len(found) > 1 else tuple(found)


async def _queue(call: Call, arn: str) -> Any:
    try:
        return await call.do(GetQueue(namespace=call.scope.namespace, name=arn.rpartition(":")[2]))
    except DayflyError:
        return None


def _find(call: Call) -> dict[str, Any]:
    document = call.view.document(call.scope.namespace, KIND, call.args["UUID"])
    if document is None:
        raise missing()
    body: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document.body))
    return body


def _trigger(mapping: dict[str, Any]) -> str:
    return f"esm-{mapping['UUID']}"
