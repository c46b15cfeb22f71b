"""Invoke, on the fast lane: decode, encode, and Lambda's words for what goes wrong in a call."""

from __future__ import annotations

import base64
import binascii
import math
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ... import errors as e
from ...actions import Invoke
from ...model.call import Mode, Result
from ...model.ids import new_id
from ..hook import Head, Params, Reply, View
from .faults import AwsError
from .profile import ASYNC_LIMIT
from .record import LATEST, Record, find
from .scope import function_name, place, scope_of

TAIL = 4096  # bytes of log
_TYPES = ("RequestResponse", "Event", "DryRun")
_OF_PLATFORM = ("Extension.", "Runtime.ExitError", "Runtime.InvalidEntrypoint")  # kinds of errors that no runtime described
_encode = msgspec.json.encode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class DryRun(e.DayflyError):
    """Nothing was to be done"""

    status = 204
    kind = "dry-run"


class Invocations:
    """The routes that call functions. `view` is all they look at."""

    def __init__(self, view: View) -> None:
        self._view = view

    def decode(self, head: Head, params: Params, body: bytes) -> Invoke:
        """The call that Invoke asks for."""
        fields = dict(head.headers)
        scope = scope_of(head)
        qualifier = _qualifier(head.query) if head.query else ""
        named = function_name(params["FunctionName"], qualifier)
        where = place(scope, named)
        record = find_light(self._view, where.namespace, named.name)
        client: dict[str, Any] = {}
        core = ""
        if record is None:
            if self._view.function(where.namespace, named.name) is None:
                raise _missing(where.function_arn(named.name, named.qualifier))
            if named.qualifier and named.qualifier != LATEST:
                core = named.qualifier
        elif named.qualifier:
            full = find(self._view, where, named.name)
            assert full is not None
            core = full.core_qualifier(named.qualifier)
            client["arn"] = where.function_arn(named.name, named.qualifier)
        if not client and (where.region, where.account) != (scope.region, scope.account):
            client["arn"] = where.function_arn(named.name)
        kind = fields.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin-1")
        if kind not in _TYPES:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(_TYPES)}]",
                400,
            )
        if body:
            _require_json(body)
        if kind == "DryRun":
            raise DryRun("")
        if kind == "Event" and len(body) > ASYNC_LIMIT:
            raise _too_large(len(body), "Event", ASYNC_LIMIT)
        if fields.get(b"x-amz-log-type") == b"Tail":
            client["tail"] = True
        if b"x-amz-client-context" in fields:
            client["context"] = _context(fields[b"x-amz-client-context"])
        if b"x-amzn-trace-id" in fields:
            client["trace"] = fields[b"x-amzn-trace-id"][:512].decode("latin-1")
        if b"x-amz-tenant-id" in fields:
            client["tenant"] = fields[b"x-amz-tenant-id"][:256].decode("latin-1")
        return Invoke(
            namespace=where.namespace,
            function=named.name,
            qualifier=core,
            mode=Mode.ASYNC if kind == "Event" else Mode.SYNC,
            body=body or b"{}",
            invocation=new_id(),
            client=_encode(client).decode() if client else "",
        )

    def encode(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        headers = [("x-amzn-requestid", request_id(result.invocation)), ("content-type", "application/json")]
        if invoke.mode is not Mode.SYNC:
            return Reply(202, headers)
        headers.append(("x-amz-executed-version", self._executed(head, invoke, result.revision)))
        if '"tail"' in invoke.client:
            headers.append(("x-amz-log-result", _tail(invoke, result, self._view)))
        if result.error is not None:
            headers.append(("x-amz-function-error", "Unhandled"))
            return Reply(200, headers, error_body(result))
        return Reply(200, headers, json_body(result))

    def encode_old(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        """InvokeAsync, which AWS calls deprecated."""
        return Reply(
            202, [("x-amzn-requestid", request_id(result.invocation)), ("content-type", "application/json")], b'{"Status":202}'
        )

    def decode_old(self, head: Head, params: Params, body: bytes) -> Invoke:
        invoke = self.decode(head, params, body)
        invoke.mode = Mode.ASYNC
        return invoke

    def _executed(self, head: Head, invoke: Invoke, revision: int) -> str:
        document = find_light(self._view, invoke.namespace, invoke.function)
        if document is None or document["latest"]["_revision"] == revision:
            return LATEST
        return Record(scope_of(head), invoke.function, document, 0).executed(revision)

    @staticmethod
    def fault(error: e.DayflyError) -> Reply | None:
        """An outcome of a call that is no answer of the function, where Lambda makes one of it."""
        identifier = request_id(error.invocation or new_id())
        headers = [("x-amzn-requestid", identifier), ("content-type", "application/json")]
        if isinstance(error, DryRun):
            return Reply(204, headers)
        body = crash_body(error, identifier)
        if body is None:
            return None
        headers += [("x-amz-executed-version", LATEST), ("x-amz-function-error", "Unhandled")]
        return Reply(200, headers, body)


def crash_body(error: e.DayflyError, identifier: str) -> bytes | None:
    """What Lambda answers when the function's environment failed; None if the call never got there."""
    if isinstance(error, e.TimedOut):
        seconds = error.members.get("timeout_s", 0.0)
        assert isinstance(seconds, float)
        return _encode(
            {
                "errorType": "Sandbox.Timedout",
                "errorMessage": f"RequestId: {identifier} Error: Task timed out after {seconds:.2f} seconds",
            }
        )
    if isinstance(error, e.InitFailed | e.InstanceDied):
        kind, payload = error.members.get("error_type"), error.members.get("payload")
        if payload:
            return str(payload).encode()
        if kind:
            message = error.detail.removeprefix(f"{kind}: ")
            if str(kind).startswith(_OF_PLATFORM):
                return _encode({"errorType": kind, "errorMessage": f"RequestId: {identifier} Error: {message}"})
            trace = error.members.get("trace") or []
            return _encode({"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": trace})
        return _encode({"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {identifier} Error: {_ending(error)}"})
    if isinstance(error, e.BadResponse):
        members = error.members
        return _encode(
            {
                "errorType": members.get("error_type", "Runtime.Unknown"),
                "errorMessage": members.get("error_message", error.detail),
            }
        )
    return None


def _ending(error: e.DayflyError) -> str:
    signal, status = error.members.get("signal"), error.members.get("exit_status")
    if signal:
        names = {9: "killed", 11: "segmentation fault (core dumped)", 6: "aborted (core dumped)", 15: "terminated"}
        return f"Runtime exited with error: signal: {names.get(int(str(signal)), signal)}"
    if status:
        return f"Runtime exited with error: exit status {status}"
    return "Runtime exited without providing a reason"


def error_body(result: Result) -> bytes:
    """What the function raised, as Lambda words it."""
    error = result.error
    assert error is not None
    if error.payload:
        return error.payload.encode()
    return _encode({"errorMessage": error.message, "errorType": error.type, "stackTrace": list(error.trace)})


def json_body(result: Result) -> bytes:
    """The answer as a payload. Functions of other contracts answer text and bytes, too: those become a JSON string."""
    kind = next((value for name, value in result.headers if name == "content-type"), "application/json")
    if kind.startswith("text/"):
        return _encode(result.body.decode("utf-8", "replace"))
    return result.body


def find_light(view: View, namespace: str, name: str) -> dict[str, Any] | None:
    """The document of a function, not to be changed; None if there is none, or no such function."""
    document = view.document(namespace, "lambda/function", name)
    return document.body if document is not None and view.function(namespace, name) is not None else None


def request_id(invocation: str) -> str:
    """An invocation's id as AWS writes request ids."""
    return f"{invocation[:8]}-{invocation[8:12]}-{invocation[12:16]}-{invocation[16:20]}-{invocation[20:]}"


def report(identifier: str, run_s: float, memory_mb: int, peak_kb: int, init_s: float, status: str = "") -> str:
    """The REPORT line."""
    milliseconds = run_s * 1000
    line = (
        f"REPORT RequestId: {identifier}\tDuration: {milliseconds:.2f} ms\tBilled Duration: {max(1, math.ceil(milliseconds))} ms\t"
        f"Memory Size: {memory_mb} MB\tMax Memory Used: {max(1, peak_kb // 1024)} MB\t"
    )
    if init_s:
        line += f"Init Duration: {init_s * 1000:.2f} ms\t"
    return line + (f"Status: {status}" if status else "") + "\n"


def _tail(invoke: Invoke, result: Result, view: View) -> str:
    identifier = request_id(result.invocation)
    revision = view.revision(invoke.namespace, invoke.function, str(result.revision))
    version = revision.config.options.get("version", LATEST) if revision is not None else LATEST
    memory = revision.config.memory_mb if revision is not None else 128
    timings = result.timings
    status = "error" if result.error is not None and result.error.type.startswith(("Runtime.", "Function.")) else ""
    printed = result.log.replace("\r", "\n")
    if printed and not printed.endswith("\n"):
        printed += "\n"
    text = f"START RequestId: {identifier} Version: {version}\n{printed}END RequestId: {identifier}\n" + report(
        identifier, timings.run, memory, result.rss_kb, timings.init if result.cold else 0.0, status
    )
    return base64.b64encode(text.encode()[-TAIL:]).decode()


@lru_cache(1024)
def _qualifier(query: str) -> str:
    return parse_qs(query).get("Qualifier", [""])[0]


def _require_json(body: bytes) -> None:
    try:
        _check_json(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise AwsError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from None


def _context(header: bytes) -> str:
    try:
        text = base64.b64decode(header, validate=True).decode()
        msgspec.json.decode(text)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise AwsError("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.") from None
    return text


def _missing(arn: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {arn}")


def _too_large(size: int, kind: str, limit: int) -> AwsError:
    return AwsError(
        "RequestTooLargeException",
        f"{size} byte payload is too large for the {kind} invocation type (limit {limit} bytes)",
        413,
    )
