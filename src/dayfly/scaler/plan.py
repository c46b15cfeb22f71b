"""Autoscaler and keep-alive together: how many instances to start and to retire now.

They own different parts of the time axis. Under load the autoscaler's number is the reserve; nothing below it is retired. After
the last call the keep-alive windows decide about the last instance alone. What is above both, left over from a burst that was
served on demand, goes when it has been idle for `spare_s`, the one idle longest first.

Keep-alive starts an instance only when a pre-warm window opens. An instance that was evicted while it lingered does not come
back by itself: memory was short, and the next call starts one anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from .keepalive import Windows


class Plan(Struct, frozen=True):
    """So many instances to start; so many of the longest idle to retire. One of them is zero."""

    start: int
    retire: int


def plan(
    *,
    reserve: int,
    windows: Windows,
    idle_s: float | None,
    alive: int,
    starting: int,
    idle_ages: Iterable[float],
    max_instances: int,
    spare_s: float,
) -> Plan:
    """What to do now.

    reserve        what the autoscaler wants, minimum instances included
    windows        keep-alive windows of the function, and
    idle_s         seconds since its last call ended; None while calls are under way or waiting
    alive          instances ready; `starting` are not among them
    idle_ages      seconds each idle instance has been idle
    spare_s        how long one beyond the reserve may be (`keepalive.spare_for`)
    """
    held = 1 if idle_s is None or windows.warm_at(idle_s) else 0
    due = 1 if held and idle_s is not None and 0 < windows.prewarm_after_s <= idle_s else 0
    total = alive + starting
    missing = min(max(reserve, due), max_instances) - total
    if missing > 0:
        return Plan(missing, 0)
    keep = min(max(reserve, held), max_instances)
    patience = spare_s if keep else 0.0
    return Plan(0, min(max(0, total - keep), sum(1 for age in idle_ages if age >= patience)))
