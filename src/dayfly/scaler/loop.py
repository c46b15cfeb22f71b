"""Applies the decisions: every two seconds, for each revision that is running or was lately, look and act.

    load       the pool's integral of calls in flight -> averages over 60 s and 6 s
    reserve    the KPA says how many instances that load needs
    keep       the function's habit says how long its last instance stays, and whether it comes back by itself
    act        `plan` puts the two together: so many to start, so many of the longest idle to retire

What a call needs at once it gets at once from the pool itself; this loop only sees to the reserve. With 10,000 functions deployed it
looks at those with instances, load, or a pre-warm to come. A function's habit (its histogram of idle times, what its start costs, since
when it is idle) outlives its instances and its revisions.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ..clock import Clock, Timer
from .keepalive import IdleHistogram, KeepSpec, Windows, keep_for, spare_for
from .kpa import TICK, KpaSpec, KpaState, decide
from .plan import plan
from .windows import LoadHistory

if TYPE_CHECKING:
    from ..pool.group import Group
    from ..pool.pool import Pool

_NEVER = Windows(0.0, 0.0)
HABITS = 50_000  # functions whose habit is remembered


class _Habit:
    """What is known of a function's idle times and starts."""

    __slots__ = ("cold_cost_s", "idle_from", "seen")

    def __init__(self) -> None:
        self.seen = IdleHistogram()
        self.cold_cost_s = 0.0
        self.idle_from: float | None = None  # only while none of its revisions is looked at


class _Scale:
    """What the loop remembers of one revision while it looks at it."""

    __slots__ = ("area", "done", "group", "habit", "history", "idle_from", "kpa", "state", "windows")

    def __init__(self, group: Group, habit: _Habit) -> None:
        config = group.config
        self.group = group
        self.habit = habit
        self.kpa = KpaSpec(target=config.concurrency, min_scale=config.min_instances, max_scale=config.max_instances)
        self.state = KpaState(initialized=True)
        self.history = LoadHistory()
        self.area = 0.0
        self.done = group.pressure.done  # calls that ended by the last look
        self.windows = _NEVER
        self.idle_from, habit.idle_from = habit.idle_from, None


class ScaleLoop:
    """The loop over all groups of a pool."""

    def __init__(self, pool: Pool, clock: Clock, keep: KeepSpec | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._keep = keep or KeepSpec()
        self._scales: dict[str, _Scale] = {}
        self._habits: dict[str, _Habit] = {}
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
                scale = self._scales[key] = _Scale(group, self._habit(group))
            self._look(scale, now)
            if self._over(scale, now):
                self._pool.groups.pop(key, None)
        for key in [key for key, scale in self._scales.items() if self._pool.groups.get(key) is not scale.group]:
            scale = self._scales.pop(key)
            scale.habit.idle_from = scale.idle_from

    def cold_cost_s(self, namespace: str, function: str) -> float:
        """What a start of this function takes, in seconds; 0: not known."""
        habit = self._habits.get(f"{namespace}/{function}")
        return habit.cold_cost_s if habit is not None else 0.0

    def _habit(self, group: Group) -> _Habit:
        key = f"{group.revision.namespace}/{group.revision.function}"
        habit = self._habits.get(key)
        if habit is None:
            if len(self._habits) >= HABITS:
                self._habits.pop(next(iter(self._habits)))
            habit = self._habits[key] = _Habit()
        return habit

    def _look(self, scale: _Scale, now: float) -> None:
        group, habit = scale.group, scale.habit
        area = group.load.at(now)
        scale.history.record(now, area)
        stable, panic = scale.history.average(60.0), scale.history.average(scale.kpa.panic_window_s)
        ready = group.alive - group.starting
        decision, scale.state = decide(scale.kpa, scale.state, stable, panic, ready, now, reachable=group.reachable)
        habit.cold_cost_s = group.cold_cost_s or habit.cold_cost_s
        if area > scale.area or group.load.level > 0:
            if scale.idle_from is not None:
                habit.seen.observe(now - scale.idle_from, self._keep)
            scale.idle_from = None
        scale.area = area
        idle_s = None
        if group.load.level == 0:
            if scale.idle_from is None:
                scale.idle_from = group.load.changed
                scale.windows = keep_for(habit.seen, habit.cold_cost_s or None, self._keep)
            idle_s = now - scale.idle_from
        idle = group.idle
        desired, crowded = decision.desired, False
        if group.pressure.short:  # what waits for its turn is load, too, but not such as instances would help
            enough = group.pressure.useful((group.pressure.done - scale.done) / TICK)
            desired = min(desired, enough)
            crowded = group.load.level > 0 and 2 * ready > 3 * enough  # a first burst, when nobody knew how short the calls are
        scale.done = group.pressure.done
        spare = [(instance, now - instance.idle_since) for instance in idle]
        if crowded:  # and under full load none of them is ever idle: they go with their last call
            spare = [(instance, inf) for instance in (*idle, *group.busy)]
        todo = plan(
            reserve=max(desired, group.config.min_instances if group.reachable else 0),
            windows=scale.windows,
            idle_s=idle_s,
            alive=ready,
            starting=group.starting,
            idle_ages=[age for _, age in spare],
            max_instances=group.config.max_instances,
            spare_s=spare_for(habit.cold_cost_s or None, self._keep),
        )
        if todo.start:
            group.reserve(group.alive + todo.start)
        for instance, _ in spare[: todo.retire]:
            group.retire(instance)

    def _over(self, scale: _Scale, now: float) -> bool:
        """Whether nothing of this revision is left to look after."""
        group = scale.group
        if group.instances or group.waiting or group.load.level > 0:
            return False
        if not group.reachable or scale.idle_from is None or not scale.windows.prewarm_after_s:
            return True  # no instance is left to keep, and none comes back by itself
        return scale.windows.next_change(now - scale.idle_from) is None
