"""The core's actions over dictionaries: enough of a platform to test a face against, and quick enough to fuzz."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from dayfly import actions as a
from dayfly.errors import BadInput, Conflict, NotFound
from dayfly.model.audit import AuditRecord
from dayfly.model.call import Invocation, Mode, Result, Status, Timings
from dayfly.model.function import Artifact, Function, InvokePolicy, Revision, Target
from dayfly.model.identity import LOCAL, Identity, Key, NewKey, NewToken
from dayfly.model.instance import InstanceInfo, State
from dayfly.model.log import LogLine
from dayfly.model.package import NamespaceInfo, Package, SecretInfo
from dayfly.model.quota import Quota, QuotaInfo
from dayfly.model.usage import Usage
from tests.support.fake_events import FakeEvents

NOW = 1_700_000_000.0


class FakePlatform(FakeEvents):
    """Remembers every action it performed. `fails` makes the next one raise."""

    def __init__(self) -> None:
        super().__init__()
        self.performed: list[tuple[a.Action | a.Invoke, Identity]] = []
        self.fails: BaseException | None = None
        self.namespaces = {"default": NamespaceInfo(name="default", created=NOW)}
        self.packages: dict[str, Package] = {}
        self.functions: dict[str, Function] = {}
        self.revisions: dict[str, list[Revision]] = {}
        self.secrets: dict[str, SecretInfo] = {}
        self.keys: dict[str, Key] = {}
        self.invocations: dict[str, Invocation] = {}
        self.results: dict[str, Result] = {}
        self.lines: list[LogLine] = []

    async def perform(self, action: a.Action | a.Invoke, by: Identity = LOCAL) -> Any:
        self.performed.append((action, by))
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        if (
            not isinstance(action, a.PutNamespace | a.ListNamespaces | a.RotateSecretKey)
            and action.namespace not in self.namespaces
        ):
            raise NotFound(f"There is no namespace {action.namespace!r}.")
        return getattr(self, type(action).__name__)(action)

    @property
    def last(self) -> a.Action | a.Invoke:
        return self.performed[-1][0]

    # --- namespaces, packages, secrets -------------------------------------------------------------------------------

    def PutNamespace(self, action: a.PutNamespace) -> NamespaceInfo:
        return self.namespaces.setdefault(action.namespace, NamespaceInfo(name=action.namespace, created=NOW))

    def ListNamespaces(self, action: a.ListNamespaces) -> a.Page[NamespaceInfo]:
        return a.Page(items=tuple(self.namespaces.values()))

    def DeleteNamespace(self, action: a.DeleteNamespace) -> None:
        if any(function.namespace == action.namespace for function in self.functions.values()):
            raise Conflict(f"The namespace {action.namespace!r} is not empty.")
        del self.namespaces[action.namespace]

    def PutPackage(self, action: a.PutPackage) -> Package:
        digest = hashlib.sha256(action.data).hexdigest()
        new = digest not in self.packages
        self.packages[digest] = Package(digest=digest, size=len(action.data), files=1, created=new)
        return self.packages[digest]

    def PutSecret(self, action: a.PutSecret) -> SecretInfo:
        return self.secrets.setdefault(action.name, SecretInfo(name=action.name, updated=NOW))

    def ListSecrets(self, action: a.ListSecrets) -> a.Page[SecretInfo]:
        return a.Page(items=tuple(self.secrets.values()))

    def DeleteSecret(self, action: a.DeleteSecret) -> None:
        if self.secrets.pop(action.name, None) is None:
            raise NotFound(f"There is no secret {action.name!r}.")

    # --- keys --------------------------------------------------------------------------------------------------------

    def CreateKey(self, action: a.CreateKey) -> NewKey:
        key = Key(
            id=f"key_{len(self.keys)}",
            namespace=action.namespace,
            name=action.name,
            kind=action.kind,
            grants={**action.elsewhere, action.namespace: action.roles},
            created=NOW,
        )
        self.keys[key.id] = key
        return NewKey(key=key, secret="dft_" + "x" * 43)

    def ReadAudit(self, action: a.ReadAudit) -> a.Page[AuditRecord]:
        record = AuditRecord(time=NOW, namespace=action.namespace, identity="x", identity_id="x", peer="", action="PutFunction")
        return a.Page(items=(record,))

    def RotateSecretKey(self, action: a.RotateSecretKey) -> int:
        return len(self.secrets)

    def SetQuota(self, action: a.SetQuota) -> QuotaInfo:
        return QuotaInfo(namespace=action.namespace, quota=action.quota, used=Quota())

    def GetQuota(self, action: a.GetQuota) -> QuotaInfo:
        return QuotaInfo(namespace=action.namespace, quota=Quota(), used=Quota())

    def CreateToken(self, action: a.CreateToken) -> NewToken:
        return NewToken(token="dfs_x.y", expires=NOW + action.ttl_s)

    def ListKeys(self, action: a.ListKeys) -> a.Page[Key]:
        return a.Page(items=tuple(key for key in self.keys.values() if action.namespace in key.grants))

    def RevokeKey(self, action: a.RevokeKey) -> None:
        if self.keys.pop(action.id, None) is None:
            raise NotFound(f"There is no key {action.id!r}.")

    # --- functions ---------------------------------------------------------------------------------------------------

    def _function(self, action: Any) -> Function:
        function = self.functions.get(f"{action.namespace}/{action.name}")
        if function is None:
            raise NotFound(f"There is no function {action.name!r}.")
        return function

    def _keep(self, function: Function) -> Function:
        self.functions[function.key] = function
        return function

    def PutFunction(self, action: a.PutFunction) -> a.Deployed:
        if bool(action.code.package) == bool(action.code.files):
            raise BadInput("The code is either a package or files.")
        key = f"{action.namespace}/{action.name}"
        digest = hashlib.sha256(repr((action.code, action.config)).encode()).hexdigest()
        revisions = self.revisions.setdefault(key, [])
        known = next((revision for revision in revisions if revision.digest == digest), None)
        revision = known or Revision(
            namespace=action.namespace,
            function=action.name,
            number=len(revisions) + 1,
            config=action.config,
            artifact=Artifact(digest=digest, mounts=()),
            digest=digest,
            created=NOW,
        )
        if known is None:
            revisions.append(revision)
        function = Function(
            namespace=action.namespace,
            name=action.name,
            latest=len(revisions),
            traffic=(Target(revision=revision.number),),
            labels=action.labels,
        )
        return a.Deployed(function=self._keep(function), revision=revision, created=known is None, build_ms=1.0)

    def GetFunction(self, action: a.GetFunction) -> Function:
        return self._function(action)

    def ListFunctions(self, action: a.ListFunctions) -> a.Page[Function]:
        names = sorted(f.name for f in self.functions.values() if f.namespace == action.namespace)
        names = [name for name in names if name.startswith(action.prefix) and name > action.cursor]
        items = tuple(self.functions[f"{action.namespace}/{name}"] for name in names[: action.limit])
        return a.Page(items=items, cursor=items[-1].name if len(names) > action.limit else "")

    def DeleteFunction(self, action: a.DeleteFunction) -> None:
        del self.functions[self._function(action).key]

    def RecycleFunction(self, action: a.RecycleFunction) -> int:
        self._function(action)
        return 3

    def GetRevision(self, action: a.GetRevision) -> Revision:
        revisions = self.revisions[self._function(action).key]
        if action.number > len(revisions):
            raise NotFound(f"{action.name} has no revision {action.number}.")
        return revisions[action.number - 1]

    def ListRevisions(self, action: a.ListRevisions) -> a.Page[Revision]:
        return a.Page(items=tuple(reversed(self.revisions[self._function(action).key])))

    def SetInvokePolicy(self, action: a.SetInvokePolicy) -> Function:
        policy = InvokePolicy(callers=action.callers, identities=action.identities)
        return self._keep(replace(self._function(action), invoke_policy=policy))

    def ReserveConcurrency(self, action: a.ReserveConcurrency) -> Function:
        return self._keep(replace(self._function(action), reserved=action.limit))

    def SetTraffic(self, action: a.SetTraffic) -> Function:
        return self._keep(replace(self._function(action), traffic=action.traffic))

    def Rollback(self, action: a.Rollback) -> Function:
        function = self._function(action)
        number = action.revision or function.traffic[0].revision - 1
        if number < 1:
            raise Conflict("There is no revision before the present one.")
        return self._keep(replace(function, traffic=(Target(revision=number),)))

    def PutAlias(self, action: a.PutAlias) -> Function:
        function = self._function(action)
        return self._keep(replace(function, aliases={**function.aliases, action.alias: action.traffic}))

    def DeleteAlias(self, action: a.DeleteAlias) -> Function:
        function = self._function(action)
        if action.alias not in function.aliases:
            raise NotFound(f"{action.name} has no alias {action.alias!r}.")
        return self._keep(replace(function, aliases={k: v for k, v in function.aliases.items() if k != action.alias}))

    # --- what happened -----------------------------------------------------------------------------------------------

    def record(self, identifier: str, status: Status = Status.OK, body: bytes = b'"hello"') -> Invocation:
        """A call of `hello`, as if it had been made."""
        self.results[identifier] = Result(invocation=identifier, revision=1, body=body, timings=Timings(run=0.25))
        self.invocations[identifier] = Invocation(
            id=identifier,
            namespace="default",
            function="hello",
            revision=1,
            mode=Mode.ASYNC,
            status=status,
            cold=True,
            started=NOW,
            timings=Timings(run=0.25),
            billed_ms=250,
            memory_mb=256,
        )
        return self.invocations[identifier]

    def say(self, text: str, time: float = NOW, invocation: str = "") -> LogLine:
        """A line of `hello`'s log."""
        line = LogLine(
            time=time,
            namespace="default",
            function="hello",
            revision=1,
            instance="i1",
            invocation=invocation,
            stream="stdout",
            text=text,
        )
        self.lines.append(line)
        return line

    def GetInvocation(self, action: a.GetInvocation) -> Invocation:
        if action.id not in self.invocations:
            raise NotFound(f"There is no invocation {action.id}.")
        return self.invocations[action.id]

    def GetResult(self, action: a.GetResult) -> Result:
        self.GetInvocation(a.GetInvocation(id=action.id))
        return self.results[action.id]

    def CancelInvocation(self, action: a.CancelInvocation) -> Invocation | None:
        found = self.GetInvocation(a.GetInvocation(id=action.id))
        return replace(found, status=Status.CANCELLED) if found.status is Status.RUNNING else None

    def ListInvocations(self, action: a.ListInvocations) -> a.Page[Invocation]:
        return a.Page(items=tuple(reversed(self.invocations.values())))

    def ReadLogs(self, action: a.ReadLogs) -> a.Page[LogLine]:
        return a.Page(items=tuple(line for line in self.lines if line.time >= action.since)[: action.limit])

    def FollowLogs(self, action: a.FollowLogs) -> AsyncIterator[LogLine]:
        async def lines() -> AsyncIterator[LogLine]:
            for line in self.lines:
                if line.time >= action.since:
                    yield line

        return lines()

    def GetUsage(self, action: a.GetUsage) -> Usage:
        return Usage(namespace=action.namespace, function=action.function, since=action.since, until=action.until, requests=2)

    def ListInstances(self, action: a.ListInstances) -> a.Page[InstanceInfo]:
        info = InstanceInfo(
            id="i1",
            namespace=action.namespace,
            function="hello",
            revision=1,
            state=State.IDLE,
            created=NOW,
            calls=1,
            inflight=0,
        )
        return a.Page(items=(info,))
