"""What an identity may do. A table of roles, and the middleware that asks it before every action.

An identity has roles by namespace; a function may say of its own who calls it. The check comes before anything is looked up, so a
refusal tells nothing about what exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .. import actions as a
from ..errors import DayflyError, Forbidden
from ..model.function import Callers, InvokePolicy
from ..model.identity import ANONYMOUS, EVERYWHERE, LOCAL, STRANGER, Identity, Role
from ..model.trigger import OPEN_SOURCES
from .gate import unknown

Handler = Callable[[a.Action | a.Invoke, Identity], Awaitable[Any]]

_READS = frozenset(
    {
        a.CreateToken,
        a.FollowEvents,
        a.FollowLogs,
        a.GetAsyncConfig,
        a.GetBroker,
        a.GetBucket,
        a.GetDead,
        a.GetDocument,
        a.GetEvent,
        a.GetFunction,
        a.GetInput,
        a.GetInvocation,
        a.GetObject,
        a.GetQueue,
        a.GetQuota,
        a.GetQueueStats,
        a.GetResult,
        a.GetRevision,
        a.GetTrigger,
        a.GetTriggerStats,
        a.GetUsage,
        a.HeadObject,
        a.ListAsyncConfigs,
        a.ListBrokers,
        a.ListBuckets,
        a.ListDead,
        a.ListDocuments,
        a.ListEventTypes,
        a.ListEvents,
        a.ListFunctions,
        a.ListInstances,
        a.ListInvocations,
        a.ListNamespaces,
        a.ListObjects,
        a.ListQueues,
        a.ListRevisions,
        a.ListSecrets,
        a.ListTriggers,
        a.ReadArchive,
        a.ReadPackage,
        a.ReadLogs,
    }
)
_CALLS = frozenset(
    {
        a.AckMessages,
        a.CancelInvocation,
        a.CreateToken,
        a.Record,
        a.ExtendMessages,
        a.FireTrigger,
        a.GetInvocation,
        a.GetResult,
        a.Invoke,
        a.PublishEvents,
        a.ReceiveMessages,
        a.SendMessages,
    }
)
CHANGES = frozenset(
    {
        a.ComposeObject,
        a.DeleteAlias,
        a.DeleteAsyncConfig,
        a.DeleteBroker,
        a.DeleteBucket,
        a.DeleteDocument,
        a.DeleteFunction,
        a.DeleteObjects,
        a.DeleteQueue,
        a.DeleteSecret,
        a.DeleteTrigger,
        a.PauseTrigger,
        a.PurgeDead,
        a.PurgeQueue,
        a.PutAlias,
        a.PutAsyncConfig,
        a.PutBroker,
        a.PutBucket,
        a.PutDocument,
        a.PutFunction,
        a.PutObject,
        a.PutPackage,
        a.PutQueue,
        a.PutSecret,
        a.PutTrigger,
        a.RecycleFunction,
        a.Redrive,
        a.Replay,
        a.ResumeTrigger,
        a.ReserveConcurrency,
        a.Rollback,
        a.SetInvokePolicy,
        a.SetTraffic,
    }
)
OWNS = frozenset(
    {
        a.AdvanceTime,
        a.CreateKey,
        a.DeleteNamespace,
        a.ListKeys,
        a.PutNamespace,
        a.ReadAudit,
        a.RevokeKey,
        a.RotateSecretKey,
        a.SetQuota,
    }
)

_WHOLE_SERVER = (a.AdvanceTime, a.RotateSecretKey, a.SetQuota)  # concern all namespaces, whichever they name

_DATA = frozenset(
    {
        a.ComposeObject,
        a.DeleteObjects,
        a.GetBucket,
        a.GetObject,
        a.GetQueue,
        a.GetQueueStats,
        a.HeadObject,
        a.ListBuckets,
        a.ListObjects,
        a.ListQueues,
        a.PutObject,
    }
)

ROLES: dict[Role, frozenset[type]] = {
    Role.FUNCTION: _CALLS | _DATA,
    Role.VIEWER: _READS,
    Role.INVOKER: _CALLS,
    Role.DEPLOYER: _READS | _CALLS | CHANGES,
    Role.OWNER: _READS | _CALLS | CHANGES | OWNS,
}


def allowed(identity: Identity, action: a.Action | a.Invoke) -> bool:
    """Whether the identity may perform the action. What no role names is refused."""
    kind = type(action)
    if kind is a.ListNamespaces:
        return any(kind in ROLES[role] for roles in identity.grants.values() for role in roles)
    namespaces = [action.owner or action.namespace if isinstance(action, a.Invoke | a.ReadPackage) else action.namespace]
    if isinstance(action, _WHOLE_SERVER):
        namespaces = [EVERYWHERE]
    if isinstance(action, a.CreateToken):  # nobody gives what they do not have
        mine: frozenset[type] = frozenset().union(*(ROLES[role] for role in identity.roles(action.namespace)))
        return kind in mine and bool(action.roles) and all(ROLES[role] <= mine for role in action.roles)
    if isinstance(action, a.PutTrigger) and _reaches_inside(action):
        return Role.OWNER in identity.roles(EVERYWHERE)
    if isinstance(action, a.CreateKey):
        namespaces += action.elsewhere
    return all(any(kind in ROLES[role] for role in identity.roles(namespace)) for namespace in namespaces)


_CALLERS = frozenset(role for role, may in ROLES.items() if a.Invoke in may)


def _calls(identity: Identity, namespace: str) -> bool:
    """`allowed` for a call, on the hot path."""
    grants = identity.grants
    return not _CALLERS.isdisjoint(grants.get(namespace, ())) or not _CALLERS.isdisjoint(grants.get(EVERYWHERE, ()))


class Authority:
    """What every action passes: `guard` as middleware of the façade, `check_call` on the gateway's fast lane."""

    def __init__(self, invoke_policy: Callable[[str, str], InvokePolicy | None]) -> None:
        """`invoke_policy(namespace, function)` is None for a function that does not exist."""
        self._invoke_policy = invoke_policy

    def check(self, action: a.Action | a.Invoke, identity: Identity) -> None:
        """Raises Forbidden if the identity may not perform the action, Unauthenticated if nobody knows who it is."""
        if isinstance(action, a.Invoke):
            self.check_call(action, identity)
        elif not allowed(identity, action):
            raise _refusal(identity, action)

    def check_call(self, invoke: a.Invoke, identity: Identity) -> None:
        """The same for a call, which is up to the function, too."""
        if identity is LOCAL:
            return
        policy = self._invoke_policy(invoke.namespace, invoke.function)
        if policy is None or policy.callers is Callers.NAMESPACE:
            may = _calls(identity, invoke.owner or invoke.namespace)
        elif policy.callers is Callers.PUBLIC:
            may = True
        else:
            may = (identity.id in policy.identities and bool(identity.id)) or any(
                a.SetInvokePolicy in ROLES[role] for role in identity.roles(invoke.namespace)
            )
        if not may:
            raise _refusal(identity, invoke)

    def guard(self, handler: Handler) -> Handler:
        """Middleware: refuses what `check` refuses, and lists to each identity only its own namespaces."""

        async def guarded(action: a.Action | a.Invoke, identity: Identity) -> Any:
            self.check(action, identity)
            outcome = await handler(action, identity)
            if isinstance(action, a.ListNamespaces):
                items = tuple(item for item in outcome.items if identity.roles(item.name))
                return msgspec.structs.replace(outcome, items=items)
            return outcome

        return guarded


def _reaches_inside(action: a.PutTrigger) -> bool:
    """Whether the trigger's source reads files of the server, or connects to wherever the server can."""
    return action.source is not None and action.source.kind not in OPEN_SOURCES


def _refusal(identity: Identity, action: a.Action | a.Invoke) -> DayflyError:
    if identity is ANONYMOUS or identity is STRANGER:
        return unknown(identity)
    if isinstance(action, a.PutTrigger) and action.source is not None and _reaches_inside(action):
        return Forbidden(
            f"A source {action.source.kind[:64]!r} reads what this server can reach: only its owner may make such a trigger.",
            hint=f"For everybody who may make triggers: {', '.join(OPEN_SOURCES)}, and brokers.",
        )
    roles = "; ".join(f"{', '.join(roles)} in {namespace}" for namespace, roles in sorted(identity.grants.items()))
    return Forbidden(
        f"{identity.name} may not perform {type(action).__name__} in namespace {action.namespace!r}.",
        hint=f"Roles of {identity.name}: {roles or 'none'}.",
    )
