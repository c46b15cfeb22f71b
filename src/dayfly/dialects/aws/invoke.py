"""Invoke, on the fast lane: decode, encode, and Lambda's words for what goes wrong in a call."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Mapping
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ... import errors as e
from ...actions import GetInvocation, Invoke, ReadLogs
from ...model.call import Invocation, Mode, Result, Status
from ...model.ids import new_id
from ..hook import Do, Head, Params, Reply, View
from .calllog import of_record, of_result
from .crash import crash_of
from .faults import AwsError
from .profile import ASYNC_LIMIT
from .record import LATEST, Record, find
from .recursion import counted
from .scope import function_name, now, place, scope_of

TAIL = 4096  # bytes of log
PRINTED = 4096  # lines that are read for them
_TYPES = ("RequestResponse", "Event", "DryRun")
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
                raise _missing(where.function_arn(named.name, named.qualifier or LATEST))
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
            trace, loop = fields[b"x-amzn-trace-id"][:512].decode("latin-1"), (record or {}).get("recursion", "")
            client["trace"] = counted(trace, where.function_arn(named.name), loop)
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
            headers.append(("x-amz-log-result", self._tail(invoke, result)))
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
        crash = crash_of(error)
        if crash is None:
            return None
        headers += [("x-amz-executed-version", LATEST), ("x-amz-function-error", "Unhandled")]
        return Reply(200, headers, crash.body(identifier))

    def explain(self, head: Head, invoke: Invoke, error: e.DayflyError, do: Do) -> Awaitable[Reply] | None:
        """The same, for a caller who wants the log of the call."""
        return self._explained(invoke, error, do) if '"tail"' in invoke.client and crash_of(error) is not None else None

    async def _explained(self, invoke: Invoke, error: e.DayflyError, do: Do) -> Reply:
        reply = self.fault(error)
        assert reply is not None
        record: Invocation = await do(GetInvocation(namespace=invoke.owner or invoke.namespace, id=invoke.invocation))
        read = partial(ReadLogs, namespace=invoke.namespace, function=invoke.function, limit=PRINTED)
        printed = (await do(read(invocation=invoke.invocation))).items
        if record.status is Status.INIT_FAILED:  # what its environment printed was no call's yet
            since = (await do(read(since=record.started))).items
            printed = [line for line in since if line.instance == record.instance and line.invocation in ("", record.id)]
        told = of_record(request_id(record.id), record, self._options(invoke, record.revision)[0])
        lines = [*told.start(), *(line.text for line in printed), *told.finish()]
        reply.headers.append(("x-amz-log-result", _tail(lines)))
        return reply

    def _options(self, invoke: Invoke, revision: int) -> tuple[Mapping[str, str], int]:
        """Of a revision, and its MiB."""
        found = self._view.revision(invoke.namespace, invoke.function, str(revision))
        return (found.config.options, found.config.memory_mb) if found is not None else ({}, 128)

    def _tail(self, invoke: Invoke, result: Result) -> str:
        told = of_result(request_id(result.invocation), result, *self._options(invoke, result.revision), now())
        return _tail([*told.start(), result.log, *told.finish()])


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


def _tail(lines: list[str]) -> str:
    """The end of a log as a header has it."""
    text = "".join(line if line.endswith("\n") else line + "\n" for line in lines if line).replace("\r", "\n")
    return base64.b64encode(text.encode("utf-8", "replace")[-TAIL:]).decode()


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
