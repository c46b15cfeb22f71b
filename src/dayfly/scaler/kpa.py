"""Knative's pod autoscaler (KPA) as one pure function: how many instances should a revision have?

    stable   = mean calls in flight over 60 s          panic = the same over the last 6 s
    wanted   = calls in flight / (target x 70 %)       within [ready / 2, ready x 1000] for one decision
    panic    begins when the short window wants twice what is ready, and ends a stable window after it last did;
             until then the number only grows, because a burst seldom comes alone
    zero     comes a grace period after nothing is wanted any more

Names, defaults and order of steps are Knative's (serving: pkg/autoscaler/scaling, pkg/reconciler/autoscaling/kpa), so that its
annotations mean here what they mean there. Two things are ours: time is an argument, and so is all memory between decisions.
Calls that find no instance do not wait for this loop (the pool starts one at once); it sizes the reserve.
"""

from __future__ import annotations

from math import ceil, floor, inf

from msgspec import Struct

from ..errors import BadInput

TICK = 2.0  # seconds between decisions; also the grain of the scale-down delay


class KpaSpec(Struct, frozen=True, kw_only=True):
    """The parameters. `target` is the number of calls one instance takes at a time. Raises BadInput when out of range."""

    target: float = 100.0  # calls in flight per instance that mean 100 % use
    utilization: float = 0.7  # share of `target` to aim at
    stable_window_s: float = 60.0  # 6 ... 3600
    panic_window_percent: float = 10.0  # of the stable window, 1 ... 100
    panic_threshold_percent: float = 200.0  # 110 ... 1000
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    min_scale: int = 0
    max_scale: int = 0  # 0: no bound
    initial_scale: int = 1  # instances until they were ready once
    activation_scale: int = 1  # fewest instances while there is any load
    scale_down_delay_s: float = 0.0  # 0 ... 3600: shrink only after so long
    scale_to_zero: bool = True
    scale_to_zero_grace_s: float = 30.0
    retention_s: float = 0.0  # how long the last instance stays at least, 0 ... 3600
    target_burst_capacity: float = 211.0  # calls to take without queueing; 0: none, -1: unlimited

    def __post_init__(self) -> None:
        check(self)

    @property
    def panic_window_s(self) -> float:
        """Whole seconds, at least one."""
        return max(1.0, float(round(self.stable_window_s * self.panic_window_percent / 100)))

    @property
    def aim(self) -> float:
        """Calls in flight to give each instance."""
        return max(0.01, self.target * self.utilization)


class KpaState(Struct, frozen=True):
    """What a decision leaves to the next one."""

    panic_at: float | None = None  # when the panic threshold was last exceeded; None: no panic
    panic_peak: int = 0  # most instances wanted during this panic
    wanted: tuple[tuple[int, int], ...] = ()  # (tick, instances), falling: candidates for the delayed maximum
    idle_since: float | None = None  # since when instances are there that nothing wants
    initialized: bool = False  # initial_scale was reached once


class Decision(Struct, frozen=True):
    """How many instances there should be; how many further calls in flight the ready ones could take (negative: too few)."""

    desired: int
    excess_burst: int
    panicking: bool


def fresh(ready: int, now: float) -> KpaState:
    """State after a restart: with several instances ready begin in panic, so that none is retired before load was seen."""
    return KpaState(panic_at=now, panic_peak=ready, initialized=True) if ready > 1 else KpaState()


def decide(
    spec: KpaSpec, state: KpaState, stable: float, panic: float, ready: int, now: float, *, reachable: bool = True
) -> tuple[Decision, KpaState]:
    """One decision. `stable` and `panic` are mean calls in flight over the two windows, `now` is in monotonic seconds.

    A revision that gets no traffic any more is not `reachable`: its minimum does not count and it may shrink at once.
    """
    base = max(1, ready)
    most, least = ceil(spec.max_scale_up_rate * base), floor(base / spec.max_scale_down_rate) if reachable else 0
    by_stable, by_panic = ceil(stable / spec.aim), ceil(panic / spec.aim)
    want_stable = _activate(spec, by_stable, min(max(by_stable, least), most))
    want_panic = _activate(spec, by_panic, min(max(by_panic, least), most))

    panic_at, peak = state.panic_at, state.panic_peak
    if by_panic / base >= spec.panic_threshold_percent / 100:
        panic_at = now
    elif panic_at is not None and panic_at + spec.stable_window_s < now:
        panic_at, peak = None, 0
    desired = want_stable
    if panic_at is not None:
        desired = peak = max(peak, want_stable, want_panic)

    wanted: tuple[tuple[int, int], ...] = ()
    if reachable and spec.scale_down_delay_s > 0:
        wanted = _remember(state.wanted, desired, now, spec.scale_down_delay_s)
        desired = wanted[0][1]

    lower, upper = spec.min_scale if reachable else 0, spec.max_scale or inf
    initialized = state.initialized or ready >= min(spec.initial_scale, upper)
    if not initialized and reachable:
        lower = max(lower, spec.initial_scale)
    desired = int(min(max(desired, lower), upper))

    idle_since = None
    if desired == 0 and ready > 0:
        idle_since = now if state.idle_since is None else state.idle_since
        if now - idle_since < max(spec.scale_to_zero_grace_s, spec.retention_s):
            desired = 1
    if not spec.scale_to_zero:
        desired = max(1, desired)
    decision = Decision(desired, _excess_burst(spec, ready, panic), panic_at is not None)
    return decision, KpaState(panic_at, peak, wanted, idle_since, initialized)


def _activate(spec: KpaSpec, demand: int, bounded: int) -> int:
    return max(bounded, spec.activation_scale) if demand > 0 else bounded


def _remember(wanted: tuple[tuple[int, int], ...], desired: int, now: float, delay: float) -> tuple[tuple[int, int], ...]:
    """Values of the last `delay` seconds that could still be the maximum: at most one a tick, falling, the largest first."""
    tick = floor(now / TICK)
    oldest = tick - ceil(delay / TICK)
    return (*((t, n) for t, n in wanted if t > oldest and n > desired), (tick, desired))


def _excess_burst(spec: KpaSpec, ready: int, panic: float) -> int:
    if spec.target_burst_capacity <= 0:
        return int(spec.target_burst_capacity)
    return floor(ready * spec.target - spec.target_burst_capacity - panic)


_RANGES: dict[str, tuple[float, float]] = {
    "target": (0.01, inf),
    "utilization": (0.01, 1),
    "stable_window_s": (6, 3600),
    "panic_window_percent": (1, 100),
    "panic_threshold_percent": (110, 1000),
    "max_scale_up_rate": (1.01, inf),
    "max_scale_down_rate": (1.01, inf),
    "min_scale": (0, inf),
    "max_scale": (0, inf),
    "initial_scale": (0, inf),
    "activation_scale": (1, inf),
    "scale_down_delay_s": (0, 3600),
    "scale_to_zero_grace_s": (0, inf),
    "retention_s": (0, 3600),
    "target_burst_capacity": (-1, inf),
}


def check(spec: KpaSpec) -> None:
    """Raise BadInput for the first parameter that is out of its range, or for bounds that contradict each other."""
    for name, (low, high) in _RANGES.items():
        value = getattr(spec, name)
        if not low <= value <= high:
            raise BadInput(f"autoscaling parameter {name} is {value}", hint=f"give a number from {low:g} to {high:g}")
    if spec.max_scale and spec.min_scale > spec.max_scale:
        raise BadInput(
            f"the minimum of {spec.min_scale} instances is above the maximum of {spec.max_scale}",
            hint="lower the minimum or raise the maximum",
        )
