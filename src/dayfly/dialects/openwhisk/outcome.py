"""What came of a call, in OpenWhisk's four words: success, application error, action developer error, whisk internal error."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ... import errors as e
from ...model.call import FunctionError, Invocation, Status

SUCCESS, APPLICATION, DEVELOPER, INTERNAL = 0, 1, 2, 3
WORDS = ("success", "application error", "action developer error", "whisk internal error")
# How the response of a record begins, up to the result.
OPENINGS = tuple(
    b'{"status":"%b","success":%b,"result":' % (word.encode(), b"true" if word == WORDS[SUCCESS] else b"false")
    for word in WORDS
)
_check_json = msgspec.json.Decoder(msgspec.Raw).decode
INVALID = "The action did not produce a valid JSON or JSON Array response."
ABNORMAL_RUN = "The action did not produce a valid response and exited unexpectedly."
ABNORMAL_INIT = "The action did not initialize and exited unexpectedly."
EXHAUSTED = "The action exhausted its memory and was aborted."


class Outcome(Struct, frozen=True):
    """`code` 0 to 3; `result` is JSON text."""

    code: int
    result: bytes

    @property
    def ok(self) -> bool:
        return self.code == SUCCESS

    def response(self) -> dict[str, Any]:
        return {"status": WORDS[self.code], "success": self.ok, "result": msgspec.Raw(self.result)}

    def value(self) -> Any:
        return msgspec.json.decode(self.result)


def failed(code: int, message: str) -> Outcome:
    return Outcome(code, msgspec.json.encode({"error": message}))


def of_answer(body: bytes, limit: int) -> Outcome:
    """Of what an action returned: with a member `error` it is the application's error."""
    if len(body) > limit:
        return failed(
            APPLICATION, f"The action produced a response that exceeded the allowed length: {len(body)} > {limit} bytes."
        )
    try:
        if b'"error"' in body:
            value = msgspec.json.decode(body)
            if isinstance(value, dict) and "error" in value:
                return Outcome(APPLICATION, body)
        elif body:
            _check_json(body)
            if not body.isascii():
                body.decode()  # which the check leaves out
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return failed(DEVELOPER, INVALID)
    return Outcome(SUCCESS, body or b"{}")


def of_error(error: FunctionError) -> Outcome:
    """Of what user code raised, where its contract lets it through."""
    return failed(DEVELOPER, error.message or error.type)


def of_failure(error: e.DayflyError, timeout_ms: int) -> Outcome:
    """Of a call that the platform had to end."""
    if isinstance(error, e.TimedOut):
        return _of(Status.TIMED_OUT, error.kind, error.detail, timeout_ms)
    if isinstance(error, e.InitFailed):
        return _of(Status.INIT_FAILED, error.kind, error.detail, timeout_ms)
    status = Status.REJECTED if isinstance(error, e.Throttled | e.Unavailable | e.Internal) else Status.CRASHED
    return _of(status, error.kind, error.detail, timeout_ms)


def of_record(record: Invocation, timeout_ms: int, limit: int) -> Outcome:
    """Of a call that is on record."""
    if record.status is Status.OK:
        return of_answer(record.answer.encode(), limit)
    if record.answer:  # compositions keep what their last part said
        code = DEVELOPER if record.error_type == "developer" else APPLICATION
        return Outcome(code, record.answer.encode())
    if record.status is Status.ERROR and record.error_type != e.BadResponse.kind:
        return failed(DEVELOPER, record.error_message or record.error_type)
    return _of(record.status, record.error_type, record.error_message, timeout_ms)


def _of(status: Status, kind: str, detail: str, timeout_ms: int) -> Outcome:
    if status is Status.TIMED_OUT:
        return failed(DEVELOPER, f"The action exceeded its time limits of {timeout_ms} milliseconds.")
    if "out of memory" in detail:
        return failed(DEVELOPER, EXHAUSTED)
    if status is Status.INIT_FAILED:
        if "the instance ended while it was loaded" in detail:
            return failed(DEVELOPER, ABNORMAL_INIT)
        if "the code was not loaded within" in detail:
            limit = f"{timeout_ms} milliseconds during initialization"
            return failed(DEVELOPER, f"The action exceeded its time limits of {limit}.")
        return failed(DEVELOPER, f"Initialization has failed due to: {detail}")
    if kind == e.BadResponse.kind and "is larger than" in detail:
        return failed(DEVELOPER, f"The action produced a response that exceeded the allowed length: {detail}.")
    if kind == e.BadResponse.kind:
        return failed(DEVELOPER, f"The action did not produce a valid JSON or JSON Array response: {detail}")
    if status is Status.CANCELLED:
        return failed(DEVELOPER, "The action was cancelled.")
    if status in (Status.REJECTED, Status.DEAD):
        return failed(INTERNAL, detail or "The action was not run.")
    return failed(DEVELOPER, ABNORMAL_RUN)
