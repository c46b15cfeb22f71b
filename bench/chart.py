"""One picture of a run: throughput, latency, cold starts and memory, each beside what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .model import Row, shown

WIDE = 50  # a panel whose values differ by more than this factor gets a logarithmic axis

COLOURS = {
    "floor": "#9aa5b1",
    "bare fork": "#9aa5b1",
    "Dayfly Python": "#1f6feb",
    "Dayfly Node": "#2da44e",
    "functions-framework": "#d4a72c",
}


def draw(file: Path, rows: Sequence[Row]) -> None:
    """Bars of medians with whiskers from the least to the most; panels that have no rows are left out."""
    panels = [(title, unit, bars) for title, unit, bars in _panels(rows) if bars]
    if not panels:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(7 * columns, 3.6 * lines), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, unit, bars) in zip(axes.flat, panels, strict=False):
        labels = [label for label, _ in bars]
        middle = [row.median for _, row in bars]
        spread = [
            [m - min(row.values) for m, (_, row) in zip(middle, bars, strict=True)],
            [max(row.values) - m for m, (_, row) in zip(middle, bars, strict=True)],
        ]
        colours = [next((c for who, c in COLOURS.items() if row.what.startswith(who)), "#1f6feb") for _, row in bars]
        drawn = axis.barh(labels, middle, xerr=spread, color=colours, error_kw={"lw": 0.8, "ecolor": "#333"})
        axis.bar_label(drawn, labels=[f" {shown(value)}" for value in middle], fontsize=7, padding=3)
        most = max(max(row.values) for _, row in bars)
        if min(middle) > 0 and most > WIDE * min(middle):
            axis.set_xscale("log")
            axis.set_xlim(min(middle) / 2, 5 * most)
        else:
            axis.set_xlim(0, 1.2 * most)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel(unit, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _panels(rows: Sequence[Row]) -> list[tuple[str, str, list[tuple[str, Row]]]]:
    def pick(measure: str, unit: str, *words: str) -> list[tuple[str, Row]]:
        found = [r for r in rows if r.measure == measure and r.unit == unit and all(word in r.what for word in words)]
        return [(_short(row.what), row) for row in found]

    def both(measure: str, *words: str) -> list[tuple[str, Row]]:
        units = ("p50 ms", "p99 ms", "p99.9 ms")
        return [(f"{label} {unit[:-3]}", row) for unit in units for label, row in pick(measure, unit, *words)]

    return [
        ("Warm calls, small JSON", "calls a second", pick("warm", "calls/s", "hello")),
        ("Warm calls, 64 KB bodies", "calls a second", pick("warm", "calls/s", "64 KB")),
        ("Latency at one connection", "milliseconds", both("warm", "hello", " 1 connection")),
        ("Open loop at half the throughput", "milliseconds", both("steady")),
        ("Cold start, HTTP in to HTTP out", "milliseconds", [bar for bar in both("cold") if "of which" not in bar[0]]),
        ("Memory", "MB", [bar for bar in pick("density", "MB") if "everything" not in bar[0]]),
    ]


def _short(what: str) -> str:
    for long, short in (
        (", hello", ""),
        (", 64 KB", ""),
        (" connections", ""),
        (" connection", ""),
        (", open loop at 50 % of Dayfly's throughput", ""),
    ):
        what = what.replace(long, short)
    return what if len(what) < 44 else what[:43] + "…"
