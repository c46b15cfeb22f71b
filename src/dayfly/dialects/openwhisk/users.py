"""Who calls: Basic authentication with `uuid:key`, and the namespace that `_` stands for.

On a server that asks for a login, keys of the kind `basic` (`dayfly key create --kind basic`) say who somebody is and where. On one that
does not, everybody is the same local user, and the key only chooses the namespace: that of the well-known guest, or the system's.
"""

from __future__ import annotations

import base64
import binascii
import functools
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from ...errors import Unauthenticated
from ...model.identity import ANONYMOUS, EVERYWHERE, LOCAL, Identity, Role
from ...model.names import DEFAULT_NAMESPACE
from ..hook import Credentials, Head
from .faults import NO_LOGIN, UNAUTHORIZED, Rejected
from .profile import SYSTEM, WELL_KNOWN

SYSTEM_SPACE = "whisk-system"


class User(Struct, frozen=True):
    """A caller. `namespace` is its own."""

    namespace: str
    grants: frozenset[str] = frozenset()  # further namespaces

    @property
    def space(self) -> str:
        return space(self.namespace)

    def may(self, namespace: str) -> bool:
        """Whether the namespace is open to this caller like the own one."""
        return namespace == self.namespace or EVERYWHERE in self.grants or namespace in self.grants


def space(namespace: str) -> str:
    """Where Dayfly keeps what belongs to a namespace. Only the system's has a name that Dayfly's rule does not allow."""
    return SYSTEM_SPACE if namespace == SYSTEM else namespace


def namespace_of(where: str) -> str:
    """The other way round."""
    return SYSTEM if where == SYSTEM_SPACE else where


def authenticate(head: Head, body: bytes | None, credentials: Credentials) -> Identity | None:
    """Who sends a request to a server that asks for a login: `uuid:key`, or any name with a token.

    Web actions and the addresses of APIs are for everybody, whatever else they show: the action decides. So is what the server says
    of itself.
    """
    key = basic(head)
    known = credentials.identify(key.encode()) or credentials.identify(key.partition(":")[2].encode()) if key else None
    public = _public(head.path)
    if public:
        if known is None:
            known = credentials.identify(head.get(b"authorization").partition(" ")[2].strip().encode("latin-1"))
        return _guest_of(public, known)
    if known is not None:
        return known
    if key:
        raise Unauthenticated(UNAUTHORIZED)
    if head.get(b"authorization"):
        return None
    path = head.path.removeprefix("/api/v1").split("/")
    if head.method == "OPTIONS" or len(path) < 3 or path[1] != "namespaces":
        return ANONYMOUS
    raise Unauthenticated(NO_LOGIN)


def _public(path: str) -> str:
    """The namespace whose web action or API has that path; empty for all others."""
    parts = path.split("/")
    if len(parts) > 4 and parts[1:4] == ["api", "v1", "web"] and parts[4:6] != [SYSTEM, "apimgmt"]:
        return unquote(parts[4])
    return unquote(parts[2]) if len(parts) > 3 and parts[1] == "api" and parts[2] != "v1" else ""


def _guest_of(namespace: str, known: Identity | None) -> Identity:
    """Somebody who may call in that namespace, beside what may be done anyway."""
    where = space(namespace)
    if known is None:
        return Identity(name="anonymous", grants={where: (Role.INVOKER,)})
    return replace(known, grants={**known.grants, where: (*known.grants.get(where, ()), Role.INVOKER)})


def user(head: Head) -> User:
    """The caller of a route that needs one. Raises Rejected (401)."""
    identity = head.identity
    key = basic(head)
    if identity is None or identity.id == LOCAL.id:
        known = WELL_KNOWN.get(key)
        if known is None:
            raise Rejected(401, UNAUTHORIZED if key else NO_LOGIN)
        return User(known)
    if not identity.id:
        raise Rejected(401, NO_LOGIN)
    own = next((name for name in identity.grants if name != EVERYWHERE), DEFAULT_NAMESPACE)
    return User(namespace_of(own), frozenset(map(namespace_of, identity.grants)))


def maybe(head: Head) -> User | None:
    """The caller, if it says who it is."""
    return user(head) if head.get(b"authorization") else None


def basic(head: Head) -> str:
    """`uuid:key` of a request; empty if it carries none."""
    return _decoded(head.get(b"authorization"))


@functools.lru_cache(maxsize=256)
def _decoded(header: str) -> str:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ":"  # nobody's
