"""What Lambda functions get from queues and from the ends of asynchronous calls: the core's events in AWS's words.

Destinations name a shape, and carry in `extra` what it must know: the ARN of the queue or function, the region.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...model.delivery import Delivered, Destination, Input, Shape
from ...model.function import Flavour
from .invoke import request_id
from .messages import attributes_md5, in_group, md5
from .record import LATEST

_encode = msgspec.json.encode


def as_sqs(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
    """Messages of a queue as an event of SQS (docs: "Using Lambda with Amazon SQS")."""
    return Input(body=_encode({"Records": [_message(to, one) for one in events]}))


def as_record(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
    """The end of an asynchronous call as a destination record (docs: "Capturing records of Lambda asynchronous invocations")."""
    told = msgspec.json.decode(events[0].event.data or b"{}")
    context = told.get("requestContext", {})
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": told.get("timestamp"),
        "requestContext": {
            "requestId": request_id(context.get("requestId", "")),
            "functionArn": to.extra.get("arn", "") + ":" + (to.extra.get("qualifier") or LATEST),
            "condition": context.get("condition"),
            "approximateInvokeCount": context.get("approximateInvokeCount"),
        },
        "requestPayload": told.get("requestPayload"),
    }
    if "responseContext" in told:
        response = dict(told["responseContext"]) | {"executedVersion": to.extra.get("qualifier") or LATEST, "statusCode": 200}
        record["responseContext"] = response
        record["responsePayload"] = told.get("responsePayload")
    return Input(body=_encode(record))


def as_letter(to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
    """The event of a call that was given up, and why as attributes (docs: "Adding a dead-letter queue"). The code is that of the
    answer: 200, since what dies here is what the function fails."""
    event = events[0].event
    told = {
        "RequestID": ("String", request_id(event.id)),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", str(event.attribute("error") or "")),
    }
    attributes = {name: json.dumps({"DataType": kind, "StringValue": value}) for name, (kind, value) in told.items() if value}
    return Input(body=event.data or b"", content_type=event.datacontenttype or "application/json", attributes=attributes)


SHAPES: Mapping[str, Shape] = {"sqs": as_sqs, "lambda-record": as_record, "lambda-letter": as_letter}


def _message(to: Destination, one: Delivered) -> dict[str, Any]:
    event = one.event
    body = event.data or b""
    text = body.decode("utf-8", "replace")
    identifier = request_id(one.id)
    told = event.attribute("messageattributes")
    attributes = json.loads(told) if isinstance(told, str) else {}
    system = {
        "ApproximateReceiveCount": str(one.attempt),
        "SentTimestamp": str(int(one.sent * 1000)),
        "SenderId": "AIDA" + "DAYFLY".ljust(17, "0"),
        "ApproximateFirstReceiveTimestamp": str(int((one.first or one.sent) * 1000)),
    }
    if one.key:
        system |= in_group(one.id, one.key, one.dedup, body)
    given = {name: json.loads(value) for name, value in attributes.items()}
    message = {
        "messageId": identifier,
        "receiptHandle": one.receipt or base64.b64encode(identifier.encode()).decode(),
        "body": text,
        "attributes": system,
        "messageAttributes": {name: _attribute(value) for name, value in given.items()},
        "md5OfBody": md5(body),
        "eventSource": "aws:sqs",
        "eventSourceARN": to.extra.get("queue", ""),
        "awsRegion": to.extra.get("region", ""),
    }
    if given:
        message["md5OfMessageAttributes"] = attributes_md5(given)
    return message


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value.get("DataType", "String")}
    for name, wire in (("StringValue", "stringValue"), ("BinaryValue", "binaryValue")):
        if name in value:
            shown[wire] = value[name]
    return shown
