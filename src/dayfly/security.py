"""What protects tenants from functions and from each other, on this machine and with these settings.

The machine is asked by `sandbox/node/protections.py`; here come the lines that follow from settings, and the decision whether a server
may start: one that isolates at all needs what is `required`, one for tenants who do not trust each other (`multi_tenant`) also what is
marked `tenants`. Who goes without one of those says so by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .config import Settings
from .errors import Conflict
from .sandbox.node.protections import Protection, probe


def report(settings: Settings) -> list[Protection]:
    """Every protection as it is with these settings. Takes as long as `probe`."""
    return [*_of_settings(settings), *probe()]


def require(settings: Settings) -> None:
    """Raises Conflict if something that these settings need is off and they do not name it as left out."""
    if settings.isolation == "process" and not settings.multi_tenant:
        return
    found = report(settings) if settings.multi_tenant else probe()
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
    jailed = settings.isolation != "process"
    yield Protection(
        name="isolation",
        state="on" if jailed else "off",
        why=f"instances live in sandboxes of {settings.isolation}s" if jailed else "isolation `process`: none at all",
        todo="" if jailed else "start without --isolation process",
        tenants=True,
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
