"""Triggers, and how asynchronous calls of functions are delivered."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from .. import actions as a
from ..clock import Clock
from ..events.cloudevents import from_json
from ..model.delivery import AsyncConfig, Destination, Policy
from ..model.trigger import Source, Trigger, WhilePaused
from .endpoint import NAMESPACE, Ask, Endpoint, Fields
from .serve import show


class TriggerBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where events come from, which of them, where to, and how."""

    target: Destination
    broker: Annotated[str, Meta(max_length=256, description="this or `source`; neither: the broker `default`")] = ""
    source: Source | None = None
    filters: tuple[dict[str, Any], ...] = ()  # all must hold
    delivery: Policy = Policy()
    paused: bool = False
    while_paused: WhilePaused = WhilePaused.WAIT
    calls_async: bool = False
    labels: dict[str, str] = {}
    description: Annotated[str, Meta(max_length=1024)] = ""


class AsyncBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What differs from the function's profile."""

    max_attempts: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    max_age_s: Annotated[float, Meta(gt=0, le=366 * 86400)] | None = None
    on_success: Destination | None = None
    on_failure: Destination | None = None
    dead_letter: Destination | None = None


class FireBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Events in the JSON format of CloudEvents."""

    events: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=1000)]


async def _fire(endpoint: Endpoint, request: Request, fields: Fields, ask: Ask, clock: Clock) -> Response:
    events = tuple(from_json(msgspec.json.encode(members)) for members in fields.pop("events"))
    return show(endpoint, await ask(a.FireTrigger(events=events, **fields)))


_ONE = NAMESPACE + "/triggers/{name}"
_ASYNC = NAMESPACE + "/functions/{function}/async"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/triggers",
        summary="List triggers, by name",
        action=a.ListTriggers,
        query=("prefix",),
        gives=a.Page[Trigger],
    ),
    Endpoint(method="GET", path=_ONE, summary="Show a trigger", action=a.GetTrigger, gives=Trigger),
    Endpoint(
        method="PUT", path=_ONE, summary="Create or change a trigger", action=a.PutTrigger, body=TriggerBody, gives=Trigger
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Delete a trigger; what waits for its delivery is cancelled",
        action=a.DeleteTrigger,
    ),
    Endpoint(
        method="GET",
        path=_ONE + "/stats",
        summary="Show how far a trigger is: what waits, runs and is dead",
        action=a.GetTriggerStats,
        gives=a.TriggerStats,
    ),
    Endpoint(method="POST", path=_ONE + "/pause", summary="Deliver nothing for now", action=a.PauseTrigger, gives=Trigger),
    Endpoint(method="POST", path=_ONE + "/resume", summary="Go on delivering", action=a.ResumeTrigger, gives=Trigger),
    Endpoint(
        method="POST",
        path=_ONE + "/fire",
        summary="Deliver events to a trigger's target, whatever its filter",
        action=a.FireTrigger,
        body=FireBody,
        gives=tuple[a.Published, ...],
        answer=_fire,
    ),
    Endpoint(
        method="GET",
        path=NAMESPACE + "/async",
        summary="List what is set for asynchronous calls",
        action=a.ListAsyncConfigs,
        query=("function",),
        gives=a.Page[AsyncConfig],
    ),
    Endpoint(
        method="GET",
        path=_ASYNC,
        summary="Show what is set for asynchronous calls of a function",
        action=a.GetAsyncConfig,
        query=("qualifier",),
        gives=AsyncConfig,
    ),
    Endpoint(
        method="PUT",
        path=_ASYNC,
        summary="Set retries, age and destinations of a function's asynchronous calls",
        action=a.PutAsyncConfig,
        query=("qualifier",),
        body=AsyncBody,
        gives=AsyncConfig,
    ),
    Endpoint(
        method="DELETE",
        path=_ASYNC,
        summary="Deliver a function's asynchronous calls by its profile again",
        action=a.DeleteAsyncConfig,
        query=("qualifier",),
    ),
)
