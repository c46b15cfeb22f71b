"""Namespaces: boundaries of tenancy."""

from __future__ import annotations

from collections.abc import Callable

from ..actions import (
    DeleteNamespace,
    ListNamespaces,
    Page,
    Performers,
    PutNamespace,
)
from ..clock import Clock
from ..errors import Conflict, NameInvalid
from ..model.names import DEFAULT_NAMESPACE, valid_name
from ..model.package import NamespaceInfo
from ..store.port import Store
from .registry import Registry


class Namespaces:
    """Performs the actions on namespaces."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        deleted: Callable[[str, list[str]], None],
    ) -> None:
        """`deleted(namespace, versions)` is told when it is gone, and with it the objects of these versions."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._deleted = deleted

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            PutNamespace: self.put,
            ListNamespaces: self.list,
            DeleteNamespace: self.delete,
        }

    async def load(self) -> None:
        """Make sure that the default namespace is there."""
        if DEFAULT_NAMESPACE not in self._registry.namespaces:
            await self.put(PutNamespace())

    async def put(self, action: PutNamespace) -> NamespaceInfo:
        name = action.namespace
        if not valid_name(name):
            raise NameInvalid(
                f"{name[:100]!r} is not a name for a namespace",
                hint="Use lower-case letters, digits, - and _, at most 63, beginning and ending with a letter or digit.",
            )
        if name not in self._registry.namespaces:
            now = self._clock.now()
            await self._store.commit(("namespace_put", {"name": name, "created": now}), notes=[("namespace", name)])
            self._registry.namespaces.setdefault(name, now)
        return NamespaceInfo(name=name, created=self._registry.namespaces[name])

    async def list(self, action: ListNamespaces) -> Page[NamespaceInfo]:
        known = sorted(self._registry.namespaces.items())
        return Page(items=tuple(NamespaceInfo(name=name, created=created) for name, created in known))

    async def delete(self, action: DeleteNamespace) -> None:
        name = action.namespace
        self._registry.require_namespace(name)
        functions = self._registry.functions(name)
        if functions:
            raise Conflict(f"the namespace {name} has {len(functions)} functions", hint="Delete them first: dayfly rm NAME")
        if name == DEFAULT_NAMESPACE:
            raise Conflict("the default namespace stays")
        effects = await self._store.commit(
            ("objects_forget", {"namespace": name}),
            ("buckets_forget", {"namespace": name}),
            ("secrets_delete", {"namespace": name}),
            ("documents_delete", {"namespace": name}),
            ("catalog_forget", {"namespace": name}),
            ("checkpoints_forget", {"namespace": name}),
            ("queue_forget_namespace", {"namespace": name}),
            ("events_forget_namespace", {"namespace": name}),
            ("inputs_forget", {"namespace": name, "function": ""}),
            ("namespace_delete", {"name": name}),
            notes=[("namespace", name)],
        )
        self._registry.namespaces.pop(name, None)
        self._deleted(name, [version for version, _ in effects[0].rows])
