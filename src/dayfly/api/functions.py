"""Functions, the traffic between their revisions, and their aliases."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .. import actions as a
from ..errors import BadPackage, BuildFailed, Conflict, InitFailed, NotFound, TimedOut
from ..model.function import Callers, Config, Function, Target
from .endpoint import FUNCTION, NAMESPACE, Endpoint
from .query import NATIVE_NAME

Label = Annotated[str, Meta(max_length=256)]
Targets = Annotated[tuple[Target, ...], Meta(min_length=1, max_length=100)]


class FunctionBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Code and configuration of a new revision."""

    code: a.Code
    config: Config = Config()
    labels: Annotated[dict[Label, Label], Meta(max_length=64)] = {}
    publish: Annotated[bool, Meta(description="false: make the revision but leave the traffic as it is")] = True
    trial: Annotated[bool, Meta(description="false: do not load the code once before it gets traffic")] = True


class TrafficBody(Struct, kw_only=True, forbid_unknown_fields=True, rename={"traffic": "targets"}):
    """Shares of the calls. Weights are relative."""

    traffic: Targets


class Reservation(Struct, kw_only=True, forbid_unknown_fields=True):
    """How many calls a function may have at the same time; null: no bound of its own."""

    limit: Annotated[int, Meta(ge=0, le=100_000)] | None


class PolicyBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who may call a function."""

    callers: Callers
    identities: Annotated[
        tuple[Annotated[str, Meta(max_length=256)], ...],
        Meta(max_length=1000, description="ids of keys, where callers are listed"),
    ] = ()


class RollbackBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which revision gets all calls; 0 is the one before the present one."""

    revision: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class Recycled(Struct, kw_only=True):
    """How many instances were retired."""

    retired: int


class Aliases(Struct, kw_only=True):
    """Named pointers to revisions of one function."""

    items: dict[str, tuple[Target, ...]]


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/functions",
        summary="List functions by name",
        action=a.ListFunctions,
        query=("prefix", "limit", "cursor"),
        gives=a.Page[Function],
    ),
    Endpoint(
        method="GET",
        path=FUNCTION,
        summary="Show a function",
        action=a.GetFunction,
        gives=Function,
    ),
    Endpoint(
        method="PUT",
        path=FUNCTION,
        summary="Create a function or give it a new revision; identical content makes none",
        action=a.PutFunction,
        body=FunctionBody,
        gives=a.Deployed,
        created=lambda deployed: deployed.created,
        raises=(NotFound, Conflict, BadPackage, BuildFailed, InitFailed, TimedOut),
        renamed={"name": NATIVE_NAME},
    ),
    Endpoint(
        method="DELETE",
        path=FUNCTION,
        summary="Delete a function, its revisions and aliases; calls under way end first",
        action=a.DeleteFunction,
    ),
    Endpoint(
        method="POST",
        path=FUNCTION + "/recycle",
        summary="Retire all instances, so that the next call is cold",
        action=a.RecycleFunction,
        gives=Recycled,
        view=lambda count: Recycled(retired=count),
    ),
    Endpoint(
        method="POST",
        path=FUNCTION + "/rollback",
        summary="Send all calls to an earlier revision",
        action=a.Rollback,
        body=RollbackBody,
        gives=Function,
        raises=(NotFound, Conflict),
    ),
    Endpoint(
        method="PUT",
        path=FUNCTION + "/traffic",
        summary="Split the calls over revisions, at once",
        action=a.SetTraffic,
        body=TrafficBody,
        gives=Function,
    ),
    Endpoint(
        method="PUT",
        path=FUNCTION + "/invoke-policy",
        summary="Say who may call it: who has a role in the namespace, only some, or everybody",
        action=a.SetInvokePolicy,
        body=PolicyBody,
        gives=Function,
    ),
    Endpoint(
        method="PUT",
        path=FUNCTION + "/reservation",
        summary="Bound its calls at the same time, over all revisions",
        action=a.ReserveConcurrency,
        body=Reservation,
        gives=Function,
    ),
    Endpoint(
        method="GET",
        path=FUNCTION + "/aliases",
        summary="List the aliases",
        action=a.GetFunction,
        operation="ListAliases",
        gives=Aliases,
        view=lambda function: Aliases(items=function.aliases),
    ),
    Endpoint(
        method="PUT",
        path=FUNCTION + "/aliases/{alias}",
        summary="Point an alias at one revision or several",
        action=a.PutAlias,
        body=TrafficBody,
        gives=Function,
    ),
    Endpoint(
        method="DELETE",
        path=FUNCTION + "/aliases/{alias}",
        summary="Delete an alias",
        action=a.DeleteAlias,
        gives=Function,
    ),
)
