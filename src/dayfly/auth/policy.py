"""What an identity may do. A table of roles, and the middleware that asks it before every action.

An identity acts only inside its namespaces. The check comes before anything is looked up, so a refusal tells nothing about what exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .. import actions as a
from ..errors import Forbidden
from ..model.identity import EVERYWHERE, Identity

Handler = Callable[[a.Action | a.Invoke, Identity], Awaitable[Any]]

_READS = frozenset(
    {
        a.GetDocument,
        a.GetFunction,
        a.GetInvocation,
        a.GetResult,
        a.GetRevision,
        a.GetUsage,
        a.FollowLogs,
        a.ListDocuments,
        a.ListFunctions,
        a.ListInstances,
        a.ListInvocations,
        a.ListNamespaces,
        a.ListRevisions,
        a.ListSecrets,
        a.ReadLogs,
    }
)
_CALLS = frozenset({a.Invoke, a.CancelInvocation, a.GetInvocation, a.GetResult})
_CHANGES = frozenset(
    {
        a.DeleteAlias,
        a.DeleteDocument,
        a.DeleteFunction,
        a.DeleteSecret,
        a.PutAlias,
        a.PutDocument,
        a.PutFunction,
        a.PutPackage,
        a.PutSecret,
        a.RecycleFunction,
        a.Rollback,
        a.SetTraffic,
    }
)
_OWNS = frozenset({a.DeleteNamespace, a.PutNamespace})

ROLES: dict[str, frozenset[type]] = {
    "viewer": _READS,
    "invoker": _CALLS,
    "developer": _READS | _CALLS | _CHANGES,
    "owner": _READS | _CALLS | _CHANGES | _OWNS,
}


def allowed(identity: Identity, action: a.Action | a.Invoke) -> bool:
    """Whether the identity may perform the action. What no role names is refused."""
    if not isinstance(action, a.ListNamespaces) and not _inside(identity, action.namespace):
        return False
    kind = type(action)
    return any(kind in ROLES.get(role, ()) for role in identity.roles)


def _inside(identity: Identity, namespace: str) -> bool:
    return EVERYWHERE in identity.namespaces or namespace in identity.namespaces


def check(identity: Identity, action: a.Action | a.Invoke) -> None:
    """Raises Forbidden if the identity may not perform the action."""
    if not allowed(identity, action):
        raise Forbidden(
            f"{identity.name} may not perform {type(action).__name__} in namespace {action.namespace!r}.",
            hint=f"Roles: {', '.join(identity.roles) or 'none'}; namespaces: {', '.join(identity.namespaces) or 'none'}.",
        )


def authorise(handler: Handler) -> Handler:
    """Middleware: refuses what `allowed` refuses, and lists to each identity only its own namespaces."""

    async def guarded(action: a.Action | a.Invoke, identity: Identity) -> Any:
        check(identity, action)
        outcome = await handler(action, identity)
        if isinstance(action, a.ListNamespaces):
            items = tuple(item for item in outcome.items if _inside(identity, item.name))
            return msgspec.structs.replace(outcome, items=items)
        return outcome

    return guarded
