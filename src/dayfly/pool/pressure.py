"""Short calls wait for a busy instance, unless another one would help.

A call of a quarter of a millisecond that finds no instance free has its turn long before a new instance is ready. Starting one for
each that waits, as it is right for long calls, ends with as many instances as there are callers, on two cores: the same throughput
or less, out of cold caches. So while calls are short the queue is only watched: once it has not been empty for as long as a start
takes, `choose.relief` says how many instances would help. If it was wrong to think that calls are short, it starts one for each.

Only where calls have been very short without exception is one sent ahead (`steady`): it cannot be had back, so it must not stand
behind a long one.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from ..clock import Timer
from .choose import relief, useful

if TYPE_CHECKING:
    from .group import Group

SHORT: Final = 0.005  # seconds; longer calls get an instance each at once
STEADY: Final = 0.001  # seconds of the quickest,
LONGEST: Final = 0.02  # and of the slowest call lately, where calls are sent ahead
LEAST: Final = 0.01  # seconds between two looks at a queue
MOST: Final = 0.05
REACH: Final = 0.0001  # seconds of a call that reaching its instance may take, all of it computing
MEMORY: Final = 1.0  # seconds after which the shortest run is looked for anew; it counts for as long again


class Pressure:
    """Watches the queue of one group."""

    __slots__ = (
        "_before_cpu_us", "_before_s", "_done", "_group", "_latest_cpu_us", "_latest_s", "_longest_before_s", "_longest_s",
        "_since", "_timer", "_turned", "done", "short", "shortest_s", "steady",
    )  # fmt: skip

    def __init__(self, group: Group) -> None:
        self._group = group
        self.done = 0  # calls that ended
        self._latest_s = inf  # what the quickest took since `_turned`,
        self._before_s = inf  # and in the time before that
        self._latest_cpu_us = self._before_cpu_us = 0  # what those two computed, as their instance says
        self._longest_s = 0.0  # likewise, of the slowest
        self._longest_before_s = 0.0
        self._turned = 0.0
        self._since = 0.0  # when the timer was set,
        self._done = 0  # and `done` then
        self._timer: Timer | None = None
        self.shortest_s = inf  # what the quickest calls took lately; infinite if none is known
        self.short = False  # whether calls are so short that it is quicker to wait than to start
        self.steady = False  # whether all of them were so short lately that one may be sent ahead

    def ended(self, run_s: float, follows: bool = False, cpu_us: int = 0) -> None:
        """A call took so many seconds on its instance, which computed for `cpu_us`; 0: it does not say. `follows`: as far as was
        seen, it may have begun earlier."""
        self.done += 1
        if run_s < self._latest_s and not follows:
            self._latest_s = run_s
            self._latest_cpu_us = cpu_us
            self.judge()
        if run_s > self._longest_s:
            self._longest_s = run_s
            self.judge()

    def streams(self) -> None:
        """A call answers in pieces: it takes as long as its client."""
        self._longest_s = inf
        self.judge()

    def judge(self) -> None:
        """What is known has changed, here or of the group: every call asks for these, and few change them."""
        self.shortest_s = min(self._latest_s, self._before_s)
        self.short = self.shortest_s < min(SHORT, self._group.cold_cost_s) and not self._group.once
        slowest = max(self._longest_s, self._longest_before_s)
        self.steady = self.short and slowest < LONGEST and self.shortest_s < STEADY

    @property
    def watching(self) -> bool:
        """Whether calls are short, and the next look at the queue is on its way."""
        return self._timer is not None and self.short

    def useful(self, rate: float) -> int:
        """Instances that are of use at this many calls a second; where it is not known what a call takes, any number may be."""
        if self.shortest_s == inf:
            return self._group.config.max_instances
        cpu_us = self._latest_cpu_us if self._latest_s < self._before_s else self._before_cpu_us
        return useful(
            rate=rate,
            shortest_s=self.shortest_s,
            busy_s=cpu_us / 1e6 + REACH,
            processors=self._group.pool.limits.processors,
            concurrency=self._group.config.concurrency,
        )

    def watch(self) -> None:
        """Calls wait: look again when a start would be over."""
        if self._timer is None:
            clock = self._group.pool.clock
            self._since, self._done = clock.monotonic(), self.done
            self._timer = clock.call_later(self._period(), self._look)

    def _period(self) -> float:
        return min(MOST, max(LEAST, 2 * self._group.cold_cost_s))

    def _look(self) -> None:
        self._timer = None
        group = self._group
        waiting = len(group.waiting) - group.gave_up
        if waiting <= 0:
            return
        now = group.pool.clock.monotonic()
        long_ago = now - 2 * self._period()
        if now - self._turned > MEMORY:
            if self._latest_s < inf:  # where each call follows another nothing is learned, and nothing forgotten
                self._before_s, self._latest_s = self._latest_s, inf
                self._before_cpu_us = self._latest_cpu_us
            self._turned = now
            self._longest_before_s, self._longest_s = self._longest_s, 0.0
            self.judge()
        rate = (self.done - self._done) / max(1e-3, now - self._since)
        group.start(
            relief(
                waiting=waiting,
                ready=group.alive - group.starting,
                starting=group.starting,
                stuck=sum(1 for instance in group.instances.values() if instance.inflight and instance.since < long_ago),
                rate=rate,
                enough=self.useful(rate),
                concurrency=group.config.concurrency,
            )
        )
        self.watch()
