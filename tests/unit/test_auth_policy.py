"""What each role may do, and that namespaces keep apart."""

from __future__ import annotations

import pytest

from dayfly import actions as a
from dayfly.auth.policy import ROLES, allowed, authorise
from dayfly.errors import Forbidden
from dayfly.model.identity import LOCAL, Identity
from tests.support.fake_platform import FakePlatform

pytestmark = pytest.mark.anyio

GET = a.GetFunction(name="hello")
PUT = a.PutFunction(name="hello", code=a.Code(files={"handler.py": ""}))
CALL = a.Invoke(namespace="default", function="hello")
MAKE = a.PutNamespace(namespace="default")
ACTIONS = {"get": GET, "put": PUT, "call": CALL, "make": MAKE}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("owner", {"get", "put", "call", "make"}),
        ("developer", {"get", "put", "call"}),
        ("viewer", {"get"}),
        ("invoker", {"call"}),
        ("stranger", set()),
    ],
)
def test_roles(role, may):
    identity = Identity(name="x", roles=(role,))
    assert {name for name, action in ACTIONS.items() if allowed(identity, action)} == may


def test_roles_add_up():
    identity = Identity(name="x", roles=("viewer", "invoker"))
    assert allowed(identity, GET)
    assert allowed(identity, CALL)
    assert not allowed(identity, PUT)


def test_every_action_belongs_to_a_role():
    assert ROLES["owner"] == {*a.Action.__subclasses__(), a.Invoke}


def test_an_action_that_no_role_names_is_refused():
    assert not allowed(LOCAL, a.Action())


@pytest.mark.parametrize("namespace", ["b", "", "*", "A", "a/b"])
def test_an_identity_acts_only_in_its_namespaces(namespace):
    identity = Identity(name="alice", namespaces=("a",))
    assert allowed(identity, a.GetFunction(namespace="a", name="x"))
    assert not allowed(identity, a.GetFunction(namespace=namespace, name="x"))
    assert not allowed(identity, a.Invoke(namespace=namespace, function="x"))


async def test_the_middleware_refuses_before_anything_is_looked_up():
    platform = FakePlatform()
    guarded = authorise(platform.perform)
    with pytest.raises(Forbidden, match=r"alice may not perform GetFunction in namespace 'default'"):
        await guarded(GET, Identity(name="alice", namespaces=("a",)))
    assert platform.performed == []


async def test_the_middleware_passes_on_what_is_allowed_with_the_identity():
    platform = FakePlatform()
    await authorise(platform.perform)(MAKE, LOCAL)
    assert platform.performed == [(MAKE, LOCAL)]


async def test_each_sees_only_its_own_namespaces():
    platform = FakePlatform()
    guarded = authorise(platform.perform)
    for name in ("a", "b"):
        await guarded(a.PutNamespace(namespace=name), LOCAL)
    page = await guarded(a.ListNamespaces(), Identity(name="alice", namespaces=("a",)))
    assert [item.name for item in page.items] == ["a"]
    assert len((await guarded(a.ListNamespaces(), LOCAL)).items) == 3
