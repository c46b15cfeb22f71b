"""How long an idle function stays warm: the hybrid histogram of "Serverless in the Wild", weighed by what a cold start costs.

`predict` is the paper's policy (Shahrad et al., USENIX ATC 2020, section 4.2). Each function has a histogram of its idle times,
240 bins of one minute. When it falls idle,

    few observations             nothing is known                     stay for a standard time
    mostly longer than 4 h       the next call is forecast            come back 15 % before it, stay until 15 % after it
    bins all alike (CV < 2)      the past tells nothing               stay for a standard time
    otherwise                    5th to 99th percentile, 10 % margin  come back before the first, stay until after the last

The paper forecasts with ARIMA. Ours is the mean of the idle times seen: over a day of the public trace (1,000 functions, 248,041
active minutes) that branch is never taken, which does not pay for a statistics library.

`keep_for` then asks what the paper does not: is it worth it? There a cold start takes seconds and all cost the same. Here the
sandbox is a fork and what remains is the function's own initialisation, measured: 3 ms for one, 3 s for another. So idleness
gets a price: `worth_s` seconds of it for one second of cold start. The default, 600, makes a function that starts in one second
stay for the ten minutes that are the habit of the field. With budget = worth_s x cold start,

    a pattern is known, and its window costs at most the budget in expected idleness   ->  the paper's window
    otherwise  ->  stay for the budget, at least `floor_s` and at most `fallback_s`

The second line is the rent-or-buy rule: whoever rents until the rent equals the price never pays more than twice the best.
The floor keeps people warm who try something out, save, and try again. Memory pressure evicts earlier anyway (pool/evict.py).
Idle times below the floor can never be cold starts; they are not counted, which also keeps counting off the hot path.
"""

from __future__ import annotations

import enum
from array import array
from math import floor, inf

from msgspec import Struct

_FULL = 65535  # of a bin


class KeepSpec(Struct, frozen=True, kw_only=True):
    """Parameters of the policy; times in seconds. The defaults are the platform's, `PAPER` has the paper's."""

    bins: int = 240
    bin_s: float = 60.0
    min_observations: int = 5
    oob_fraction: float = 0.5  # share of out-of-range idle times from which they are forecast
    cv: float = 2.0  # least coefficient of variation of the bin counts that counts as a pattern
    head: float = 0.05  # percentiles
    tail: float = 0.99
    margin: float = 0.10
    forecast_margin: float = 0.15
    fallback_s: float = 600.0  # stay this long where nothing is known; the paper: the histogram's whole range
    floor_s: float = 60.0  # stay at least this long
    spare_s: float = 10.0  # the same for instances beyond those that the load needs
    worth_s: float = 600.0  # seconds of idleness that one second of cold start is worth


PAPER = KeepSpec(fallback_s=240 * 60.0, floor_s=0.0, worth_s=inf)


class Basis(enum.StrEnum):
    """What a prediction rests on."""

    FEW = "few"  # not enough idle times seen
    FORECAST = "forecast"  # idle for longer than the histogram reaches
    SPREAD = "spread"  # no pattern
    PATTERN = "pattern"


class Windows(Struct, frozen=True):
    """When an idle function is warm, in seconds since its last call ended.

    From 0 to `linger_s`, and again from `prewarm_after_s` for `keep_for_s`. Without pre-warming the two are one.
    """

    prewarm_after_s: float
    keep_for_s: float
    linger_s: float = 0.0
    basis: Basis = Basis.FEW

    @property
    def until_s(self) -> float:
        return self.prewarm_after_s + self.keep_for_s

    def warm_at(self, idle_s: float) -> bool:
        """Whether an instance should be there after so many idle seconds; both ends count as warm."""
        return idle_s <= self.linger_s or self.prewarm_after_s <= idle_s <= self.until_s

    def next_change(self, idle_s: float) -> float | None:
        """The idle time after `idle_s` at which to look again; None: nothing will change any more."""
        ends = (self.linger_s, self.prewarm_after_s, self.until_s)
        return min((end for end in ends if idle_s < end < inf), default=None)

    def held(self, idle_s: float) -> float:
        """Seconds an instance sits idle if the next call comes after `idle_s`."""
        linger = min(idle_s, self.linger_s)
        return linger + max(0.0, min(idle_s, self.until_s) - max(self.prewarm_after_s, linger))


