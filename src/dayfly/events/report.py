"""What destinations are told of a delivery that ended: a record as an event, and whom it goes to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ..actions import Invoke
from ..model.call import Result
from ..model.event import Event
from ..model.ids import new_id
from .retry import End, State

SUCCEEDED: Final = "dev.dayfly.delivery.succeeded"
FAILED: Final = "dev.dayfly.delivery.failed"
ERROR: Final = 1024  # characters
PAYLOAD: Final = 256 << 10  # bytes of an input or answer that a record carries


def report(call: Invoke | None, events: list[Event], end: End, result: Result | None, *, namespace: str, trigger: str) -> Event:
    """The record of an end. Its data has the members that AWS Lambda's destination records have, as far as they apply:
    version, timestamp, requestContext, requestPayload, responseContext, responsePayload."""
    identifier = new_id()
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    context: dict[str, Any] = {
        "requestId": call.invocation if call is not None else identifier,
        "namespace": namespace,
        "function": call.function if call is not None else "",
        "qualifier": call.qualifier if call is not None else "",
        "condition": end.condition,
        "approximateInvokeCount": end.attempt,
    }
    if trigger:
        context["trigger"] = trigger
    record: dict[str, Any] = {"version": "1.0", "timestamp": now, "requestContext": context}
    if call is not None:
        record["requestPayload"] = payload(call.body)
    if events:
        record["events"] = [{"id": event.id, "source": event.source, "type": event.type} for event in events]
    if result is not None:
        response: dict[str, Any] = {"statusCode": result.status, "executedVersion": str(result.revision)}
        if result.error is not None:
            response["functionError"] = "Unhandled"
            record["responsePayload"] = {"errorType": result.error.type, "errorMessage": result.error.message}
        else:
            record["responsePayload"] = payload(result.body)
        record["responseContext"] = response
    elif end.reason:
        record["reason"] = end.reason
    where = f"functions/{call.function}" if call is not None else f"triggers/{trigger}"
    return Event(
        id=identifier,
        source=f"/namespaces/{namespace}/{where}",
        type=SUCCEEDED if end.state is State.DONE else FAILED,
        subject=context["requestId"],
        time=now,
        datacontenttype="application/json",
        data=msgspec.json.encode(record),
    )


def why_dead(end: End, result: Result | None) -> str:
    """What a function raised last, or else why it was given up, as an attribute of an event: on one line, of at most 1,024 characters."""
    said = result.error.message if result is not None and result.error is not None else end.reason or str(end.condition)
    return "".join(each if each.isprintable() else " " for each in said[:ERROR])


def payload(body: bytes) -> Any:
    """JSON as it is, else text; nothing of what is too large."""
    if not body or len(body) > PAYLOAD:
        return None
    try:
        msgspec.json.decode(body)
        return msgspec.Raw(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")
