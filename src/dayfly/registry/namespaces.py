"""Namespaces and their secrets."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..actions import (
    DeleteNamespace,
    DeleteSecret,
    ListNamespaces,
    ListSecrets,
    Page,
    PutNamespace,
    PutSecret,
)
from ..clock import Clock
from ..errors import BadInput, Conflict, NameInvalid, NotFound
from ..model.function import Revision
from ..model.names import DEFAULT_NAMESPACE, SECRET_PATTERN, valid_name
from ..model.package import NamespaceInfo, SecretInfo
from ..store.port import Store
from .registry import Registry

SECRET_BYTES = 64 << 10  # of one value


class Namespaces:
    """Performs the actions on namespaces and secrets; gives instances their environment.

    Secret values are kept in memory as well: a cold start must not wait for the disk.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        secret_changed: Callable[[str, str], None],
        deleted: Callable[[str], None],
    ) -> None:
        """`secret_changed(namespace, name)` is told so that instances with the old value are retired; `deleted(namespace)`, when
        it is gone."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._secret_changed = secret_changed
        self._deleted = deleted
        self._secrets: dict[str, dict[str, str]] = {}

    async def load(self) -> None:
        """Read all secrets, and make sure that the default namespace is there."""
        if DEFAULT_NAMESPACE not in self._registry.namespaces:
            await self.put(PutNamespace())
        for namespace in self._registry.namespaces:
            rows = await self._store.fetch("secret_values", namespace=namespace)
            self._secrets[namespace] = {name: bytes(value).decode() for name, value in rows}

    def environment(self, revision: Revision) -> dict[str, str]:
        """The environment of an instance: variables, then secrets. A secret that was deleted is simply not there."""
        config = revision.config
        if not config.secrets:
            return config.env
        known = self._secrets.get(revision.namespace, {})
        return config.env | {variable: known[name] for variable, name in config.secrets.items() if name in known}

    def require_secrets(self, namespace: str, names: list[str]) -> None:
        """Raises NotFound for the first secret that does not exist."""
        for name in names:
            if name not in self._secrets.get(namespace, {}):
                raise NotFound(
                    f"there is no secret {name[:100]!r} in {namespace}", hint=f"Store it first: dayfly secret set {name}"
                )

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
            self._secrets.setdefault(name, {})
        return NamespaceInfo(name=name, created=self._registry.namespaces[name])

    async def list(self, action: ListNamespaces) -> Page[NamespaceInfo]:
        known = sorted(self._registry.namespaces.items())
        return Page(items=tuple(NamespaceInfo(name=name, created=created) for name, created in known))

    async def delete(self, action: DeleteNamespace) -> None:
        name = action.namespace
        self._require(name)
        functions = self._registry.functions(name)
        if functions:
            raise Conflict(f"the namespace {name} has {len(functions)} functions", hint="Delete them first: dayfly rm NAME")
        if name == DEFAULT_NAMESPACE:
            raise Conflict("the default namespace stays")
        secrets = [("secret_delete", {"namespace": name, "name": secret}) for secret in self._secrets.get(name, {})]
        documents = ("documents_delete", {"namespace": name})
        await self._store.commit(*secrets, documents, ("namespace_delete", {"name": name}), notes=[("namespace", name)])
        self._registry.namespaces.pop(name, None)
        self._secrets.pop(name, None)
        self._deleted(name)

    async def put_secret(self, action: PutSecret) -> SecretInfo:
        self._require(action.namespace)
        if re.match(SECRET_PATTERN, action.name) is None:
            raise NameInvalid(f"{action.name[:100]!r} is not a name for a secret", hint="Use letters, digits, _ . and -.")
        value = action.value.encode()
        if len(value) > SECRET_BYTES or b"\0" in value:
            raise BadInput(f"a secret is text of at most {SECRET_BYTES} bytes without NUL")
        now = self._clock.now()
        row = {"namespace": action.namespace, "name": action.name, "value": value, "updated": now}
        await self._store.commit(("secret_put", row), notes=[("secret", f"{action.namespace}/{action.name}")])
        self._secrets.setdefault(action.namespace, {})[action.name] = action.value
        self._secret_changed(action.namespace, action.name)
        return SecretInfo(name=action.name, updated=now)

    async def secrets(self, action: ListSecrets) -> Page[SecretInfo]:
        self._require(action.namespace)
        rows = await self._store.fetch("secrets_of", namespace=action.namespace)
        return Page(items=tuple(SecretInfo(name=name, updated=updated) for name, updated in rows))

    async def delete_secret(self, action: DeleteSecret) -> None:
        self._require(action.namespace)
        if action.name not in self._secrets.get(action.namespace, {}):
            raise NotFound(f"there is no secret {action.name[:100]!r} in {action.namespace}")
        row = {"namespace": action.namespace, "name": action.name}
        await self._store.commit(("secret_delete", row), notes=[("secret", f"{action.namespace}/{action.name}")])
        self._secrets[action.namespace].pop(action.name, None)
        self._secret_changed(action.namespace, action.name)

    def _require(self, name: str) -> None:
        if name not in self._registry.namespaces:
            raise NotFound(f"there is no namespace {name[:100]!r}", hint="See: dayfly namespace ls")
