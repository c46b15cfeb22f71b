"""Secrets of namespaces: encrypted in the store, in the clear in memory alone, since a cold start must not wait for either."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from ..actions import DeleteSecret, ListSecrets, Page, Performers, PutSecret
from ..clock import Clock
from ..errors import BadInput, NameInvalid, NotFound
from ..model.function import Revision
from ..model.names import SECRET_PATTERN
from ..model.package import SecretInfo
from ..store.port import Statement, Store
from .registry import Registry

SECRET_BYTES = 64 << 10  # of one value
OWN = ""  # the namespace of what the server itself keeps secret


class Seal(Protocol):
    def seal(self, value: bytes, label: str) -> bytes: ...

    def open(self, sealed: bytes, label: str) -> bytes:
        """Raises DayflyError."""
        ...


class Secrets:
    """Performs the actions on secrets; gives instances their environment."""

    def __init__(self, store: Store, registry: Registry, seal: Seal, clock: Clock, changed: Callable[[str, str], None]) -> None:
        """`changed(namespace, name)` is told so that instances with the old value are retired."""
        self._store = store
        self._registry = registry
        self._seal = seal
        self._clock = clock
        self._changed = changed
        self._secrets: dict[str, dict[str, str]] = {}

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            PutSecret: self.put,
            ListSecrets: self.list,
            DeleteSecret: self.delete,
        }

    async def load(self) -> None:
        """Read all secrets, and encrypt those that an older version had stored as they are.

        Raises DayflyError if one does not open: functions would start without it.
        """
        plain: list[Statement] = []
        for namespace, name, value, updated, sealed in await self._store.fetch("secrets_all"):
            label = _label(namespace, name)
            clear = self._seal.open(bytes(value), label) if sealed else bytes(value)
            self._secrets.setdefault(namespace, {})[name] = clear.decode()
            if not sealed:
                plain.append(self._put(namespace, name, clear, updated))
        if plain:
            await self._store.commit(*plain)

    async def own(self, name: str, make: Callable[[], str]) -> str:
        """A secret of the server itself, made if it is missing."""
        known = self._secrets.setdefault(OWN, {})
        if name not in known:
            value = make()
            await self._store.commit(self._put(OWN, name, value.encode(), self._clock.now()))
            known[name] = value
        return known[name]

    def environment(self, revision: Revision) -> dict[str, str]:
        """The environment of an instance: variables, then secrets. A secret that was deleted is simply not there."""
        config = revision.config
        if not config.secrets:
            return config.env
        known = self._secrets.get(revision.namespace, {})
        return config.env | {variable: known[name] for variable, name in config.secrets.items() if name in known}

    def find(self, namespace: str, name: str) -> str | None:
        """The value of a secret; None: there is none of that name."""
        return self._secrets.get(namespace, {}).get(name)

    def require(self, namespace: str, names: list[str]) -> None:
        """Raises NotFound for the first secret that does not exist."""
        for name in names:
            if name not in self._secrets.get(namespace, {}):
                raise NotFound(
                    f"there is no secret {name[:100]!r} in {namespace}", hint=f"Store it first: dayfly secret set {name}"
                )

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and its secrets with it."""
        self._secrets.pop(namespace, None)

    async def put(self, action: PutSecret) -> SecretInfo:
        self._registry.require_namespace(action.namespace)
        if re.match(SECRET_PATTERN, action.name) is None:
            raise NameInvalid(f"{action.name[:100]!r} is not a name for a secret", hint="Use letters, digits, _ . and -.")
        value = action.value.encode()
        if len(value) > SECRET_BYTES or b"\0" in value:
            raise BadInput(f"a secret is text of at most {SECRET_BYTES} bytes without NUL")
        now = self._clock.now()
        statement = self._put(action.namespace, action.name, value, now)
        await self._store.commit(statement, notes=[("secret", f"{action.namespace}/{action.name}")])
        self._secrets.setdefault(action.namespace, {})[action.name] = action.value
        self._changed(action.namespace, action.name)
        return SecretInfo(name=action.name, updated=now)

    async def list(self, action: ListSecrets) -> Page[SecretInfo]:
        self._registry.require_namespace(action.namespace)
        rows = await self._store.fetch("secrets_of", namespace=action.namespace)
        return Page(items=tuple(SecretInfo(name=name, updated=updated) for name, updated in rows))

    async def delete(self, action: DeleteSecret) -> None:
        self._registry.require_namespace(action.namespace)
        if action.name not in self._secrets.get(action.namespace, {}):
            raise NotFound(f"there is no secret {action.name[:100]!r} in {action.namespace}")
        row = {"namespace": action.namespace, "name": action.name}
        await self._store.commit(("secret_delete", row), notes=[("secret", f"{action.namespace}/{action.name}")])
        self._secrets.get(action.namespace, {}).pop(action.name, None)
        self._changed(action.namespace, action.name)

    def _put(self, namespace: str, name: str, value: bytes, updated: float) -> Statement:
        sealed = self._seal.seal(value, _label(namespace, name))
        return "secret_put", {"namespace": namespace, "name": name, "value": sealed, "updated": updated}


def _label(namespace: str, name: str) -> str:
    return f"secret/{namespace}/{name}"
