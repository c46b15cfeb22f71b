"""Who performs an action."""

from __future__ import annotations

from msgspec import Struct

EVERYWHERE = "*"  # stands for all namespaces


class Identity(Struct, frozen=True, kw_only=True):
    """A caller that has been recognised. `namespaces` is ("*",) for all of them."""

    name: str
    namespaces: tuple[str, ...] = (EVERYWHERE,)
    roles: tuple[str, ...] = ("owner",)


LOCAL = Identity(name="local")  # loopback without a login, and Dayfly itself
