"""Keep-alive policies over a day of the Azure Functions trace: table, chart, JSON; and a burst, played call by call.

    python bench/keepalive.py TRACE_FOLDER... [--out bench/results] [--check]

A trace folder has the CSV files of AzureFunctionsDataset2019 or of a sample of it: invocations, and memory if there is one.
Without a folder the excerpt in tests/data is taken. `--check` compares with numbers found before on the two samples of the
In-Vitro project (1,000 functions x 1,440 minutes, 500 x 480) by another implementation, and ends with status 1 if one is off by
more than a tenth.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import matplotlib as mpl

from dayfly.scaler.arrivals import poisson
from dayfly.scaler.policy import BASE
from dayfly.scaler.rehearsal import Rehearsal, Report, Workload
from dayfly.scaler.simulator import Outcome, replay_folder, table

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
EXCERPT = ROOT / "tests" / "data" / "azure2019_60"

# (functions, active minutes) of a sample -> policy -> p75 cold %, cold per active minute %, idle minutes in % of fixed-10
EXPECTED: dict[tuple[int, int], dict[str, tuple[float, float, float]]] = {
    (1000, 248041): {
        "fixed 1 min": (100, 26.4, 51),
        "fixed 5 min": (100, 5.6, 88),
        "fixed 10 min": (100, 3.46, 100),
        "fixed 20 min": (100, 1.84, 113),
        "fixed 60 min": (80, 0.89, 137),
        "fixed 240 min": (33, 0.49, 177),
        "never unload": (25, 0.40, 250),
        "hybrid 4 h, 5 seen": (42, 1.04, 103),
        "hybrid 4 h, 10 seen": (33, 0.91, 108),
        "hybrid, 10 min fallback": (100, 1.51, 70),
    },
    (500, 58121): {
        "fixed 1 min": (100, 33.8, 44),
        "fixed 5 min": (100, 7.0, 87),
        "fixed 10 min": (100, 4.28, 100),
        "fixed 20 min": (100, 2.39, 113),
        "fixed 60 min": (40, 1.10, 136),
        "fixed 240 min": (20, 0.88, 155),
        "never unload": (20, 0.86, 162),
        "hybrid 4 h, 5 seen": (25, 1.23, 76),
        "hybrid 4 h, 10 seen": (20, 1.14, 87),
        "hybrid, 10 min fallback": (75, 2.30, 40),
    },
}


def row(outcome: Outcome, base: Outcome) -> tuple[float, float, float]:
    return outcome.p75_cold_percent, outcome.cold_percent, 100 * outcome.idle_minutes / base.idle_minutes


def deviations(outcomes: list[Outcome]) -> list[str] | None:
    """Lines for what is off by more than a tenth; None when nothing is known of this trace."""
    expected = EXPECTED.get((outcomes[0].functions, outcomes[0].active))
    if expected is None:
        return None
    base = next(o for o in outcomes if o.policy == BASE)
    return [
        f"{o.policy}: {label} is {found:.2f}, expected {wanted:g}"
        for o in outcomes
        if o.policy in expected
        for label, found, wanted in zip(("p75", "cold", "waste"), row(o, base), expected[o.policy], strict=True)
        if not math.isclose(found, wanted, rel_tol=0.1)
    ]


def draw_policies(outcomes: list[Outcome], title: str, path: Path) -> None:
    """Cold starts against waste: the lower left corner is better."""
    base = next(o for o in outcomes if o.policy == BASE)
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    grey, blue, red = "#8a8f98", "#2f6fde", "#d9480f"
    for family, colour, marker in (("fixed", grey, "o"), ("never", grey, "o"), ("hybrid", blue, "s"), ("dayfly", red, "D")):
        points = [(*row(o, base), o.policy) for o in outcomes if o.policy.startswith(family)]
        axes.plot([p[2] for p in points], [p[1] for p in points], marker, color=colour, ls="-" if family == "fixed" else "")
        offset = {"dayfly": (7, -11), "never": (-58, 8)}.get(family, (6, 5))
        for _, cold, waste, name in points:
            axes.annotate(name, (waste, cold), xytext=offset, textcoords="offset points", fontsize=8, color=colour)
    axes.set(
        yscale="log",
        xlabel="idle loaded time, % of keeping for ten minutes",
        ylabel="cold minutes, % of minutes with calls",
        title=title,
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def burst() -> Report:
    """Two calls a second, then eighty for five minutes, then two again, of 100 ms each; user code takes half a second to load."""

    def rate(at: float) -> float:
        return 80.0 if 120 <= at < 420 else 2.0

    arrivals = poisson("thumbnails", rate, 80.0, 600.0, lambda random: random.expovariate(10), Random(1))
    return Rehearsal([Workload(name="thumbnails", init_s=0.5)]).play(arrivals, until=1200.0, tick_s=1.0)


def draw_burst(report: Report, path: Path) -> None:
    """Load and instances over time."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    at = [s.at for s in report.samples]
    axes.fill_between(at, [s.running for s in report.samples], color="#2f6fde", alpha=0.35, lw=0, label="calls running")
    axes.step(at, [s.ready + s.starting for s in report.samples], color="#d9480f", where="post", label="instances")
    axes.step(at, [s.reserve for s in report.samples], color="#495057", ls=":", where="post", label="what the autoscaler wants")
    axes.set(
        xlabel="seconds",
        ylabel="calls, instances",
        title=f"{report.calls:,} calls, {report.cold} cold starts on demand, {report.ahead} ahead; "
        f"99 % waited at most {1000 * report.wait(99):.0f} ms",
    )
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="*", type=Path, default=[EXCERPT])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--check", action="store_true", help="end with status 1 if a number is off by more than a tenth")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    wrong = False
    results: dict[str, object] = {}
    for place in options.trace:
        began = time.perf_counter()
        outcomes = replay_folder(place)
        took = time.perf_counter() - began
        base = next(o for o in outcomes if o.policy == BASE)
        title = f"{outcomes[0].functions:,} functions, {outcomes[0].active:,} active minutes"
        print(f"{place.name}: {title}, {len(outcomes)} policies in {took:.1f} s\n{table(outcomes)}")
        off = deviations(outcomes)
        wrong |= bool(off) or off is None
        print(
            "no earlier numbers for this trace" if off is None else "\n".join(off) or "all within 10 % of earlier numbers",
            "\n",
        )
        draw_policies(outcomes, title, options.out / f"keepalive-{place.name}.png")
        results[place.name] = {
            o.policy: dict(zip(("p75_cold_percent", "cold_percent", "waste_percent"), row(o, base), strict=True))
            for o in outcomes
        }

    report = burst()
    print(
        f"burst: {report.calls} calls, {report.cold} cold starts on demand, {report.ahead} ahead, "
        f"wait p50 {1000 * report.wait(50):.0f} ms, p99 {1000 * report.wait(99):.0f} ms, longest {1000 * report.wait(100):.0f} ms"
    )
    draw_burst(report, options.out / "scaling-burst.png")
    (options.out / "keepalive.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"charts and JSON in {options.out}")
    return 1 if options.check and wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
