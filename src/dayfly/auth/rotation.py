"""A new key for everything that is encrypted.

The new key is put before the old ones, in the file first: whatever happens then, everything still opens. All rows are encrypted anew,
each only if nobody has changed it meanwhile, until none is left under an old key; then the old keys go.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..actions import RotateSecretKey
from ..errors import BadInput, Unavailable
from ..store.port import Statement, Store
from .seal import VARIABLE, Seal, new_key, save

ROUNDS = 8  # a round leaves only what was written during it


class Rotation:
    """Performs RotateSecretKey."""

    def __init__(self, store: Store, seal: Seal, path: Path) -> None:
        self._store = store
        self._seal = seal
        self._path = path
        self._busy = False

    async def rotate(self, action: RotateSecretKey) -> int:
        """How many values were encrypted anew. Raises BadInput if the keys come from the environment and there is no new one."""
        if self._busy:
            raise Unavailable("the key is being changed already", retry_after=1.0)
        self._busy = True
        try:
            given = VARIABLE in os.environ
            if given and len(self._seal.keys) < 2:
                raise BadInput(
                    f"{VARIABLE} holds one key",
                    hint="Start the server with the new key before the old one: NEW,OLD. Then rotate.",
                )
            if not given:
                keys = [new_key(), *self._seal.keys]
                save(self._path, keys)
                self._seal.keys[:] = keys
            count = 0
            for _ in range(ROUNDS):
                statements = await self._stale()
                if not statements:
                    del self._seal.keys[1:]
                    if not given:
                        save(self._path, self._seal.keys)
                    return count
                count += len(statements)
                await self._store.commit(*statements)
            raise Unavailable("secrets change faster than they can be encrypted anew", hint="Try again.", retry_after=1.0)
        finally:
            self._busy = False

    async def _stale(self) -> list[Statement]:
        """What makes new rows of those that an old key has sealed."""
        found: list[Statement] = []
        for namespace, name, value, _updated, _sealed in await self._store.fetch("secrets_all"):
            if not self._seal.current(bytes(value)):
                new = self._again(bytes(value), f"secret/{namespace}/{name}")
                found.append(("secret_reseal", {"namespace": namespace, "name": name, "old": value, "new": new}))
        for identifier, _body, _digest, value in await self._store.fetch("keys_all"):
            if value and not self._seal.current(bytes(value)):
                new = self._again(bytes(value), f"key/{identifier}")
                found.append(("key_reseal", {"id": identifier, "old": value, "new": new}))
        return found

    def _again(self, sealed: bytes, label: str) -> bytes:
        return self._seal.seal(self._seal.open(sealed, label), label)
