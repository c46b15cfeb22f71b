"""Invocations: the records of calls, and the kept answers of asynchronous ones.

An answer comes inside a JSON document, never as a page of its own: what a function wrote must not run in a browser as if Dayfly had
written it.
"""

from __future__ import annotations

import base64
from typing import Literal

from msgspec import Struct

from .. import actions as a
from ..errors import Conflict, NotFound
from ..model.call import FunctionError, Headers, Invocation, Result, Timings
from .endpoint import NAMESPACE, Endpoint


class Answer(Struct, kw_only=True):
    """What a function answered. `body` is text in the encoding named, base64 for what is not UTF-8."""

    invocation: str
    revision: int
    cold: bool
    status: int
    headers: Headers
    body: str
    encoding: Literal["utf-8", "base64"]
    error: FunctionError | None
    timings: Timings


def answer(result: Result) -> Answer:
    """The kept result as a document."""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    try:
        text = result.body.decode()
    except UnicodeDecodeError:
        encoding, text = "base64", base64.b64encode(result.body).decode("ascii")
    return Answer(
        invocation=result.invocation,
        revision=result.revision,
        cold=result.cold,
        status=result.status,
        headers=result.headers,
        body=text,
        encoding=encoding,
        error=result.error,
        timings=result.timings,
    )


def _cancelled(invocation: Invocation | None) -> Invocation:
    if invocation is None:
        raise Conflict("The invocation has ended, so there is nothing to cancel.")
    return invocation


_ONE = NAMESPACE + "/invocations/{id}"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/invocations",
        summary="List invocations, newest first",
        action=a.ListInvocations,
        query=("function", "status", "since", "until", "limit", "cursor"),
        gives=a.Page[Invocation],
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        summary="Show an invocation",
        action=a.GetInvocation,
        gives=Invocation,
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Cancel a queued or running call and kill what it started",
        action=a.CancelInvocation,
        gives=Invocation,
        view=_cancelled,
        raises=(NotFound, Conflict),
    ),
    Endpoint(
        method="GET",
        path=_ONE + "/result",
        summary="Show the kept answer of an asynchronous call",
        action=a.GetResult,
        gives=Answer,
        view=answer,
        raises=(NotFound, Conflict),
    ),
)
