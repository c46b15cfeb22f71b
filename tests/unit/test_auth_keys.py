"""Keys: shown once, recognised by their digest, gone the moment they are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dayfly import actions as a
from dayfly.auth.keys import Keys
from dayfly.auth.seal import Seal, new_key
from dayfly.auth.tokens import Keyring
from dayfly.errors import BadInput, NotFound
from dayfly.model.identity import EVERYWHERE, KeyKind, NewKey, Role
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


class Cell:
    """One cell's keys: what a server holds of them."""

    def __init__(self, store: SqliteStore, seal: Seal, namespaces: set[str]) -> None:
        self.clock = FakeClock()
        self.keyring = Keyring(now=self.clock.now)
        self.keys = Keys(store, seal, self.keyring, namespaces, self.clock)

    def lets_in(self, made: NewKey) -> bool:
        if made.key.kind is KeyKind.PAIR:
            return self.keyring.secret(made.key.id) is not None
        return self.keyring.identify(made.secret.encode()) is not None


@asynccontextmanager
async def cells(count: int = 1, path: Path | None = None, seal: Seal | None = None) -> AsyncIterator[list[Cell]]:
    store = SqliteStore(path)
    await store.open()
    seal = seal or Seal([new_key()])
    made = [Cell(store, seal, {"default", "shop"}) for _ in range(count)]
    for cell in made:
        await cell.keys.load()
    try:
        yield made
    finally:
        for cell in made:
            cell.keys.close()
        await store.close()


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("kind", KeyKind)
async def test_a_key_lets_in_with_its_roles_until_it_is_revoked(kind: KeyKind) -> None:
    async with cells() as (cell,):
        made = await cell.keys.create(
            a.CreateKey(name="ci", kind=kind, roles=(Role.INVOKER,), elsewhere={"shop": (Role.OWNER,)})
        )
        if kind is KeyKind.PAIR:
            secret, identity = cell.keyring.secret(made.key.id) or pytest.fail("unknown")
            assert secret.decode() == made.secret
        else:
            identity = cell.keyring.identify(made.secret.encode()) or pytest.fail("unknown")
        assert (identity.name, identity.roles("default"), identity.roles("shop")) == ("ci", (Role.INVOKER,), (Role.OWNER,))
        assert identity.roles("other") == ()
        await cell.keys.revoke(a.RevokeKey(id=made.key.id))
        assert not cell.lets_in(made)
        with pytest.raises(NotFound):
            await cell.keys.revoke(a.RevokeKey(id=made.key.id))


@pytest.mark.parametrize("kind", KeyKind)
async def test_keys_outlive_the_server_and_their_secrets_are_not_in_its_files(kind: KeyKind, tmp_path: Path) -> None:
    seal = Seal([new_key()])
    async with cells(path=tmp_path / "db", seal=seal) as (cell,):
        made = await cell.keys.create(a.CreateKey(name="ci", kind=kind))
    secret = made.secret.rpartition(":")[2].encode()
    assert secret not in everything(tmp_path)
    async with cells(path=tmp_path / "db", seal=seal) as (cell,):
        assert cell.lets_in(made)


async def test_the_end_of_a_key_reaches_other_cells_through_the_feed() -> None:
    async with cells(2) as (here, there):
        made = await here.keys.create(a.CreateKey(name="ci"))
        while not there.lets_in(made):
            await asyncio.sleep(0)
        await here.keys.revoke(a.RevokeKey(id=made.key.id))
        assert not there.lets_in(made)
        for task in list(there.keys._reading.values()):
            await task
        assert not there.lets_in(made)


async def test_a_key_ends_by_itself() -> None:
    async with cells() as (cell,):
        made = await cell.keys.create(a.CreateKey(name="today", ttl_s=60.0))
        cell.clock.advance(59)
        assert cell.lets_in(made)
        cell.clock.advance(1)
        assert not cell.lets_in(made)


