"""Who performs an action, and the keys that say so."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct

EVERYWHERE = "*"  # stands for all namespaces


class Role(enum.StrEnum):
    """What somebody may do in a namespace. `auth.policy` has the table."""

    OWNER = "owner"  # everything, keys and quotas included
    DEPLOYER = "deployer"  # change functions and what belongs to them, call and look
    INVOKER = "invoker"  # call functions, and follow up the own calls by their ids
    VIEWER = "viewer"  # look, at everything but secrets' values
    FUNCTION = "function"  # what functions may do themselves: call, send and receive messages, read and write objects


LOOKERS = frozenset({Role.OWNER, Role.DEPLOYER, Role.VIEWER})


Grants = Mapping[str, tuple[Role, ...]]  # namespace, or EVERYWHERE -> roles there


class Identity(Struct, frozen=True, kw_only=True):
    """A caller that has been recognised. Roles in a namespace and everywhere add up; without any it may do nothing."""

    name: str
    grants: Grants = {}
    id: str = ""  # names it alone, as a name need not: the id of its key, `function:shop/cart`, `local`
    expires: float = 0.0  # seconds since the epoch; 0: not by itself
    instance: str = ""  # that it is, where a function calls
    peer: str = ""  # address that the request came from, where that is known

    def looks(self, namespace: str) -> bool:
        """Whether it may look at what is deployed there."""
        return not LOOKERS.isdisjoint(self.roles(namespace))

    def roles(self, namespace: str) -> tuple[Role, ...]:
        here = self.grants.get(namespace, ())
        return here if namespace == EVERYWHERE else here + self.grants.get(EVERYWHERE, ())


OWNS_ALL: Grants = {EVERYWHERE: (Role.OWNER,)}
LOCAL = Identity(name="local", id="local", grants=OWNS_ALL)  # loopback without a login, and Dayfly itself
ANONYMOUS = Identity(name="anonymous")  # calls a function without showing anything
STRANGER = Identity(name="stranger")  # shows something that is not ours: to the function, if that is public


class KeyKind(enum.StrEnum):
    """How a key is shown."""

    TOKEN = "token"  # Authorization: Bearer dft_...
    PAIR = "pair"  # an access key and a secret that signs requests (AWS Signature Version 4)
    BASIC = "basic"  # Authorization: Basic, with uuid:key (OpenWhisk)


class Key(Struct, frozen=True, kw_only=True):
    """What lets somebody in, without the secret part."""

    id: str  # of a pair the access key, of a basic key the uuid
    namespace: str  # where it was made, or EVERYWHERE
    name: str
    kind: KeyKind
    grants: dict[str, tuple[Role, ...]]
    created: float  # seconds since the epoch
    expires: float = 0.0  # 0: never


class NewToken(Struct, frozen=True, kw_only=True):
    """A token that nobody stores."""

    token: str
    expires: float  # seconds since the epoch


class NewKey(Struct, frozen=True, kw_only=True):
    """A key that was just made: the only time that its secret is shown."""

    key: Key
    secret: str  # the token; the secret of a pair; `uuid:key` of a basic key
