"""InvokeWithResponseStream: the answer as an event stream.

The framing is that of Smithy's event streams (https://smithy.io/2.0/aws/amazon-eventstream.html): a prelude of two lengths and their
CRC, headers, payload, and a CRC over all of it.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from ...actions import Invoke
from ...errors import DayflyError
from ...model.call import Result
from ...model.ids import new_id
from ..hook import Do, Head, Reply
from .crash import Crash, crash_of
from .invoke import Invocations, error_body, json_body, request_id

_encode = msgspec.json.encode


class Streams(Invocations):
    """The route of InvokeWithResponseStream."""

    def encode(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        whole = super().encode(head, invoke, result)
        if whole.status != 200:
            return whole
        headers = _headers(whole)
        if result.streaming:
            return Reply(200, headers)
        if result.error is not None:
            return Reply(200, headers, _complete(error_body(result), _log(whole)))
        body = json_body(result)
        chunk = event("PayloadChunk", "application/octet-stream", body) if body else b""
        return Reply(200, headers, chunk + _complete(b"", _log(whole)))

    @staticmethod
    def failed(whole: Reply) -> Reply:
        """What Invoke answers to a call whose environment failed, as an event stream."""
        return Reply(200, _headers(whole), _complete(whole.body, _log(whole)))

    async def _explained(self, invoke: Invoke, error: DayflyError, do: Do) -> Reply:
        return self.failed(await super()._explained(invoke, error, do))

    @staticmethod
    def frame(data: bytes, end: bool, error: DayflyError | None) -> bytes:
        """A piece of an answer that streams, and its end."""
        framed = event("PayloadChunk", "application/octet-stream", data) if data else b""
        if not end:
            return framed
        if error is None:
            return framed + _complete(b"", {})
        crash = crash_of(error) or Crash("Runtime.Unknown", error.detail)
        return framed + _complete(crash.body(request_id(error.invocation or new_id())), {})


def _complete(details: bytes, log: dict[str, str]) -> bytes:
    """The last event. `details`: of the error, if one is why it is the last."""
    told = {"ErrorCode": _code(details), "ErrorDetails": details.decode()} if details else {}
    return event("InvokeComplete", "application/json", _encode(log | told))


def _log(whole: Reply) -> dict[str, str]:
    log = dict(whole.headers).get("x-amz-log-result")
    return {"LogResult": log} if log is not None else {}


def _code(details: bytes) -> str:
    """The type of an error that the function's own runtime may have worded."""
    try:
        return str(msgspec.json.decode(details)["errorType"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "Runtime.Unknown"


def _headers(whole: Reply) -> list[tuple[str, str]]:
    kept = ("x-amzn-requestid", "x-amz-executed-version")
    return [
        *(field for field in whole.headers if field[0] in kept),
        ("content-type", "application/vnd.amazon.eventstream"),
    ]


def event(kind: str, content_type: str, payload: bytes) -> bytes:
    """One event."""
    headers = b"".join(_header(name, value) for name, value in (
        (":event-type", kind), (":content-type", content_type), (":message-type", "event"),
    ))  # fmt: skip
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(encoded)) + encoded
