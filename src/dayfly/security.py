"""What protects tenants from functions and from each other, on this machine and with these settings.

The machine is asked by `sandbox/node/protections.py`; here come the lines that follow from settings, and the decision whether a server
may start: one that isolates at all needs what is `required`, one for tenants who do not trust each other (`multi_tenant`) also what is
marked `tenants`. Who goes without one of those says so by its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from .config import Settings
from .errors import Conflict
from .sandbox.node.protections import Protection, probe
from .sandbox.node.wrap import WRAPS, missing


def report(settings: Settings) -> list[Protection]:
    """Every protection as it is with these settings. Takes as long as `probe`."""
    return [*_of_settings(settings), *probe()]


def require(settings: Settings) -> None:
    """Raises Conflict if something that these settings need is off and they do not name it as left out."""
    if settings.isolation == "process" and not settings.multi_tenant:
        return
    found = report(settings)
    if unknown := sorted(set(settings.without) - {handle(protection) for protection in found}):
        raise Conflict(
            f"there is no protection {unknown[0]!r} to go without",
            hint=f"They are: {', '.join(handle(p) for p in found if p.required or p.tenants)}.",
        )
    missing = missing_for(found, settings)
    if not missing:
        return
    reasons = "; ".join(f"{p.name}: {p.why}" for p in missing)
    if settings.multi_tenant:
        raise Conflict(
            f"this machine does not keep tenants apart: {reasons}",
            hint="`dayfly doctor --security --multi-tenant` tells what to do. To start all the same: "
            + " ".join(f"--without {handle(p)}" for p in missing),
        )
    raise Conflict(
        f"this machine cannot isolate functions: {reasons}",
        hint="`dayfly doctor` tells what to do. For your own code alone: --isolation process, which isolates nothing.",
    )


def missing_for(found: Iterable[Protection], settings: Settings) -> list[Protection]:
    """What these settings need, do not have, and do not do without by name."""
    return [
        protection
        for protection in found
        if protection.state == "off"
        and (protection.required or (settings.multi_tenant and protection.tenants))
        and handle(protection) not in settings.without
    ]


def handle(protection: Protection) -> str:
    """Its name as an option takes it."""
    return protection.name.replace(" ", "-")


def _of_settings(settings: Settings) -> Iterator[Protection]:
    yield _isolation(settings.isolation)
    if settings.isolation in WRAPS and os.geteuid() == 0:
        yield Protection(
            name="users of instances",
            state="weaker",
            why=f"with {settings.isolation}, instances are users of their own, but in no user namespace of their own",
            todo="use --isolation namespace for both",
        )
    login = settings.needs_token
    yield Protection(
        name="login",
        state="on" if login else "off",
        why="every caller shows a key" if login else "whoever reaches this machine's loopback owns everything",
        todo="" if login else "give a token (DAYFLY_TOKEN), or start with --multi-tenant",
        tenants=True,
    )
    yield Protection(
        name="zygotes",
        state="on" if settings.multi_tenant else "weaker",
        why="one for each namespace: only its own functions share a hash seed and an address layout"
        if settings.multi_tenant
        else "functions of all namespaces share Python's hash seed and an address layout",
        todo="" if settings.multi_tenant else "start with --multi-tenant",
        tenants=True,
    )


def _isolation(name: str) -> Protection:
    if name == "process":
        why, todo = "isolation `process`: none at all", "start without --isolation process"
        return Protection(name="isolation", state="off", why=why, todo=todo, tenants=True)
    if why := missing(name):
        return Protection(name="isolation", state="off", why=why, todo=f"install it, or use another than {name}", required=True)
    kernel = "with a kernel of its own" if name == "runsc" else "on the kernel of this machine"
    return Protection(name="isolation", state="on", why=f"sandboxes by {name}, {kernel}", tenants=True)
