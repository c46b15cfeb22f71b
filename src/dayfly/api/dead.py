"""Dead letters, recorded inputs and replays."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from .. import actions as a
from ..events.cloudevents import to_dict
from ..model.deadletter import Dead
from .endpoint import NAMESPACE, Endpoint
from .query import EVENT_ID
from .queues import Count, Encoding, count, text


class DeadLetter(Struct, kw_only=True):
    """What could not be delivered. Of the last three, those that apply are filled in when one letter is shown."""

    id: str
    trigger: str
    function: str
    queue: str
    condition: str
    reason: str
    attempts: int
    created: float
    ended: float
    event: dict[str, Any] | None = None
    input: str | None = None
    encoding: Encoding = "utf-8"


class Chosen(Struct, kw_only=True, forbid_unknown_fields=True):
    """Dead letters by id, or all of a function, trigger or queue, or all there are."""

    ids: Annotated[tuple[str, ...], Meta(max_length=10_000)] = ()
    function: str = ""
    trigger: str = ""
    queue: str = ""


class ReplayBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is called with the recorded input; by default what was called then."""

    function: str = ""
    qualifier: Annotated[str, Meta(max_length=64)] = ""


class RecordedInput(Struct, kw_only=True):
    """What a call was given: what a debugger needs. Of an event, the event alone."""

    function: str = ""
    qualifier: str = ""
    content_type: str = ""
    method: str = ""  # of an HTTP call
    path: str = ""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    client: str = ""  # what else the caller told, as the function's contract has it
    body: str = ""
    encoding: Encoding = "utf-8"
    event: dict[str, Any] | None = None


def letter(dead: Dead) -> DeadLetter:
    body, encoding = text(dead.input or b"")
    return DeadLetter(
        id=dead.id,
        trigger=dead.trigger,
        function=dead.function,
        queue=dead.queue,
        condition=dead.condition,
        reason=dead.reason,
        attempts=dead.attempts,
        created=dead.created,
        ended=dead.ended,
        event=to_dict(dead.event) if dead.event is not None else None,
        input=body if dead.input is not None else None,
        encoding=encoding,
    )


def _letters(page: a.Page[Dead]) -> a.Page[DeadLetter]:
    return a.Page(items=tuple(letter(dead) for dead in page.items), cursor=page.cursor)


def recording(found: a.Recording) -> RecordedInput:
    if found.call is None:
        return RecordedInput(event=to_dict(found.event) if found.event is not None else None)
    call = found.call
    body, encoding = text(call.body)
    http = call.http
    return RecordedInput(
        function=call.function,
        qualifier=call.qualifier,
        content_type=call.content_type,
        method=http.method if http is not None else "",
        path=http.path if http is not None else "",
        query=http.query if http is not None else "",
        headers=http.headers if http is not None else (),
        client=call.client,
        body=body,
        encoding=encoding,
    )


_DEAD = NAMESPACE + "/dead"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=_DEAD,
        summary="List what could not be delivered, latest first",
        action=a.ListDead,
        query=("function", "trigger", "queue", "limit", "cursor"),
        gives=a.Page[DeadLetter],
        view=_letters,
    ),
    Endpoint(method="GET", path=_DEAD + "/{id}", summary="Show a dead letter", action=a.GetDead, gives=DeadLetter, view=letter),
    Endpoint(
        method="POST",
        path=NAMESPACE + "/redrive",
        summary="Give dead letters all their attempts again",
        action=a.Redrive,
        body=Chosen,
        gives=Count,
        view=count,
    ),
    Endpoint(
        method="POST",
        path=NAMESPACE + "/purge",
        summary="Forget dead letters",
        action=a.PurgeDead,
        body=Chosen,
        gives=Count,
        view=count,
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/recordings/{id}",
        summary="Show what a recorded call was given",
        action=a.GetInput,
        gives=RecordedInput,
        view=recording,
        renamed={"id": EVENT_ID},
    ),
    Endpoint(
        method="POST",
        path=NAMESPACE + "/recordings/{id}/replay",
        summary="Call again with a recorded input",
        action=a.Replay,
        body=ReplayBody,
        gives=tuple[str, ...],
        renamed={"id": EVENT_ID},
    ),
)
