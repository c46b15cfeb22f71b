"""SQS over the platform's queues, as far as Lambda needs it: a queue of that name, its messages, its dead-letter queue."""

from __future__ import annotations

import json
from typing import Any

from ...actions import (
    AckMessages,
    DeleteQueue,
    ExtendMessages,
    GetQueue,
    GetQueueStats,
    ListQueues,
    PurgeQueue,
    PutQueue,
    ReceiveMessages,
    SendMessages,
)
from ...errors import NotFound
from ...model.delivery import Destination
from ...model.trigger import Message, Queue, Received
from .call import Call, Perform
from .faults import AwsError
from .invoke import request_id
from .messages import attributes_md5, in_group, md5, sequence
from .scope import Scope

_ATTRIBUTES = "dayfly/sqs:"  # labels of a queue that hold attributes of its own


async def create_queue(call: Call) -> dict[str, Any]:
    name = call.args["QueueName"]
    await call.prepare()
    try:
        await _queue(call, name)
    except AwsError:
        await _put(call, name, call.args.get("Attributes") or {}, {})
    return {"QueueUrl": _url(call, name)}


async def get_queue_url(call: Call) -> dict[str, Any]:
    queue = await _queue(call, call.args["QueueName"])
    return {"QueueUrl": _url(call, queue.name)}


async def list_queues(call: Call) -> dict[str, Any]:
    try:
        found = await call.do(ListQueues(namespace=call.scope.namespace, prefix=call.args.get("QueueNamePrefix") or ""))
    except NotFound:  # a region where nothing has been put yet
        return {}
    return {"QueueUrls": [_url(call, queue.name) for queue in found.items]}


async def delete_queue(call: Call) -> dict[str, Any]:
    await call.do(DeleteQueue(namespace=call.scope.namespace, name=(await _named(call)).name))
    return {}


async def purge_queue(call: Call) -> dict[str, Any]:
    await call.do(PurgeQueue(namespace=call.scope.namespace, name=(await _named(call)).name))
    return {}


async def get_attributes(call: Call) -> dict[str, Any]:
    queue = await _named(call)
    stats = await call.do(GetQueueStats(namespace=call.scope.namespace, name=queue.name))
    shown = {
        "QueueArn": queue_arn(call.scope, queue.name),
        "VisibilityTimeout": f"{queue.visibility_s:.0f}",
        "DelaySeconds": f"{queue.delay_s:.0f}",
        "MessageRetentionPeriod": f"{queue.retention_s:.0f}",
        "MaximumMessageSize": str(queue.max_bytes),
        "ReceiveMessageWaitTimeSeconds": "0",
        "ApproximateNumberOfMessages": str(stats.waiting),
        "ApproximateNumberOfMessagesNotVisible": str(stats.held),
        "ApproximateNumberOfMessagesDelayed": str(stats.delayed),
        "CreatedTimestamp": f"{queue.created:.0f}",
        "LastModifiedTimestamp": f"{queue.updated:.0f}",
        **{name.removeprefix(_ATTRIBUTES): value for name, value in queue.labels.items() if name.startswith(_ATTRIBUTES)},
    }
    if queue.fifo:
        shown |= {"FifoQueue": "true", "ContentBasedDeduplication": str(queue.content_dedup).lower()}
    wanted = call.args.get("AttributeNames") or []
    return {"Attributes": shown if "All" in wanted else {name: value for name, value in shown.items() if name in wanted}}


async def set_attributes(call: Call) -> dict[str, Any]:
    queue = await _named(call)
    await _put(call, queue.name, call.args.get("Attributes") or {}, dict(queue.labels), queue)
    return {}


async def send(call: Call) -> dict[str, Any]:
    queue = await _named(call)
    message = _message(queue, call.args)
    (identifier,) = await call.do(SendMessages(namespace=call.scope.namespace, name=queue.name, messages=(message,)))
    return _sent(call.args, identifier, queue.fifo)


async def send_batch(call: Call) -> dict[str, Any]:
    queue, entries = await _named(call), call.args["Entries"]
    messages = tuple(_message(queue, entry) for entry in entries)
    ids = await call.do(SendMessages(namespace=call.scope.namespace, name=queue.name, messages=messages))
    sent = [_sent(entry, identifier, queue.fifo) | {"Id": entry["Id"]} for entry, identifier in zip(entries, ids, strict=True)]
    return {"Successful": sent, "Failed": []}


async def receive(call: Call) -> dict[str, Any]:
    args, queue = call.args, await _named(call)
    visibility = args.get("VisibilityTimeout")
    taken = await call.do(
        ReceiveMessages(
            namespace=call.scope.namespace,
            name=queue.name,
            limit=min(10, args.get("MaxNumberOfMessages") or 1),
            wait_s=min(20.0, float(args.get("WaitTimeSeconds") or 0)),
            visibility_s=None if visibility is None else float(visibility),
        )
    )
    return {"Messages": [_received(one, args) for one in taken]} if taken else {}


async def delete(call: Call) -> dict[str, Any]:
    queue = await _named(call)
    await call.do(AckMessages(namespace=call.scope.namespace, name=queue.name, receipts=(call.args["ReceiptHandle"],)))
    return {}


async def delete_batch(call: Call) -> dict[str, Any]:
    queue, entries = await _named(call), call.args["Entries"]
    receipts = tuple(entry["ReceiptHandle"] for entry in entries)
    await call.do(AckMessages(namespace=call.scope.namespace, name=queue.name, receipts=receipts))
    return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}


