"""How many calls were under way, on average, over the last seconds.

The pool keeps one number a function: the *integral* of its calls in flight over time (call-seconds). A call adds +1 when it
begins and -1 when it ends; that is all the hot path does. The loop reads the integral now and then, and because an average is
the difference of two readings divided by the time between them, every window is exact, however short a call was: nothing is
sampled, nothing missed.

`LoadHistory` remembers the integral at each whole second of the last minute, so that the stable and the panic window of the
autoscaler (60 s and 6 s) are two look-ups in the same ring. Knative averages one-second buckets to the same effect: a young
history is divided by its own age, at least one second, and a whole window without load forgets it. Forgetting frees the ring:
an idle function costs a few numbers.
"""

from __future__ import annotations

from array import array
from math import floor


class ConcurrencyIntegral:
    """Calls in flight, and their sum over time. Times are monotonic seconds; one that goes backwards adds nothing."""

    __slots__ = ("area", "changed", "level")

    def __init__(self, now: float = 0.0) -> None:
        self.level = 0  # calls in flight
        self.area = 0.0  # call-seconds up to `changed`
        self.changed = now

    def add(self, delta: int, now: float) -> None:
        """`delta` calls began (+1) or ended (-1) at `now`."""
        if now > self.changed:
            self.area += self.level * (now - self.changed)
            self.changed = now
        self.level += delta
        if self.level < 0:
            raise AssertionError("more calls ended than began: every +1 needs exactly one -1")

    def at(self, now: float) -> float:
        """Call-seconds from the beginning to `now`; never decreases."""
        return self.area + self.level * max(0.0, now - self.changed)


class LoadHistory:
    """The integral over the last `seconds`, from which averages over any window up to that length follow.

    `record` at every tick while there is load, and once when an idle function wakes (before its first call is added), so that
    the idle time before is not counted as a part of its load.
    """

    __slots__ = ("_area", "_busy", "_first", "_first_area", "_last", "_ring", "seconds")

    def __init__(self, seconds: int = 60) -> None:
        self.seconds = seconds
        self._ring: array[float] | None = None  # integral at whole second k, in place k mod size
        self._last: float | None = None  # the newest reading: when, and ...
        self._area = 0.0  # ... how much
        self._first = 0.0  # the oldest reading of this history
        self._first_area = 0.0
        self._busy = 0.0  # the newest reading that had grown

    @property
    def idle(self) -> bool:
        """Whether nothing happened for a whole window, so that nothing needs to be recorded."""
        return self._ring is None

    def record(self, now: float, area: float) -> None:
        """Take the reading `area` (call-seconds) of the integral at `now`. Readings at the same or an older time are ignored."""
        last = self._last
        if last is None:
            self._last, self._area = now, area
            return
        if now <= last:
            return
        if area > self._area:
            if self._ring is None:
                self._ring = array("d", bytes(8 * (self.seconds + 2)))
                self._first, self._first_area = last, self._area
            self._busy = now
        elif self._ring is not None and now - self._busy >= self.seconds:
            self._ring = None
        ring = self._ring
        if ring is not None:
            slope = (area - self._area) / (now - last)
            size = len(ring)
            until = floor(now)
            for second in range(max(floor(last) + 1, until - size + 1), until + 1):
                ring[second % size] = self._area + slope * (second - last)
        self._last, self._area = now, area

    def average(self, window: float) -> float:
        """Mean calls in flight over the `window` seconds (at most `seconds`) before the newest reading."""
        if self._ring is None or self._last is None:
            return 0.0
        begin = max(self._first, self._last - min(window, self.seconds))
        return round((self._area - self._at(begin)) / max(1.0, self._last - begin), 6)

    def _at(self, moment: float) -> float:
        assert self._ring is not None
        assert self._last is not None
        second, size = floor(moment), len(self._ring)
        t0, a0 = self._first, self._first_area
        if second > t0:  # at or before the first reading the ring holds nothing
            t0, a0 = second, self._ring[second % size]
        t1, a1 = self._last, self._area
        if second + 1 <= t1:
            t1, a1 = second + 1, self._ring[(second + 1) % size]
        return a0 if t1 <= t0 else a0 + (a1 - a0) * (moment - t0) / (t1 - t0)
