"""What each role may do, and that namespaces keep apart."""

from __future__ import annotations

import pytest

from dayfly import actions as a
from dayfly.auth.policy import ROLES, Authority, allowed
from dayfly.errors import Forbidden, Unauthenticated
from dayfly.model.delivery import Destination
from dayfly.model.function import Callers, InvokePolicy
from dayfly.model.identity import ANONYMOUS, EVERYWHERE, LOCAL, STRANGER, Identity, Role
from dayfly.model.trigger import Source
from tests.support.fake_platform import FakePlatform

pytestmark = pytest.mark.anyio

GET = a.GetFunction(name="hello")
PUT = a.PutFunction(name="hello", code=a.Code(files={"handler.py": ""}))
CALL = a.Invoke(namespace="default", function="hello")
MAKE = a.PutNamespace(namespace="default")
AUTHORITY = Authority(lambda namespace, function: None)
ACTIONS = {"get": GET, "put": PUT, "call": CALL, "make": MAKE}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("owner", {"get", "put", "call", "make"}),
        ("deployer", {"get", "put", "call"}),
        ("viewer", {"get"}),
        ("invoker", {"call"}),
    ],
)
def test_roles(role, may):
    identity = Identity(name="x", grants={"default": (role,)})
    assert {name for name, action in ACTIONS.items() if allowed(identity, action)} == may


@pytest.mark.parametrize(
    "grants", [{"default": (Role.VIEWER, Role.INVOKER)}, {"default": (Role.VIEWER,), EVERYWHERE: (Role.INVOKER,)}]
)
def test_roles_add_up(grants):
    identity = Identity(name="x", grants=grants)
    assert allowed(identity, GET)
    assert allowed(identity, CALL)
    assert not allowed(identity, PUT)


def every(kind: type) -> set[type]:
    """All actions that there are, however deep."""
    return {found for sub in kind.__subclasses__() for found in {sub} | every(sub)}


def test_every_action_belongs_to_a_role():
    assert ROLES[Role.OWNER] == {*every(a.Action), a.Invoke}


def test_an_action_that_no_role_names_is_refused():
    assert not allowed(LOCAL, a.Action())


@pytest.mark.parametrize("namespace", ["b", "", "*", "A", "a/b"])
def test_an_identity_acts_only_in_its_namespaces(namespace):
    identity = Identity(name="alice", grants={"a": (Role.OWNER,)})
    assert allowed(identity, a.GetFunction(namespace="a", name="x"))
    assert not allowed(identity, a.GetFunction(namespace=namespace, name="x"))
    assert not allowed(identity, a.Invoke(namespace=namespace, function="x"))


def test_roles_differ_by_namespace():
    bob = Identity(name="bob", grants={"a": (Role.VIEWER,), "b": (Role.DEPLOYER,)})
    assert allowed(bob, a.PutFunction(namespace="b", name="x", code=PUT.code))
    assert not allowed(bob, a.PutFunction(namespace="a", name="x", code=PUT.code))
    assert allowed(bob, a.GetFunction(namespace="a", name="x"))


def test_nobody_gives_what_they_do_not_have():
    alice = Identity(name="alice", grants={"a": (Role.OWNER,), "b": (Role.DEPLOYER,)})
    assert allowed(alice, a.CreateKey(namespace="a", name="k"))
    assert not allowed(alice, a.CreateKey(namespace="b", name="k"))
    assert not allowed(alice, a.CreateKey(namespace="a", name="k", elsewhere={"b": (Role.VIEWER,)}))
    assert not allowed(alice, a.CreateKey(namespace=EVERYWHERE, name="k"))
    assert not allowed(alice, a.CreateKey(namespace="a", name="k", elsewhere={EVERYWHERE: (Role.VIEWER,)}))


def test_without_roles_nobody_may_do_anything():
    stranger = Identity(name="stranger")
    assert not any(allowed(stranger, action) for action in (*ACTIONS.values(), a.ListNamespaces()))