async def change_visibility(call: Call) -> dict[str, Any]:
    queue = await _named(call)
    await call.do(
        ExtendMessages(
            namespace=call.scope.namespace,
            name=queue.name,
            receipts=(call.args["ReceiptHandle"],),
            visibility_s=float(call.args["VisibilityTimeout"]),
        )
    )
    return {}


async def nothing(call: Call) -> dict[str, Any]:
    """Tags: accepted where the queue exists."""
    await _named(call)
    return {}


def queue_arn(scope: Scope, name: str) -> str:
    return scope.arn(name, "sqs")


async def _put(call: Call, name: str, given: dict[str, str], labels: dict[str, str], old: Queue | None = None) -> None:
    """Create or change a queue. What the core has no word for is kept as it is, and shown again."""
    known = {"VisibilityTimeout", "DelaySeconds", "MessageRetentionPeriod", "FifoQueue", "ContentBasedDeduplication"}
    labels |= {_ATTRIBUTES + key: value for key, value in given.items() if key not in known}
    redrive = json.loads(given.get("RedrivePolicy") or labels.get(_ATTRIBUTES + "RedrivePolicy") or "{}")
    target = str(redrive.get("deadLetterTargetArn", "")).rpartition(":")[2]
    await call.do(
        PutQueue(
            namespace=call.scope.namespace,
            name=name,
            visibility_s=float(given.get("VisibilityTimeout", old.visibility_s if old else 30)),
            delay_s=float(given.get("DelaySeconds", old.delay_s if old else 0)),
            retention_s=float(given.get("MessageRetentionPeriod", old.retention_s if old else 4 * 86400)),
            max_receives=int(redrive.get("maxReceiveCount", 0)),
            dead_letter=Destination(kind="queue", name=target, shape="data") if target else None,
            fifo=given.get("FifoQueue", "").lower() == "true" or (old is not None and old.fifo),
            content_dedup=given.get("ContentBasedDeduplication", "").lower() == "true"
            or (old is not None and old.content_dedup),
            labels=labels,
        )
    )


async def _named(call: Call) -> Queue:
    return await _queue(call, str(call.args.get("QueueUrl", "")).rpartition("/")[2])


async def _queue(call: Call, name: str) -> Queue:
    try:
        found: Queue = await call.do(GetQueue(namespace=call.scope.namespace, name=name))
    except NotFound:
        raise AwsError("QueueDoesNotExist", "The specified queue does not exist.", 400) from None
    return found


def _url(call: Call, name: str) -> str:
    return f"{call.head.scheme}://{call.head.host}/{call.scope.account}/{name}"


def _message(queue: Queue, args: dict[str, Any]) -> Message:
    body = str(args["MessageBody"]).encode()
    try:
        json.loads(body)
        kind = "application/json"
    except ValueError:
        kind = "text/plain; charset=utf-8"
    delay = args.get("DelaySeconds")
    return Message(
        body=body,
        content_type=kind,
        attributes={name: json.dumps(value) for name, value in (args.get("MessageAttributes") or {}).items()},
        group=args.get("MessageGroupId", "") if queue.fifo else "",
        dedup=args.get("MessageDeduplicationId", ""),
        delay_s=None if delay is None else float(delay),
    )


def _sent(args: dict[str, Any], identifier: str, fifo: bool) -> dict[str, Any]:
    sent = {"MessageId": request_id(identifier), "MD5OfMessageBody": md5(str(args["MessageBody"]).encode())}
    if args.get("MessageAttributes"):
        sent["MD5OfMessageAttributes"] = attributes_md5(args["MessageAttributes"])
    if fifo:
        sent["SequenceNumber"] = sequence(identifier)
    return sent


def _received(one: Received, args: dict[str, Any]) -> dict[str, Any]:
    body = one.message.body
    shown: dict[str, Any] = {
        "MessageId": request_id(one.id),
        "ReceiptHandle": one.receipt,
        "MD5OfBody": md5(body),
        "Body": body.decode("utf-8", "replace"),
    }
    system = {
        "ApproximateReceiveCount": str(one.receives),
        "SentTimestamp": str(int(one.sent * 1000)),
        "ApproximateFirstReceiveTimestamp": str(int(one.first * 1000)),
        "SenderId": "AIDA" + "DAYFLY".ljust(17, "0"),
    }
    if one.message.group:
        system |= in_group(one.id, one.message.group, one.message.dedup, body)
    wanted = [*(args.get("AttributeNames") or []), *(args.get("MessageSystemAttributeNames") or [])]
    chosen = system if "All" in wanted else {name: value for name, value in system.items() if name in wanted}
    if chosen:
        shown["Attributes"] = chosen
    names = args.get("MessageAttributeNames") or []
    attributes = {
        name: json.loads(value)
        for name, value in one.message.attributes.items()
        if "All" in names or ".*" in names or name in names
    }
    if attributes:
        shown["MessageAttributes"] = attributes
        shown["MD5OfMessageAttributes"] = attributes_md5(attributes)
    return shown


PERFORMED: dict[str, Perform] = {
    "CreateQueue": create_queue,
    "GetQueueUrl": get_queue_url,
    "ListQueues": list_queues,
    "DeleteQueue": delete_queue,
    "PurgeQueue": purge_queue,
    "GetQueueAttributes": get_attributes,
    "SetQueueAttributes": set_attributes,
    "SendMessage": send,
    "SendMessageBatch": send_batch,
    "ReceiveMessage": receive,
    "DeleteMessage": delete,
    "DeleteMessageBatch": delete_batch,
    "ChangeMessageVisibility": change_visibility,
    "TagQueue": nothing,
    "UntagQueue": nothing,
    "ListQueueTags": nothing,
}