class IdleHistogram:
    """The idle times of one function: 480 bytes once it was idle for longer than the floor, next to nothing before.

    A full bin halves the whole, so that old habits fade. The sum of squares is kept along, which gives the variation of the bin
    counts in constant time; counts are whole numbers, so it is exact (Welford's method guards against rounding that cannot
    happen here).
    """

    __slots__ = ("bins", "count", "oob", "squares", "total_s")

    def __init__(self) -> None:
        self.bins: array[int] | None = None
        self.count = 0  # in range
        self.oob = 0  # out of range
        self.squares = 0  # sum of squares of the bin counts
        self.total_s = 0.0  # of all idle times, for the forecast

    def observe(self, idle_s: float, spec: KeepSpec) -> None:
        """A call came after `idle_s` seconds without any. Not a number, negative, or below the floor: ignored."""
        if not spec.floor_s <= idle_s < inf or idle_s < 0:
            return
        self.total_s += idle_s
        place = int(idle_s / spec.bin_s)
        if place >= spec.bins:
            self.oob += 1
            return
        if self.bins is None:
            self.bins = array("H", bytes(2 * spec.bins))
        elif self.bins[place] == _FULL:
            self._fade()
        self.squares += 2 * self.bins[place] + 1
        self.bins[place] += 1
        self.count += 1

    def variation(self, spec: KeepSpec) -> float:
        """Coefficient of variation (deviation / mean) of the bin counts; 0 without observations."""
        if not self.count:
            return 0.0
        mean = self.count / spec.bins
        return float((max(0.0, self.squares / spec.bins - mean * mean) ** 0.5) / mean)

    def _fade(self) -> None:
        assert self.bins is not None
        self.bins = array("H", (n >> 1 for n in self.bins))
        self.count, self.squares = sum(self.bins), sum(n * n for n in self.bins)
        self.oob >>= 1
        self.total_s /= 2


def predict(seen: IdleHistogram, spec: KeepSpec) -> Windows:
    """The paper's windows for a function that falls idle now."""
    observed = seen.count + seen.oob
    if observed < max(1, spec.min_observations):
        return Windows(0.0, spec.fallback_s, basis=Basis.FEW)
    if seen.oob > spec.oob_fraction * observed:
        expected = seen.total_s / observed
        margin = spec.forecast_margin
        return Windows((1 - margin) * expected, 2 * margin * expected, basis=Basis.FORECAST)
    if seen.variation(spec) < spec.cv:
        return Windows(0.0, spec.fallback_s, basis=Basis.SPREAD)
    first, last = _percentiles(seen, spec)
    begin = (1 - spec.margin) * first * spec.bin_s
    return Windows(begin, (1 + spec.margin) * (last + 1) * spec.bin_s - begin, basis=Basis.PATTERN)


def keep_for(seen: IdleHistogram, cold_cost_s: float | None, spec: KeepSpec) -> Windows:
    """The windows for a function that falls idle now and needs `cold_cost_s` seconds to start.

    None means never measured and counts as one second.
    Scans the histogram (some 10 us), so ask when an instance has been idle for a while, not after every call.
    """
    cost = 1.0 if cold_cost_s is None else max(0.0, cold_cost_s)
    budget = spec.worth_s * cost if cost > 0 else 0.0
    best = predict(seen, spec)
    known = best.basis in (Basis.PATTERN, Basis.FORECAST)
    if known and _expected_hold(seen, best, spec) <= budget:
        if best.prewarm_after_s <= spec.floor_s:
            return Windows(0.0, max(spec.floor_s, best.until_s), basis=best.basis)
        return Windows(best.prewarm_after_s, best.keep_for_s, spec.floor_s, best.basis)
    longest = min(spec.fallback_s, best.until_s) if known else spec.fallback_s
    return Windows(0.0, max(spec.floor_s, min(budget, longest)), basis=best.basis)


def spare_for(cold_cost_s: float | None, spec: KeepSpec) -> float:
    """Seconds that an instance left over from a burst may idle: rent or buy again, between `spare_s` and `floor_s`."""
    cost = 1.0 if cold_cost_s is None else max(0.0, cold_cost_s)
    return min(max(spec.spare_s, spec.worth_s * cost if cost > 0 else 0.0), max(spec.spare_s, spec.floor_s))


def _percentiles(seen: IdleHistogram, spec: KeepSpec) -> tuple[int, int]:
    """Bins of the head and the tail percentile."""
    assert seen.bins is not None
    first, so_far = -1, 0
    for place, n in enumerate(seen.bins):
        so_far += n
        if first < 0 and so_far >= spec.head * seen.count:
            first = place
        if so_far >= spec.tail * seen.count:
            return first, place
    raise AssertionError("the bins hold fewer idle times than were counted")


def _expected_hold(seen: IdleHistogram, window: Windows, spec: KeepSpec) -> float:
    """Mean idle seconds that the window costs if the future is like the histogram."""
    if window.basis is Basis.FORECAST or seen.bins is None:
        return window.keep_for_s / 2  # the call is expected in its middle
    places = range(floor(window.prewarm_after_s / spec.bin_s), spec.bins)
    held = sum(n * window.held((place + 0.5) * spec.bin_s) for place in places if (n := seen.bins[place]))
    return (held + seen.oob * window.keep_for_s) / (seen.count + seen.oob)
