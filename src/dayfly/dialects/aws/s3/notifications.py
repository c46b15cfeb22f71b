"""Who hears of objects that come and go: functions and queues, by a bucket's notification configuration.

What is to be told is on disk before the change is answered, so who was answered can rely on it: it is an asynchronous call, or a message
in a queue. https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import fnmatch
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import msgspec

from .... import actions as a
from ....errors import Forbidden, NotFound
from ....model.bucket import Object
from ....model.call import Mode
from ....model.ids import new_id
from ....model.trigger import Message
from ...hook import Reply
from ..faults import AwsError
from ..record import find
from ..scope import function_name, now, place
from ..visible import Visible
from .operation import body_of
from .request import Request

KIND = "aws/notifications"
_CREATED = {"PutObject": "Put", "CopyObject": "Copy", "CompleteMultipartUpload": "CompleteMultipartUpload"}


async def put(call: Request) -> Reply:
    """Raises AwsError where a function or a queue is not there."""
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    asked = body_of(call.operation, await call.upload.document()).get("NotificationConfiguration") or {}
    if asked.get("TopicConfigurations") or "EventBridgeConfiguration" in asked:
        raise AwsError("NotImplemented", "Notifications go to functions and queues here, not to topics nor EventBridge.", 501)
    for each in (*asked.get("LambdaFunctionConfigurations", ()), *asked.get("QueueConfigurations", ())):
        each.setdefault("Id", new_id())
        try:
            await _require(call, each)
        except NotFound:
            raise AwsError("InvalidArgument", "Unable to validate the following destination configurations", 400) from None
    await call.do(a.PutDocument(namespace=call.namespace, kind=KIND, name=call.bucket, body=asked))
    return call.reply({})


async def get(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    document = call.view.document(call.namespace, KIND, call.bucket)
    return call.reply(document.body if document is not None else {})


async def forget(call: Request) -> None:
    """The bucket is gone."""
    if call.view.document(call.namespace, KIND, call.bucket) is not None:
        await call.do(a.DeleteDocument(namespace=call.namespace, kind=KIND, name=call.bucket))


async def created(call: Request, made: Object) -> None:
    """Tell of an object that was just written."""
    await _tell(call, f"ObjectCreated:{_CREATED[call.operation.name]}", call.key, {"size": made.size, "eTag": made.etag})


async def removed(call: Request, *keys: str) -> None:
    for key in keys:
        await _tell(call, "ObjectRemoved:Delete", key, {})


async def _tell(call: Request, event: str, key: str, about: dict[str, Any]) -> None:
    document = call.view.document(call.namespace, KIND, call.bucket)
    if document is None:
        return
    for kind in ("LambdaFunctionConfigurations", "QueueConfigurations"):
        for each in document.body.get(kind, ()):
            if not _wants(each, event, key):
                continue
            body = msgspec.json.encode({"Records": [_record(call, each["Id"], event, key, about)]})
            try:
                await call.do(_call(call, each, body) if "LambdaFunctionArn" in each else _message(call, each, body))
            except (NotFound, Forbidden, AwsError):
                pass  # it has gone since, or takes no calls from who changed the object: as at AWS, nobody is told


def _wants(configured: dict[str, Any], event: str, key: str) -> bool:
    if not any(fnmatch.fnmatchcase(f"s3:{event}", pattern) for pattern in configured.get("Events", ())):
        return False
    for rule in configured.get("Filter", {}).get("Key", {}).get("FilterRules", ()):
        value = rule.get("Value", "")
        if not (key.startswith(value) if rule.get("Name", "").lower() == "prefix" else key.endswith(value)):
            return False
    return True


def _record(call: Request, configuration: str, event: str, key: str, about: dict[str, Any]) -> dict[str, Any]:
    moment = now()
    identity = call.head.identity
    owner = {"principalId": call.scope.account}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": call.scope.region,
        "eventTime": datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": event,
        "userIdentity": {"principalId": identity.name if identity is not None else "local"},
        "requestParameters": {"sourceIPAddress": call.head.peer},
        "responseElements": {"x-amz-request-id": new_id().upper(), "x-amz-id-2": new_id()},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {"name": call.bucket, "ownerIdentity": owner, "arn": f"arn:aws:s3:::{call.bucket}"},
            "object": {"key": quote_plus(key, safe="/"), **about, "sequencer": f"{int(moment * 1e6):016X}"},
        },
    }


def _call(call: Request, configured: dict[str, Any], body: bytes) -> a.Invoke:
    named = function_name(configured["LambdaFunctionArn"])
    where = place(call.scope, named)
    record = find(call.view, where, named.name)
    qualifier = record.core_qualifier(named.qualifier) if record is not None and named.qualifier else ""
    return a.Invoke(
        namespace=where.namespace,
        function=named.name,
        qualifier=qualifier,
        mode=Mode.ASYNC,
        body=body,
        invocation=new_id(),
    )


def _message(call: Request, configured: dict[str, Any], body: bytes) -> a.SendMessages:
    name = configured["QueueArn"].rpartition(":")[2]
    return a.SendMessages(namespace=call.namespace, name=name, messages=(Message(body=body, content_type="application/json"),))


async def _require(call: Request, configured: dict[str, Any]) -> None:
    """Raises NotFound."""
    if "QueueArn" in configured:
        await call.do(a.GetQueue(namespace=call.namespace, name=configured["QueueArn"].rpartition(":")[2]))
        return
    named = function_name(configured.get("LambdaFunctionArn", ""))
    record = find(Visible(call.view, call.head.identity), place(call.scope, named), named.name)
    if record is None or not record.exists(named.qualifier):
        raise NotFound(f"there is no function {named.name}")