async def test_the_middleware_refuses_before_anything_is_looked_up():
    platform = FakePlatform()
    guarded = AUTHORITY.guard(platform.perform)
    with pytest.raises(Forbidden, match=r"alice may not perform GetFunction in namespace 'default'"):
        await guarded(GET, Identity(name="alice", grants={"a": (Role.OWNER,)}))
    assert platform.performed == []


async def test_the_middleware_passes_on_what_is_allowed_with_the_identity():
    platform = FakePlatform()
    await AUTHORITY.guard(platform.perform)(MAKE, LOCAL)
    assert platform.performed == [(MAKE, LOCAL)]


async def test_each_sees_only_its_own_namespaces():
    platform = FakePlatform()
    guarded = AUTHORITY.guard(platform.perform)
    for name in ("a", "b"):
        await guarded(a.PutNamespace(namespace=name), LOCAL)
    page = await guarded(a.ListNamespaces(), Identity(name="alice", grants={"a": (Role.OWNER,)}))
    assert [item.name for item in page.items] == ["a"]
    assert len((await guarded(a.ListNamespaces(), LOCAL)).items) == 3


INVOKER = Identity(name="i", id="key_i", grants={"default": (Role.INVOKER,)})
DEPLOYER = Identity(name="d", id="key_d", grants={"default": (Role.DEPLOYER,)})
VIEWER = Identity(name="v", id="key_v", grants={"default": (Role.VIEWER,)})
ELSEWHERE = Identity(name="i", id="key_e", grants={"shop": (Role.OWNER,)})
KNOWN = [INVOKER, DEPLOYER, VIEWER, ELSEWHERE]


@pytest.mark.parametrize(
    ("policy", "may"),
    [
        (None, {"key_i", "key_d"}),
        (InvokePolicy(), {"key_i", "key_d"}),
        (InvokePolicy(callers=Callers.PUBLIC), {"key_i", "key_d", "key_v", "key_e"}),
        (InvokePolicy(callers=Callers.LISTED, identities=("key_e",)), {"key_e", "key_d"}),
        (InvokePolicy(callers=Callers.LISTED, identities=("i", "")), {"key_d"}),  # a name is no id
    ],
)
def test_a_function_says_who_may_call_it(policy, may):
    def calls(identity):
        try:
            Authority(lambda namespace, function: policy).check(CALL, identity)
        except Forbidden:
            return False
        return True

    assert {identity.id for identity in KNOWN if calls(identity)} == may
    assert calls(LOCAL)


@pytest.mark.parametrize("unknown", [ANONYMOUS, STRANGER])
def test_who_is_unknown_calls_what_is_public_and_is_asked_who_it_is_elsewhere(unknown):
    Authority(lambda namespace, function: InvokePolicy(callers=Callers.PUBLIC)).check(CALL, unknown)
    for policy in (None, InvokePolicy(), InvokePolicy(callers=Callers.LISTED, identities=("", "x"))):
        with pytest.raises(Unauthenticated):
            Authority(lambda namespace, function, policy=policy: policy).check(CALL, unknown)
    with pytest.raises(Unauthenticated):
        AUTHORITY.check(GET, unknown)


@pytest.mark.parametrize(
    ("kind", "who_owns_the_server_alone"),
    [("files", True), ("postgres", True), ("timer", False), ("webhook", False), ("queue", False)],
)
def test_sources_that_reach_what_the_server_can_reach_are_for_its_owner(kind, who_owns_the_server_alone):
    put = a.PutTrigger(name="t", target=Destination(kind="function", name="f"), source=Source(kind=kind))
    tenant = Identity(name="x", grants={"default": (Role.OWNER, Role.DEPLOYER), EVERYWHERE: (Role.DEPLOYER,)})
    assert allowed(tenant, put) is not who_owns_the_server_alone
    assert allowed(Identity(name="y", grants={EVERYWHERE: (Role.OWNER,)}), put)
    if who_owns_the_server_alone:
        with pytest.raises(Forbidden, match="only its owner"):
            AUTHORITY.check(put, tenant)
