"""Calls of functions in the native way, as a dialect like any other:  ANY /fn/{namespace}/{name}[@qualifier][/path...]

Request headers: `Prefer: respond-async` makes the call asynchronous (202 with its id); `Idempotency-Key`; `Dayfly-Timeout` (seconds,
shortens the function's own); `Dayfly-Delay` (seconds, asynchronous only); `traceparent`.
Response headers: `Dayfly-Invocation-Id`, `Dayfly-Cold: true|false`, `Dayfly-Revision`, `Server-Timing` (queue, cold, run in
milliseconds), and `Dayfly-Error: function|platform` on an error, so that the two are never confused: what user code raised is status
500 with {"error": {"type", "message", "trace"}, "invocation"}; what the platform says is a problem document (RFC 9457).
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..actions import Invoke
from ..dialects.hook import Dialect, Head, Params, Reply, Route
from ..errors import BadInput, DayflyError
from ..gateway.edge import problem
from ..model.call import HttpRequest, Mode, Result
from ..model.ids import new_id
from ..model.profile import NATIVE
from . import publish

_SYNC: Final = Mode.SYNC  # see pool.group
NO_WAIT: Final = "queue;dur=0.000, cold;dur=0.000"


def decode(head: Head, params: Params, body: bytes) -> Invoke:
    """The call a request asks for."""
    asked = head.kept
    if asked is None:
        asked = head.kept = _asked(head, params)
    invoke: Invoke = asked.__copy__()
    invoke.body = body
    invoke.invocation = new_id()
    return invoke


def _asked(head: Head, params: Params) -> Invoke:
    """All that the head alone decides."""
    fields = dict(head.headers)
    name, _, qualifier = params["name"].partition("@")
    prefer = fields.get(b"prefer")
    invoke = Invoke(
        namespace=params["namespace"],
        function=name,
        qualifier=qualifier,
        http=HttpRequest(
            method=head.method,
            path="/" + params["path"],
            query=head.query,
            headers=tuple(
                [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers if not k.startswith(b"dayfly-")]
            ),
        ),
        content_type=fields.get(b"content-type", b"").decode("latin-1"),
    )
    if prefer is not None and b"respond-async" in prefer.lower():
        invoke.mode = Mode.ASYNC
        invoke.delay_s = _seconds(fields, b"dayfly-delay", 15 * 86400)
    if b"idempotency-key" in fields:
        key = fields[b"idempotency-key"].decode("latin-1")
        if not 0 < len(key) <= 255:
            raise BadInput("Idempotency-Key has between 1 and 255 characters")
        invoke.idempotency_key = key
    if b"traceparent" in fields:
        invoke.trace_parent = fields[b"traceparent"][:64].decode("latin-1")
    if b"dayfly-timeout" in fields:
        invoke.timeout_s = _seconds(fields, b"dayfly-timeout", 86400)
    return invoke


def _seconds(fields: dict[bytes, bytes], name: bytes, most: float) -> float:
    if name not in fields:
        return 0.0
    try:
        seconds = float(fields[name])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= most:  # refuses NaN too
        raise BadInput(f"{name.decode().title()} is a number of seconds between 0 and {most:g}")
    return seconds


def encode(_: Head, invoke: Invoke, result: Result) -> Reply:
    """The answer of a function (its head, if it streams)."""
    timings = result.timings
    waited = (
        f"queue;dur={timings.queue * 1000:.3f}, cold;dur={timings.cold * 1000:.3f}"
        if timings.queue or timings.cold
        else NO_WAIT
    )
    lines = (
        f"dayfly-invocation-id: {result.invocation}\r\ndayfly-cold: {'true' if result.cold else 'false'}\r\n"
        f"dayfly-revision: {result.revision}\r\nserver-timing: {waited}, run;dur={timings.run * 1000:.3f}\r\n"
    )
    if result.error is not None:
        headers = [("content-type", "application/json"), ("dayfly-error", "function")]
        raised = {"type": result.error.type, "message": result.error.message, "trace": result.error.trace}
        return Reply(500, headers, msgspec.json.encode({"error": raised, "invocation": result.invocation}), lines)
    if invoke.mode is not _SYNC:
        location = f"/v1/namespaces/{invoke.namespace}/invocations/{result.invocation}"
        headers = [("dayfly-invocation-id", result.invocation), ("content-type", "application/json"), ("location", location)]
        return Reply(202, headers, msgspec.json.encode({"invocation": result.invocation}))
    if result.headers:
        return Reply(result.status, list(result.headers), result.body, lines)
    return Reply(result.status, [], result.body, lines + "content-type: application/json\r\n")


def fault(_: Head, error: DayflyError) -> Reply:
    return problem(error)


NATIVE_CALLS = Dialect(
    name="native",
    profile=NATIVE,
    routes=(
        Route(method="*", path="/fn/{namespace}/{name}/{path...}", decode=decode, encode=encode, fast=True, streams=True),
        *publish.ROUTES,
    ),
    fault=fault,
)
