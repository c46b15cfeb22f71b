"""Keys that are kept: made, listed and revoked here, durable in the store, and looked up in memory alone.

A key is shown once. What is stored is its SHA-256; only the secret of a pair, which has to sign, is stored itself, encrypted. A key
ends at once: in this cell before `revoke` returns, in others when they hear of it. They hear through the change feed, drop what it
names and read again what is left of it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import string
import uuid
from collections.abc import Collection
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from ..actions import CreateKey, CreateToken, ListKeys, Page, Performers, RevokeKey
from ..clock import Clock
from ..errors import BadInput, DayflyError, NotFound, TooLarge
from ..model.identity import EVERYWHERE, Identity, Key, KeyKind, NewKey, NewToken
from ..store.port import Note, Row, Statement, Store
from .seal import Seal
from .signed import MAX_TTL, Claims
from .tokens import Keyring, new_token

MAX_KEYS = 10_000  # of a server: each takes about a kilobyte of memory
MAX_NAME = 128  # characters
_ALPHABET = string.ascii_letters + string.digits
_key = msgspec.json.Decoder(Key).decode

log = logging.getLogger("dayfly.auth")


class Keys:
    """Performs the actions on keys; `keyring` is what it keeps up to date."""

    def __init__(self, store: Store, seal: Seal, keyring: Keyring, namespaces: Collection[str], clock: Clock) -> None:
        """`namespaces` are those that exist, always up to date."""
        self._store = store
        self._seal = seal
        self._keyring = keyring
        self._namespaces = namespaces
        self._clock = clock
        self._keys: dict[str, tuple[Key, bytes]] = {}  # by id, with the digest
        self._reading: dict[str, asyncio.Task[None]] = {}  # keys that the feed has named

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            CreateKey: self.create,
            ListKeys: self.list,
            RevokeKey: self.revoke,
        }

    async def load(self) -> None:
        """Read all keys once, at start."""
        self._store.subscribe(self._heard)
        for row in await self._store.fetch("keys_all"):
            self._read(row)

    async def create(self, action: CreateKey) -> NewKey:
        """Raises BadInput, or NotFound for a namespace that does not exist."""
        grants = {**action.elsewhere, action.namespace: action.roles}
        for namespace, roles in grants.items():
            if not roles:
                raise BadInput(f"the key has no role in {namespace}", hint="Give it one of: owner, deployer, invoker, viewer.")
            if namespace != EVERYWHERE and namespace not in self._namespaces:
                raise NotFound(f"there is no namespace {namespace[:100]!r}", hint="See: dayfly namespace ls")
        if not 0 < len(action.name) <= MAX_NAME or not action.name.isprintable():
            raise BadInput(f"a key has a name of 1 to {MAX_NAME} printable characters")
        if not 0 <= action.ttl_s <= 10 * 365 * 86400:  # refuses NaN, too
            raise BadInput("a key lives between 0 (for ever) and 315360000 seconds")
        if len(self._keys) >= MAX_KEYS:
            raise TooLarge(f"there are {len(self._keys)} keys", hint="Revoke some: dayfly key revoke ID", limit=MAX_KEYS)
        identifier, secret, shown = _make(action.kind)
        now = self._clock.now()
        key = Key(
            id=identifier,
            namespace=action.namespace,
            name=action.name,
            kind=action.kind,
            grants={namespace: tuple(dict.fromkeys(roles)) for namespace, roles in grants.items()},
            created=now,
            expires=now + action.ttl_s if action.ttl_s else 0.0,
        )
        digest = sha256(shown.encode()).digest() if shown else b""
        sealed = b"" if shown else self._seal.seal(secret.encode(), _label(identifier))
        await self._store.commit(_statement(key, digest, sealed), notes=[("key", key.id)])
        self._hold(key, digest, b"" if shown else secret.encode())
        return NewKey(key=key, secret=shown or secret)

    async def create_token(self, action: CreateToken, by: Identity) -> NewToken:
        """Raises BadInput."""
        if not 0 < action.ttl_s <= MAX_TTL:  # refuses NaN, too
            raise BadInput(
                f"a token lives up to {MAX_TTL:g} seconds", hint="What is to live longer is a key: dayfly key create"
            )
        if self._keyring.signer is None or by.instance:
            raise BadInput("a function has a token already, and makes none")
        expires = min(self._clock.now() + action.ttl_s, by.expires or math.inf)  # no token outlives the one it was asked with
        claims = Claims(
            name=by.name,
            id=by.id,
            grants={action.namespace: tuple(dict.fromkeys(action.roles))},
            expires=expires,
            parent=by.id,
        )
        return NewToken(token=self._keyring.signer.mint(claims), expires=expires)

    async def list(self, action: ListKeys) -> Page[Key]:
        found = [key for key, _ in self._keys.values() if action.namespace in key.grants]
        return Page(items=tuple(sorted(found, key=lambda key: (key.name, key.id))))

    async def revoke(self, action: RevokeKey) -> None:
        """Raises NotFound."""
        known = self._keys.get(action.id)
        if known is None or action.namespace not in known[0].grants:
            raise NotFound(f"there is no key {action.id[:100]!r} in {action.namespace}", hint="See: dayfly key ls")
        await self._store.commit(("key_delete", {"id": action.id}), notes=[("key", action.id)])
        self._drop(action.id)

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and with it what keys could do there: whoever takes its name next is somebody else."""
        statements: list[Statement] = []
        for key, digest in list(self._keys.values()):
            if namespace not in key.grants:
                continue
            rest = {name: roles for name, roles in key.grants.items() if name != namespace}
            signer = self._keyring.secret(key.id)
            self._drop(key.id)
            if not rest:
                statements.append(("key_delete", {"id": key.id}))
                continue
            secret = signer[0] if signer is not None else b""
            left = replace(key, grants=rest)
            sealed = self._seal.seal(secret, _label(key.id)) if key.kind is KeyKind.PAIR else b""
            statements.append(_statement(left, digest, sealed))
            self._hold(left, digest, secret)
        if statements:
            self._store.write_behind(*statements)

    def close(self) -> None:
        for task in self._reading.values():
            task.cancel()

    # --- the copy in memory ---------------------------------------------------------------------------------------------

    def _read(self, row: Row) -> None:
        identifier, body, digest, sealed = row
        key = _key(body)
        # A crash may have come between the end of a namespace and that of its keys.
        grants = {name: roles for name, roles in key.grants.items() if name == EVERYWHERE or name in self._namespaces}
        if not grants:
            return
        try:
            secret = self._seal.open(bytes(sealed), _label(identifier)) if key.kind is KeyKind.PAIR else b""
        except DayflyError as error:
            log.error("a key does not open anything: %s", error.detail)
            return
        self._hold(replace(key, grants=grants), bytes(digest), secret)

    def _hold(self, key: Key, digest: bytes, secret: bytes) -> None:
        identity = Identity(name=key.name, grants=key.grants, id=key.id)
        self._keys[key.id] = (key, digest)
        if key.kind is KeyKind.PAIR:
            self._keyring.hold_signer(key.id, secret, identity, key.expires)
        else:
            self._keyring.hold(digest, identity, key.expires)

    def _drop(self, identifier: str) -> None:
        known = self._keys.pop(identifier, None)
        if known is not None:
            self._keyring.drop(known[1], identifier)

    def _heard(self, note: Note) -> None:
        kind, identifier = note
        if kind != "key":
            return
        self._drop(identifier)
        before = self._reading.pop(identifier, None)
        if before is not None:
            before.cancel()  # what it would bring is older than this note
        self._reading[identifier] = asyncio.ensure_future(self._refresh(identifier))

    async def _refresh(self, identifier: str) -> None:
        try:
            for row in await self._store.fetch("key_one", id=identifier):
                self._read(row)
        except DayflyError as error:
            log.error("the key %s opens nothing until the next start: %s", identifier, error.detail)
        finally:
            if self._reading.get(identifier) is asyncio.current_task():
                del self._reading[identifier]


def _make(kind: KeyKind) -> tuple[str, str, str]:
    """Id, the secret part, and what will be shown with every request; that is empty for a pair, which signs instead."""
    if kind is KeyKind.PAIR:
        # As AWS has them: 20 capitals and digits, 40 characters.
        return "AKIA" + _random(16, string.ascii_uppercase + "234567"), _random(40), ""
    if kind is KeyKind.BASIC:
        identifier = str(uuid.uuid4())  # as OpenWhisk has them: a uuid and 64 characters
        secret = _random(64)
        return identifier, secret, f"{identifier}:{secret}"
    token = new_token()
    return "key_" + secrets.token_hex(8), token, token


def _random(length: int, alphabet: str = _ALPHABET) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _label(identifier: str) -> str:
    return f"key/{identifier}"


def _statement(key: Key, digest: bytes, sealed: bytes) -> Statement:
    return "key_put", {"id": key.id, "body": msgspec.json.encode(key), "digest": digest, "sealed": sealed}
