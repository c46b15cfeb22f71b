"""Queues and their messages. Bodies are text in JSON; what is not UTF-8 goes as base64."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from .. import actions as a
from ..clock import Clock
from ..errors import BadInput, Conflict, NotFound
from ..model.delivery import Destination
from ..model.trigger import Message, Queue, QueueStats, Received
from .endpoint import NAMESPACE, Ask, Endpoint, Fields
from .serve import show

Encoding = Literal["utf-8", "base64"]


class QueueBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a queue treats its messages."""

    visibility_s: Annotated[float, Meta(ge=0, le=43200, description="lease of a receiver who names no other")] = 30.0
    delay_s: Annotated[float, Meta(ge=0, le=30 * 86400)] = 0.0
    retention_s: Annotated[float, Meta(gt=0, le=366 * 86400)] = 4 * 86400.0
    max_receives: Annotated[int, Meta(ge=0, le=10_000, description="then a message is dead; 0: never")] = 0
    dead_letter: Destination | None = None
    max_bytes: Annotated[int, Meta(ge=1, le=16 << 20)] = 1 << 20
    fifo: bool = False
    dedup_s: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    content_dedup: bool = False
    labels: dict[str, str] = {}


class MessageBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message to be sent."""

    body: str
    encoding: Encoding = "utf-8"
    content_type: Annotated[str, Meta(max_length=256)] = "application/json"
    attributes: dict[str, str] = {}
    group: Annotated[str, Meta(max_length=256)] = ""
    dedup: Annotated[str, Meta(max_length=256)] = ""
    delay_s: Annotated[float, Meta(ge=0, le=30 * 86400)] | None = None


class SendBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages to be sent: all are taken, or none."""

    messages: Annotated[tuple[MessageBody, ...], Meta(min_length=1, max_length=1000)]


class ReceiveBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How many messages to take, and for how long."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1
    wait_s: Annotated[float, Meta(ge=0, le=60, description="for the first one")] = 0.0
    visibility_s: Annotated[float, Meta(ge=0, le=43200)] | None = None


class ReceiptsBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages that are dealt with."""

    receipts: Annotated[tuple[str, ...], Meta(max_length=1000)]


class ExtendBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages that are kept for longer, or given back (0)."""

    receipts: Annotated[tuple[str, ...], Meta(max_length=1000)]
    visibility_s: Annotated[float, Meta(ge=0, le=43200)]


class ReceivedMessage(Struct, kw_only=True):
    """A message in the hands of a receiver."""

    id: str
    receipt: str
    body: str
    encoding: Encoding
    content_type: str
    attributes: dict[str, str]
    group: str
    sent: float
    receives: int
    until: float


class Count(Struct, kw_only=True):
    """How many."""

    count: int


def count(number: int) -> Count:
    return Count(count=number)


def text(body: bytes) -> tuple[str, Encoding]:
    """Bytes as JSON carries them."""
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), "base64"


def _received(messages: tuple[Received, ...]) -> list[ReceivedMessage]:
    shown = []
    for one in messages:
        body, encoding = text(one.message.body)
        shown.append(
            ReceivedMessage(
                id=one.id,
                receipt=one.receipt,
                body=body,
                encoding=encoding,
                content_type=one.message.content_type,
                attributes=one.message.attributes,
                group=one.message.group,
                sent=one.sent,
                receives=one.receives,
                until=one.until,
            )
        )
    return shown


def _message(sent: MessageBody) -> Message:
    try:
        body = sent.body.encode() if sent.encoding == "utf-8" else base64.b64decode(sent.body, validate=True)
    except ValueError as error:
        raise BadInput(f"The body of a message is not {sent.encoding}: {error}.", field="$.messages") from None
    return Message(
        body=body,
        content_type=sent.content_type,
        attributes=sent.attributes,
        group=sent.group,
        dedup=sent.dedup,
        delay_s=sent.delay_s,
    )


async def _send(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    messages = tuple(_message(sent) for sent in fields.pop("messages"))
    return show(endpoint, await ask(a.SendMessages(messages=messages, **fields)))


_ONE = NAMESPACE + "/queues/{name}"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/queues",
        summary="List queues",
        action=a.ListQueues,
        query=("prefix",),
        gives=a.Page[Queue],
    ),
    Endpoint(method="GET", path=_ONE, summary="Show a queue", action=a.GetQueue, gives=Queue),
    Endpoint(
        method="PUT",
        path=_ONE,
        summary="Create or change a queue",
        action=a.PutQueue,
        body=QueueBody,
        gives=Queue,
        raises=(NotFound, Conflict),
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Delete a queue with its messages",
        action=a.DeleteQueue,
        raises=(NotFound, Conflict),
    ),
    Endpoint(method="GET", path=_ONE + "/stats", summary="Show how full a queue is", action=a.GetQueueStats, gives=QueueStats),
    Endpoint(
        method="POST",
        path=_ONE + "/send",
        summary="Send messages: on disk when this answers with their ids",
        action=a.SendMessages,
        body=SendBody,
        gives=tuple[str, ...],
        answer=_send,
    ),
    Endpoint(
        method="POST",
        path=_ONE + "/receive",
        summary="Take messages for a time",
        action=a.ReceiveMessages,
        body=ReceiveBody,
        gives=list[ReceivedMessage],
        view=_received,
    ),
    Endpoint(
        method="POST",
        path=_ONE + "/ack",
        summary="Say that messages are dealt with; false: the lease was lost",
        action=a.AckMessages,
        body=ReceiptsBody,
        gives=tuple[bool, ...],
    ),
    Endpoint(
        method="POST",
        path=_ONE + "/extend",
        summary="Keep messages for longer, or give them back",
        action=a.ExtendMessages,
        body=ExtendBody,
        gives=tuple[bool, ...],
    ),
    Endpoint(
        method="POST",
        path=_ONE + "/purge",
        summary="Drop all messages of a queue",
        action=a.PurgeQueue,
        gives=Count,
        view=count,
    ),
)
