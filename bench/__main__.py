"""`python -m bench [MEASURE...] [--quick] [--rounds N] [--seconds S] [--out DIR]`: measure, print, and write what was found."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import machine, report, wrk
from .measures import (
    backends,
    burst,
    cold,
    density,
    durable,
    events,
    lambda_,
    many,
    neighbour,
    once,
    openwhisk,
    redeploy,
    steady,
    warm,
)
from .model import Finding
from .run import Run

MEASURES = {
    module.__name__.rpartition(".")[2].rstrip("_"): module.measure
    for module in (
        warm,
        steady,
        cold,
        redeploy,
        burst,
        density,
        durable,
        events,
        many,
        once,
        neighbour,
        backends,
        openwhisk,
        lambda_,
    )
}
RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Dayfly beside what the machine allows.")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"one or more of: {', '.join(MEASURES)}; all if none")
    parser.add_argument("--quick", action="store_true", help="a minute to see that everything runs; the numbers mean little")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="repetitions, 3 by default")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="S", help="of load for each measurement, 4 by default")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write latest.json, .md and .png; bench/results if all is measured"
    )
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.measures if name not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]!r}; there is: {', '.join(MEASURES)}")
    if not wrk.available():
        parser.error("wrk is missing: apt-get install wrk")
    run = Run(
        quick=chosen.quick,
        rounds=chosen.rounds or (1 if chosen.quick else 3),
        seconds=chosen.seconds or (0.25 if chosen.quick else 4.0),
    )
    facts = machine.facts() | {
        "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "quick": run.quick,
        "rounds": run.rounds,
        "seconds": run.seconds,
    }
    findings: list[Finding] = []
    failed = []
    for name in chosen.measures or MEASURES:
        print(name, file=sys.stderr, flush=True)
        try:
            findings += MEASURES[name](run)
        except Exception as error:  # the other numbers are still worth having
            failed.append(name)
            print(f"  {name} FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    facts["load_at_end"] = machine.load()
    print(report.markdown(facts, findings))
    out = chosen.out or (RESULTS if not chosen.measures and not chosen.quick else None)
    if out is not None:
        report.write(out, "latest", facts, findings)
        if out == RESULTS and not chosen.measures and not run.quick and not failed:
            report.refresh(RESULTS.parents[1] / "SPECIFICATION.md", facts, findings)
        print(f"written: {out}/latest.json, .md, .png", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
