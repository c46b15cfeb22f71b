"""Replays a trace of calls per minute over keep-alive policies: how many cold starts, for how much memory?

    python -m dayfly.scaler.simulator FOLDER...

The rules are those of the "Serverless in the Wild" paper: one instance a function, calls take no time, all calls of a minute are one. A
minute with calls is *cold* when the policy has no instance loaded by then. An instance that is loaded while nothing is called is
*waste*, counted from each active minute to the next and to the end of the trace, in minutes and in MiB-minutes.

Starts ahead of a call cost nothing here, as in the paper. That favours policies that unload for less than a minute between calls
that come every minute; the platform's own does not (`KeepSpec.floor_s`), so its waste begins where "fixed 1 min" has it.

The headline is the share of cold minutes of the function at the 75th percentile: the mean belongs to the few functions that
are called every minute. Rows are read one at a time and each is replayed over all policies before the next.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from ..errors import DayflyError
from .policy import BASE, POLICIES, Policy
from .trace import FunctionTrace, find, read_calls, read_memory

MINUTE = 60.0


class Outcome(Struct, frozen=True):
    """A policy over a trace."""

    policy: str
    functions: int  # with at least one call
    active: int  # minutes with calls, summed over functions
    cold: int  # of these
    p75_cold_percent: float  # of the function at the 75th percentile
    idle_minutes: float  # loaded without being called
    idle_mb_minutes: float  # the same, weighted by memory

    @property
    def cold_percent(self) -> float:
        """Cold minutes per hundred active minutes."""
        return 100 * self.cold / self.active if self.active else 0.0


class _Tally:
    """Adds up one policy, function by function."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self.make = make
        self.active = self.cold = 0
        self.idle_s = self.idle_mb_s = 0.0
        self.cold_percents: list[float] = []

    def add(self, trace: FunctionTrace, memory_mb: float) -> None:
        cold, idle_s = replay(trace, self.make())
        self.active += len(trace.counts)
        self.cold += cold
        self.idle_s += idle_s
        self.idle_mb_s += idle_s * memory_mb
        self.cold_percents.append(100 * cold / len(trace.counts))

    def outcome(self, name: str) -> Outcome:
        ranked = sorted(self.cold_percents)
        p75 = ranked[min(len(ranked) - 1, int(0.75 * len(ranked)))] if ranked else 0.0
        return Outcome(name, len(ranked), self.active, self.cold, p75, self.idle_s / MINUTE, self.idle_mb_s / MINUTE)


def replay(trace: FunctionTrace, policy: Policy) -> tuple[int, float]:
    """Cold minutes and idle loaded seconds of one function. Its first active minute is always cold."""
    cold, idle_s = 0, 0.0
    last: int | None = None
    for minute, _ in trace.counts:
        if last is None:
            cold = 1
        else:
            windows, gap = policy.windows(), (minute - last) * MINUTE
            cold += not windows.warm_at(gap)
            idle_s += windows.held(gap)
            policy.observe(gap)
        last = minute
    if last is not None:
        idle_s += policy.windows().held((trace.length - 1 - last) * MINUTE)
    return cold, idle_s


def compare(
    traces: Iterable[FunctionTrace],
    policies: Mapping[str, Callable[[], Policy]] = POLICIES,
    memory_mb: Mapping[str, float] | None = None,
) -> list[Outcome]:
    """Every policy over the same functions. `memory_mb` by application; one that is missing counts as 1."""
    tallies = {name: _Tally(make) for name, make in policies.items()}
    sizes = memory_mb or {}
    for trace in traces:
        if trace.counts:
            for tally in tallies.values():
                tally.add(trace, sizes.get(trace.app, 1.0))
    return [tally.outcome(name) for name, tally in tallies.items()]


def replay_folder(place: Path, policies: Mapping[str, Callable[[], Policy]] = POLICIES) -> list[Outcome]:
    """`compare` over a trace on disk: a folder, or one invocations file. Raises BadInput."""
    files = find(place)
    return compare(read_calls(files.calls), policies, read_memory(files.memory) if files.memory else None)


def table(outcomes: Sequence[Outcome], base: str = BASE) -> str:
    """The outcomes as text; waste in per cent of the policy `base`."""
    reference = next((o for o in outcomes if o.policy == base), None)
    lines = [f"{'policy':26} {'p75 cold %':>10} {'cold/active %':>13} {'waste %':>8} {'waste, MiB %':>12}"]
    for o in outcomes:
        waste, weighted = (
            (_percent(o.idle_minutes, reference.idle_minutes), _percent(o.idle_mb_minutes, reference.idle_mb_minutes))
            if (reference)
            else ("-", "-")
        )
        lines.append(f"{o.policy:26} {o.p75_cold_percent:10.0f} {o.cold_percent:13.2f} {waste:>8} {weighted:>12}")
    return "\n".join(lines)


def _percent(value: float, reference: float) -> str:
    return f"{100 * value / reference:.0f}" if reference else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 for a trace that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m dayfly.scaler.simulator", description="Compare keep-alive policies over traces of calls per minute."
    )
    parser.add_argument("trace", nargs="+", type=Path, help="folder of an Azure Functions 2019 trace, or its invocations file")
    for place in parser.parse_args(argv).trace:
        try:
            outcomes = replay_folder(place)
        except DayflyError as error:
            print(f"error: {error.detail}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
            return 2
        print(f"{place}: {outcomes[0].functions} functions, {outcomes[0].active} active minutes\n{table(outcomes)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