async def test_who_sees_and_revokes_a_key_owns_a_namespace_it_opens() -> None:
    async with cells() as (cell,):
        both = await cell.keys.create(a.CreateKey(name="both", elsewhere={"shop": (Role.VIEWER,)}))
        everywhere = await cell.keys.create(a.CreateKey(namespace=EVERYWHERE, name="admin"))
        assert [key.name for key in (await cell.keys.list(a.ListKeys(namespace="shop"))).items] == ["both"]
        assert [key.name for key in (await cell.keys.list(a.ListKeys(namespace=EVERYWHERE))).items] == ["admin"]
        with pytest.raises(NotFound):
            await cell.keys.revoke(a.RevokeKey(namespace="shop", id=everywhere.key.id))
        await cell.keys.revoke(a.RevokeKey(namespace="shop", id=both.key.id))
        assert not cell.lets_in(both)


async def test_whoever_takes_the_name_of_a_deleted_namespace_does_not_inherit_its_keys(tmp_path: Path) -> None:
    seal = Seal([new_key()])
    async with cells(path=tmp_path / "db", seal=seal) as (cell,):
        only = await cell.keys.create(a.CreateKey(namespace="shop", name="only"))
        pair = await cell.keys.create(
            a.CreateKey(name="both", kind=KeyKind.PAIR, elsewhere={"shop": (Role.OWNER,)}, roles=(Role.VIEWER,))
        )
        cell.keys.forget("shop")
        assert not cell.lets_in(only)
    async with cells(path=tmp_path / "db", seal=seal) as (cell,):
        assert not cell.lets_in(only)
        secret, identity = cell.keyring.secret(pair.key.id) or pytest.fail("unknown")
        assert (secret.decode(), identity.grants) == (pair.secret, {"default": (Role.VIEWER,)})


async def test_a_crash_between_the_end_of_a_namespace_and_of_its_keys_leaves_no_way_in(tmp_path: Path) -> None:
    async with cells(path=tmp_path / "db") as (cell,):
        made = await cell.keys.create(a.CreateKey(namespace="shop", name="x"))
    store = SqliteStore(tmp_path / "db")
    await store.open()
    cell = Cell(store, Seal([new_key()]), {"default"})
    await cell.keys.load()
    assert not cell.lets_in(made)
    await store.close()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (a.CreateKey(name=""), BadInput),
        (a.CreateKey(name="a\nb"), BadInput),
        (a.CreateKey(name="\x1b[31m"), BadInput),
        (a.CreateKey(name="x", roles=()), BadInput),
        (a.CreateKey(name="x", ttl_s=-1), BadInput),
        (a.CreateKey(name="x", ttl_s=float("nan")), BadInput),
        (a.CreateKey(name="x", namespace="nowhere"), NotFound),
        (a.CreateKey(name="x", elsewhere={"nowhere": (Role.VIEWER,)}), NotFound),
    ],
)
async def test_what_makes_no_key(wrong: a.CreateKey, error: type[Exception]) -> None:
    async with cells() as (cell,):
        with pytest.raises(error):
            await cell.keys.create(wrong)
        assert (await cell.keys.list(a.ListKeys())).items == ()


async def test_a_pair_whose_encryption_key_is_lost_opens_nothing_and_the_server_starts(tmp_path: Path) -> None:
    async with cells(path=tmp_path / "db") as (cell,):
        pair = await cell.keys.create(a.CreateKey(name="aws", kind=KeyKind.PAIR))
        token = await cell.keys.create(a.CreateKey(name="ci"))
    async with cells(path=tmp_path / "db") as (cell,):  # with another encryption key
        assert not cell.lets_in(pair)
        assert cell.lets_in(token)


def test_a_near_miss_is_a_miss() -> None:
    keyring = Keyring()
    right = b"\x01" * 32
    from dayfly.model.identity import LOCAL

    keyring.hold(right, LOCAL)
    assert keyring.identify(b"anything") is None
    assert keyring.secret("nobody") is None
