"""Autoscaler and keep-alive together: how many instances to start and to retire now.

They own different parts of the time axis. Under load the autoscaler's number is the reserve; below it nothing is retired. After the
last call the keep-alive windows decide about the last instance alone. What is above both, left over from a burst that was served on
demand, goes when it has been idle for `spare_s`, the one idle longest first.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from .keepalive import Windows

SPARE = 10.0  # seconds that an instance beyond the reserve may idle


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
    spare_s: float = SPARE,
) -> Plan:
    """What to do now.

    reserve        what the autoscaler wants, minimum instances included
    windows        keep-alive windows of the function, and
    idle_s         seconds since its last call ended; None while calls are under way or waiting
    alive          instances ready; `starting` are not among them
    idle_ages      seconds each idle instance has been idle
    """
    last = 1 if idle_s is None or windows.warm_at(idle_s) else 0
    target = min(max(reserve, last), max_instances)
    total = alive + starting
    if total < target:
        return Plan(target - total if idle_s is not None or total or reserve else 0, 0)
    expired = 0.0 if target < last or (idle_s is not None and not last and not reserve) else spare_s
    return Plan(0, min(total - target, sum(1 for age in idle_ages if age >= expired)))
