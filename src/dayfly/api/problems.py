"""Errors on the wire: RFC 9457 problem documents."""

from __future__ import annotations

import math

import msgspec
from msgspec import Struct
from starlette.responses import Response

from ..errors import DayflyError, MethodNotAllowed, Unauthenticated

MEDIA_TYPE = "application/problem+json"


class Problem(Struct, kw_only=True):
    """What went wrong, why, and what to do (RFC 9457). Some kinds have further members: field, file, line, limit..."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    invocation: str = ""
    retry_after: float = 0.0  # seconds
    request_id: str = ""


def problem_response(error: DayflyError, request_id: str = "") -> Response:
    """The answer to a request that failed. `retry_after` and the like also become headers."""
    document = error.problem()
    if request_id:
        document["request_id"] = request_id
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after)))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="dayfly"'
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = str(error.members.get("allow", ""))
    body = msgspec.json.encode(document, enc_hook=str)
    return Response(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)
