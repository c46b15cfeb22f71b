"""Applies the decisions: every two seconds, for each revision that is running or was lately, look and act.

    load       the pool's integral of calls in flight -> averages over 60 s and 6 s
    reserve    the KPA says how many instances that load needs; missing ones are started ahead of the next call
    shrink     idle instances above that number go, the least recently used first, once they have been idle for SURPLUS_IDLE
    zero       the last one stays as long as the function's keep-alive windows say, and comes back when they say

What a call needs at once it gets at once from the pool itself; this loop only sees to the reserve. With 10,000 functions deployed it
looks at those with instances, load, or a pre-warm to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..clock import Clock, Timer
from .keepalive import IdleHistogram, KeepSpec, Windows, keep_for
from .kpa import TICK, KpaSpec, KpaState, decide
from .windows import LoadHistory

if TYPE_CHECKING:
    from ..pool.group import Group
    from ..pool.pool import Pool

SURPLUS_IDLE: Final = 10.0  # seconds an instance above the KPA's number is idle before it goes


class _Scale:
    """What the loop remembers of one revision."""

    __slots__ = ("area", "group", "history", "idle_from", "kpa", "state", "windows")

    def __init__(self, group: Group, spec: KpaSpec) -> None:
        self.group = group
        self.kpa = spec
        self.state = KpaState(initialized=True)
        self.history = LoadHistory()
        self.area = 0.0
        self.idle_from: float | None = None
        self.windows: Windows | None = None


class ScaleLoop:
    """The loop over all groups of a pool."""

    def __init__(self, pool: Pool, clock: Clock, keep: KeepSpec | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._keep = keep or KeepSpec()
        self._scales: dict[str, _Scale] = {}
        self._idle: dict[str, IdleHistogram] = {}  # by function: habits outlive a revision
        self._timer: Timer | None = None

    def start(self) -> None:
        self._timer = self._clock.call_later(TICK, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self.tick()
        self._timer = self._clock.call_later(TICK, self._beat)

    def tick(self) -> None:
        """Look at everything once, now."""
        now = self._clock.monotonic()
        for key, group in list(self._pool.groups.items()):
            scale = self._scales.get(key)
            if scale is None or scale.group is not group:
                scale = self._scales[key] = _Scale(group, self._spec(group))
            self._look(scale, now)
            if not group.instances and not group.waiting and scale.history.idle and scale.windows is None:
                del self._scales[key]
                self._pool.groups.pop(key, None)
        for key in [key for key in self._scales if key not in self._pool.groups]:
            del self._scales[key]

    @staticmethod
    def _spec(group: Group) -> KpaSpec:
        config = group.config
        return KpaSpec(target=config.concurrency, min_scale=config.min_instances, max_scale=config.max_instances)

    def _look(self, scale: _Scale, now: float) -> None:
        group = scale.group
        area = group.load.at(now)
        scale.history.record(now, area)
        called = area > scale.area or group.load.level > 0
        scale.area = area
        stable, panic = scale.history.average(60.0), scale.history.average(scale.kpa.panic_window_s)
        decision, scale.state = decide(scale.kpa, scale.state, stable, panic, group.alive, now, reachable=not group.draining)
        if called:
            self._called(scale, now)
        wanted = decision.desired
        if not group.draining:
            wanted = max(wanted, group.config.min_instances, self._kept(scale, now))
            if wanted > group.alive and (called or not group.instances or wanted <= group.config.min_instances):
                group.reserve(wanted)
        for instance in group.idle[: max(0, group.alive - wanted)]:
            if now - instance.idle_since >= SURPLUS_IDLE or group.draining:
                group.retire(instance)

    def _called(self, scale: _Scale, now: float) -> None:
        """There were calls since the last look: note how long it had been idle before."""
        if scale.idle_from is not None:
            self._histogram(scale.group).observe(now - scale.idle_from, self._keep)
        scale.idle_from = None
        scale.windows = None

    def _kept(self, scale: _Scale, now: float) -> int:
        """1 while the keep-alive windows want an instance although nothing calls it."""
        group = scale.group
        if group.load.level > 0:
            return 1
        if scale.idle_from is None:
            scale.idle_from = group.load.changed
            scale.windows = keep_for(self._histogram(group), group.cold_cost_s or None, self._keep)
        idle = now - scale.idle_from
        if scale.windows is None:
            return 0
        warm = scale.windows.warm_at(idle)
        if not warm and scale.windows.next_change(idle) is None:
            scale.windows = None  # it will not come back by itself
        return 1 if warm else 0

    def _histogram(self, group: Group) -> IdleHistogram:
        key = f"{group.revision.namespace}/{group.revision.function}"
        seen = self._idle.get(key)
        if seen is None:
            seen = self._idle[key] = IdleHistogram()
        return seen
