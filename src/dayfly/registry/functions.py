"""Reading and changing what is deployed: everything but the deploy itself."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ..actions import (
    DeleteAlias,
    DeleteFunction,
    GetFunction,
    GetRevision,
    ListFunctions,
    ListRevisions,
    Page,
    Performers,
    PutAlias,
    RecycleFunction,
    ReserveConcurrency,
    Rollback,
    SetInvokePolicy,
    SetTraffic,
)
from ..clock import Clock
from ..errors import BadInput, Conflict, NameInvalid, NotFound
from ..model.function import Callers, Function, InvokePolicy, Revision, Target
from ..model.names import valid_alias
from ..store.port import Store
from .deploy import Deployer, function_statement, note
from .registry import Registry, Route

_OnOne = (
    ReserveConcurrency | SetInvokePolicy | SetTraffic | Rollback | PutAlias | DeleteAlias
)  # actions that change one function


class Functions:
    """Performs the actions on functions, revisions, aliases and traffic."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        deployer: Deployer,
        recycle: Callable[[Revision], int],
        reach: Callable[[Revision, bool], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._deployer = deployer
        self._recycle = recycle
        self._reach = reach
        self._clock = clock

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            GetFunction: self.get,
            ListFunctions: self.list,
            DeleteFunction: self.delete,
            RecycleFunction: self.recycle,
            GetRevision: self.revision,
            ListRevisions: self.revisions,
            ReserveConcurrency: self.reserve,
            SetInvokePolicy: self.set_invoke_policy,
            SetTraffic: self.traffic,
            Rollback: self.rollback,
            PutAlias: self.put_alias,
            DeleteAlias: self.delete_alias,
        }

    async def get(self, action: GetFunction) -> Function:
        return self._registry.route(action.namespace, action.name).function

    async def list(self, action: ListFunctions) -> Page[Function]:
        """By name, after the cursor (which is the last name of the page before)."""
        self._require_namespace(action.namespace)
        found = [
            function
            for function in self._registry.functions(action.namespace)
            if function.name.startswith(action.prefix) and function.name > action.cursor
        ]
        page = tuple(found[: action.limit])
        return Page(items=page, cursor=page[-1].name if len(found) > len(page) and page else "")

    async def delete(self, action: DeleteFunction) -> None:
        route = self._registry.route(action.namespace, action.name)
        async with self._deployer.changes.of(f"{action.namespace}/{action.name}"):
            await self._store.commit(
                ("function_delete", {"namespace": action.namespace, "name": action.name}),
                ("revisions_delete", {"namespace": action.namespace, "function": action.name}),
                ("inputs_forget", {"namespace": action.namespace, "function": action.name}),
                notes=[note(route.function)],
            )
            await self._registry.refresh(action.namespace, action.name)
        for revision in route.revisions.values():
            self._reach(revision, False)

    async def recycle(self, action: RecycleFunction) -> int:
        route = self._registry.route(action.namespace, action.name)
        return sum(self._recycle(revision) for revision in route.revisions.values())

    async def revision(self, action: GetRevision) -> Revision:
        route = self._registry.route(action.namespace, action.name)
        revision = route.revisions.get(action.number)
        if revision is None:
            raise NotFound(
                f"{action.namespace}/{action.name} has no revision {action.number}",
                hint=f"Its newest is {route.function.latest}.",
            )
        return revision

    async def revisions(self, action: ListRevisions) -> Page[Revision]:
        route = self._registry.route(action.namespace, action.name)
        return Page(items=tuple(sorted(route.revisions.values(), key=lambda revision: -revision.number)))

    async def set_invoke_policy(self, action: SetInvokePolicy) -> Function:
        policy = InvokePolicy(callers=action.callers, identities=action.identities)
        if (policy.callers is Callers.LISTED) != bool(policy.identities) or "" in policy.identities:
            raise BadInput(
                "identities are listed where the callers are `listed`, and only there", hint="Ids of keys: dayfly key ls"
            )
        return await self._change(action, lambda route: replace(route.function, invoke_policy=policy))

    async def traffic(self, action: SetTraffic) -> Function:
        def change(route: Route) -> Function:
            self._check_targets(route, action.traffic)
            return replace(route.function, traffic=action.traffic)

        return await self._change(action, change)

    async def reserve(self, action: ReserveConcurrency) -> Function:
        if action.limit is not None and action.limit < 0:
            raise BadInput("a reservation is a number of calls, 0 or more")
        return await self._change(action, lambda route: replace(route.function, reserved=action.limit))

    async def rollback(self, action: Rollback) -> Function:
        def change(route: Route) -> Function:
            number = action.revision
            if not number:
                now = max(target.revision for target in route.function.traffic)
                number = max((n for n in route.revisions if n < now), default=0)
                if not number:
                    raise Conflict(
                        f"{action.namespace}/{action.name} has no revision before {now}", hint="There is nothing to go back to."
                    )
            targets = (Target(number),)
            self._check_targets(route, targets)
            return replace(route.function, traffic=targets)

        return await self._change(action, change)

    async def put_alias(self, action: PutAlias) -> Function:
        if not valid_alias(action.alias):
            raise NameInvalid(
                f"{action.alias[:100]!r} is not a name for an alias",
                hint="Use letters, digits, - and _, at most 128, not digits alone.",
            )

        def change(route: Route) -> Function:
            self._check_targets(route, action.traffic)
            return replace(route.function, aliases={**route.function.aliases, action.alias: action.traffic})

        return await self._change(action, change)

    async def delete_alias(self, action: DeleteAlias) -> Function:
        def change(route: Route) -> Function:
            if action.alias not in route.function.aliases:
                raise NotFound(f"{action.namespace}/{action.name} has no alias {action.alias[:100]!r}")
            left = {name: targets for name, targets in route.function.aliases.items() if name != action.alias}
            return replace(route.function, aliases=left)

        return await self._change(action, change)

    async def _change(self, action: _OnOne, change: Callable[[Route], Function]) -> Function:
        """Store it, swap it in, and let go of what nothing points to now. Changes of one function take turns, so that none is lost."""
        async with self._deployer.changes.of(f"{action.namespace}/{action.name}"):
            function = replace(change(self._registry.route(action.namespace, action.name)), updated=self._clock.now())
            await self._store.commit(function_statement(function), notes=[note(function)])
            await self._registry.refresh(function.namespace, function.name)
            self._deployer.reach(function.namespace, function.name)
            return function

    def _check_targets(self, route: Route, targets: tuple[Target, ...]) -> None:
        if not targets:
            raise BadInput("traffic needs at least one target")
        if len(targets) > 100:
            raise BadInput("traffic has at most 100 targets")
        for target in targets:
            if target.revision not in route.revisions:
                raise NotFound(
                    f"{route.function.key} has no revision {target.revision}",
                    hint=f"Its revisions are {', '.join(map(str, sorted(route.revisions)[-10:]))}.",
                )
            if target.tag and not valid_alias(target.tag):
                raise NameInvalid(f"{target.tag[:100]!r} is not a name for a tag")
        tags = [target.tag for target in targets if target.tag]
        if len(set(tags)) < len(tags):
            raise BadInput("a tag stands on one target only")

    def _require_namespace(self, namespace: str) -> None:
        if namespace not in self._registry.namespaces:
            raise NotFound(f"there is no namespace {namespace[:100]!r}", hint="See: dayfly namespace ls")
