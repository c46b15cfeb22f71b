"""The dialects that come with Dayfly, and where they answer."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from ..model.network import AWS
from .hook import Mount, View

FUNCTIONS = "functions"  # the listener that functions call the platform at

log = logging.getLogger("dayfly.dialects")


class BuiltIn(Struct, frozen=True, kw_only=True):
    """A dialect of ours. `module` has a function `dialect(view) -> Dialect`; its listener has the dialect's name. It may have another,
    `further(view, listener)`, for mounts beside that."""

    name: str
    module: str
    port: int  # of its own listener, where that is free: the one its clients are used to
    prefixes: tuple[str, ...] = ()  # on the main listener, and where functions call the platform; "" is the root
    hosts: tuple[str, ...] = ()  # on the main listener
    functions_at: str = ""  # an address at which functions call it, with paths of its own
    extra: str = ""  # of the package, if the dialect needs more than the base installation


BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn(name="lambda", module="dayfly.dialects.aws", port=4566, functions_at=AWS, extra="lambda"),
    BuiltIn(name="openwhisk", module="dayfly.dialects.openwhisk", port=3233, prefixes=("",)),
)


def mounts(names: Iterable[str], view: View) -> tuple[Mount, ...]:
    """Where these dialects answer. One whose extra is not installed is left out, which the log says."""
    wanted = set(names)
    found: list[Mount] = []
    for built_in in BUILT_IN:
        if built_in.name not in wanted:
            continue
        try:
            module: Any = importlib.import_module(built_in.module)
        except ModuleNotFoundError as error:
            if not built_in.extra or (error.name or "").startswith("dayfly"):
                raise
            log.warning("no %s here: it needs %s (pip install 'dayfly[%s]')", built_in.name, error.name, built_in.extra)
            continue
        made = module.dialect(view)
        found.append(Mount(dialect=made, listener=built_in.name))
        if hasattr(module, "further"):
            found += module.further(view, built_in.name)
        found += [Mount(dialect=made, prefix=prefix, listener=to) for prefix in built_in.prefixes for to in ("", FUNCTIONS)]
        if built_in.functions_at:
            found.append(Mount(dialect=made, hosts=(built_in.functions_at,), listener=FUNCTIONS))
        if built_in.hosts:
            found.append(Mount(dialect=made, hosts=built_in.hosts))
    return tuple(found)
