"""Tokens that nobody stores: signed, short-lived, never more than their maker may do."""

from __future__ import annotations

import base64

import msgspec
import pytest

from dayfly import actions as a
from dayfly.auth.keys import Keys
from dayfly.auth.policy import allowed
from dayfly.auth.seal import Seal, new_key
from dayfly.auth.signed import Claims, Signer
from dayfly.auth.tokens import Keyring
from dayfly.errors import BadInput
from dayfly.model.identity import LOCAL, Identity, Role
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

SHOP = Claims(name="ci", id="key_1", grants={"shop": (Role.INVOKER,)}, expires=2_000_000_000.0, parent="key_1")


class Site:
    def __init__(self, key: bytes = b"k" * 32) -> None:
        self.clock = FakeClock()
        self.keyring = Keyring(now=self.clock.now)
        self.keyring.trust("key_1")
        self.instances = {("shop/cart@3", "i1")}
        self.signer = Signer(key, now=self.clock.now, holds=self.keyring.holds, runs=lambda *it: it in self.instances)
        self.keyring.signer = self.signer
        self.keys = Keys(SqliteStore(None), Seal([new_key()]), self.keyring, {"default"}, self.clock)

    def identify(self, token: str) -> Identity | None:
        return self.keyring.identify(token.encode())


def test_a_token_says_who_it_is_until_it_ends() -> None:
    site = Site()
    token = site.signer.mint(msgspec.structs.replace(SHOP, expires=site.clock.now() + 60))
    for _ in range(2):  # the second time from memory
        found = site.identify(token)
        assert found is not None
        assert (found.name, found.id, found.grants) == ("ci", "key_1", {"shop": (Role.INVOKER,)})
    site.clock.advance(60)
    assert site.identify(token) is None


def test_it_ends_with_the_key_it_was_asked_with() -> None:
    site = Site()
    token = site.signer.mint(SHOP)
    assert site.identify(token)
    site.keyring.drop(b"", "key_1")
    assert site.identify(token) is None


def test_another_servers_tokens_are_nobodys() -> None:
    assert Site().identify(Site(b"x" * 32).signer.mint(SHOP)) is None


def test_what_is_changed_is_nobodys_whatever_is_changed() -> None:
    site = Site()
    token = site.signer.mint(SHOP)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert site.identify(changed) is None, at


def forged(claims: Claims, mac: str) -> str:
    return "dfs_" + base64.urlsafe_b64encode(msgspec.msgpack.encode(claims)).decode().rstrip("=") + mac


@pytest.mark.parametrize("mac", ["", ".", ".none", "." + "A" * 43, ".=", ".\xff"])
def test_no_signature_or_a_made_up_one_is_none(mac: str) -> None:
    admin = msgspec.structs.replace(SHOP, grants={"*": (Role.OWNER,)})
    assert Site().keyring.identify(forged(admin, mac).encode("latin-1")) is None


@pytest.mark.parametrize(
    "token",
    [
        # RFC 7519 with "alg": "none", and one whose signature a public key would check.
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJvd25lciJ9.",
        "dfs_eyJhbGciOiJub25lIn0.eyJzdWIiOiJvd25lciJ9.",
        "dfs_",
        "dfs_.",
        "dfs_" + "A" * 100_000,
        "dfs_" + "A" * 100_000 + "." + "A" * 43,
    ],
)
def test_other_forms_of_tokens_are_nobodys(token: str) -> None:
    assert Site().identify(token) is None


def test_a_function_may_call_its_own_namespace_as_long_as_its_instance_lives() -> None:
    site = Site()
    token = site.signer.mint_for_instance("shop", "cart", "shop/cart@3", "i1")
    found = site.identify(token)
    assert found is not None
    assert (found.id, found.instance) == ("function:shop/cart", "i1")
    assert allowed(found, a.Invoke(namespace="shop", function="other"))
    assert not allowed(found, a.Invoke(namespace="bank", function="other"))
    assert not allowed(found, a.ListSecrets(namespace="shop"))
    site.instances.clear()
    assert site.identify(token) is None


async def test_nobody_asks_for_more_than_they_have_nor_for_longer() -> None:
    site = Site()
    by = Identity(name="ci", id="key_1", grants={"default": (Role.DEPLOYER,)})
    assert allowed(by, a.CreateToken(roles=(Role.INVOKER, Role.VIEWER)))
    assert not allowed(by, a.CreateToken(roles=(Role.OWNER,)))
    assert not allowed(by, a.CreateToken(roles=()))
    assert not allowed(by, a.CreateToken(namespace="shop", roles=(Role.VIEWER,)))
    assert not allowed(by, a.CreateToken(namespace="*", roles=(Role.VIEWER,)))
    for seconds in (0, -1, float("nan"), 86401):
        with pytest.raises(BadInput):
            await site.keys.create_token(a.CreateToken(ttl_s=seconds), by)
    made = await site.keys.create_token(a.CreateToken(ttl_s=60), by)
    first = site.identify(made.token)
    assert first is not None
    again = await site.keys.create_token(a.CreateToken(ttl_s=3600), first)
    assert again.expires == made.expires, "a token cannot be renewed for ever"
    function = site.identify(site.signer.mint_for_instance("shop", "cart", "shop/cart@3", "i1"))
    assert function is not None
    with pytest.raises(BadInput):
        await site.keys.create_token(a.CreateToken(namespace="shop"), function)


async def test_tokens_of_a_server_without_login_end_with_that() -> None:
    site = Site()
    site.keyring.trust("local")
    token = (await site.keys.create_token(a.CreateToken(), LOCAL)).token
    assert site.identify(token)
    assert Site().identify(token) is None
