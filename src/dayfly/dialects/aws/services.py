"""The other services of the endpoint: those that tools for Lambda call on the way. Their requests come to `/`.

A request says which service it is for in the scope of its signature, else in `X-Amz-Target` or by its `Action`. Two protocols are spoken:
JSON (an object, the operation in X-Amz-Target) and Query (a form, the answer in XML).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import msgspec

from ... import __version__
from ...model.ids import new_id
from ..hook import Do, Head, Params, Reply, Route, View
from . import cloudformation, iam, logs, sqs, sts
from .call import Call, Perform
from .faults import AwsError
from .invoke import request_id
from .s3 import api as s3
from .scope import scope_of
from .visible import Visible

QUERY: dict[str, dict[str, Perform]] = {"sts": sts.PERFORMED, "iam": iam.PERFORMED, "cloudformation": cloudformation.PERFORMED}
JSON: dict[str, dict[str, Perform]] = {"logs": logs.PERFORMED, "sqs": sqs.PERFORMED}
_TARGETS = {"Logs_20140328": "logs", "AmazonSQS": "sqs"}
# What SQS called its errors when it spoke Query: SDKs still tell users these names.
_QUERY_CODES = {"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"}
_NAMESPACES = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "cloudformation": "http://cloudformation.amazonaws.com/doc/2010-05-15/",
}


def routes(view: View) -> list[Route]:
    async def root(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        if scope_of(head).service == "s3":  # a bucket and a key look like an account and a queue
            return await s3.perform(head, _whole(body), do, view)
        return await _perform(head, body, do, view)

    async def health(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        running = dict.fromkeys(("lambda", "s3", *QUERY, *JSON), "running")
        text = msgspec.json.encode({"services": running, "edition": "dayfly", "version": __version__})
        return Reply(200, [("content-type", "application/json")], text)

    async def other(head: Head, params: Params, body: AsyncIterator[bytes], do: Do) -> Reply:
        service = scope_of(head).service
        if service == "s3":
            return await s3.perform(head, body, do, view)
        if service in ("", "lambda"):
            raise AwsError("UnknownOperationException", "There is no operation of this path.", 404)
        raise not_offered(service)

    return [
        Route(method="*", path="/{path...}", receive=other),
        Route(method="*", path="/", receive=other),
        Route(method="*", path="/{bucket}/{key}", receive=other),
        Route(method="POST", path="/{account}/{queue}", handle=root, body_bytes=16 << 20),  # the URL of a queue
        Route(method="POST", path="/", handle=root, body_bytes=16 << 20),
        Route(method="GET", path="/_localstack/health", handle=health),
        Route(method="GET", path="/health", handle=health),
    ]


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _perform(head: Head, body: bytes, do: Do, view: View) -> Reply:
    service, operation = _asked(head, body)
    visible = Visible(view, head.identity)
    table = JSON.get(service) or QUERY.get(service)
    if table is None:
        raise not_offered(service)
    perform = table.get(operation)
    if perform is None:
        code = "UnknownOperationException" if service in JSON else "InvalidAction"
        raise AwsError(code, f"The action {operation} is not valid for this endpoint.", 400)
    if service in JSON:
        try:
            args = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise AwsError("SerializationException", str(error), 400) from None
        result = await perform(Call(head, scope_of(head), args, do, visible))
        headers = [("content-type", "application/x-amz-json-1.1"), ("x-amzn-requestid", request_id(new_id()))]
        return Reply(200, headers, msgspec.json.encode(result))
    args = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    result = await perform(Call(head, scope_of(head), args, do, visible))
    identifier = request_id(new_id())
    text = (
        f'<{operation}Response xmlns="{_NAMESPACES[service]}"><{operation}Result>{_xml(result)}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{identifier}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Reply(200, [("content-type", "text/xml"), ("x-amzn-requestid", identifier)], text.encode())


def not_offered(service: str) -> AwsError:
    return AwsError("UnknownOperationException", f"The service {service or '?'} is not offered by Dayfly.", 501)


def _asked(head: Head, body: bytes) -> tuple[str, str]:
    """Service and operation of a request to `/`."""
    target, _, operation = head.get(b"x-amz-target").rpartition(".")
    if target:
        return _TARGETS.get(target, scope_of(head).service or target), operation
    if b"Action=" in body[:65536]:
        action = dict(parse_qsl(body.decode("utf-8", "replace"))).get("Action", "")
        service = scope_of(head).service
        return service or ("sts" if action in sts.PERFORMED else "iam"), action
    return scope_of(head).service, ""


def failure(head: Head, error: AwsError) -> Reply:
    """An error of a service at `/`, in the protocol that was spoken."""
    status = error.status_code or 400
    identifier = request_id(new_id())
    if head.get(b"content-type").startswith("application/x-www-form-urlencoded"):
        kind = "Receiver" if status >= 500 else "Sender"
        text = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"</Error><RequestId>{identifier}</RequestId></ErrorResponse>"
        )
        return Reply(status, [("content-type", "text/xml"), ("x-amzn-requestid", identifier)], text.encode())
    headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amzn-requestid", identifier),
        ("x-amzn-errortype", error.code),
    ]
    if error.code in _QUERY_CODES:
        headers.append(("x-amzn-query-error", f"{_QUERY_CODES[error.code]};Sender"))
    return Reply(status, headers, msgspec.json.encode({"__type": error.code, "message": error.message}))


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(item)}</{name}>" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return "".join(f"<member>{_xml(item)}</member>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))
