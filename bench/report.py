"""The results as JSON, Markdown and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from .model import Finding, Promise, Row, shown

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def write(out: Path, stem: str, machine: dict[str, object], findings: Sequence[Finding]) -> None:
    """OUT/STEM.json, .md and, if there is something to draw, .png."""
    from .chart import draw

    out.mkdir(parents=True, exist_ok=True)
    (out / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(document(machine, findings)), indent=2) + b"\n")
    (out / f"{stem}.md").write_text(markdown(machine, findings))
    draw(out / f"{stem}.png", [f for f in findings if isinstance(f, Row)])


def document(machine: dict[str, object], findings: Sequence[Finding]) -> dict[str, object]:
    rows = [f for f in findings if isinstance(f, Row)]
    return {
        "machine": machine,
        "promises": [f for f in findings if isinstance(f, Promise)],
        "rows": [
            {
                "measure": row.measure,
                "what": row.what,
                "unit": row.unit,
                "median": row.median,
                "min": min(row.values),
                "max": max(row.values),
                "rounds": row.values,
                "note": row.note,
            }
            for row in rows
        ],
    }


def markdown(machine: dict[str, object], findings: Sequence[Finding]) -> str:
    """Machine, promises, then a table a measure."""
    lines = ["# Benchmark", "", ", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += promises(findings)
    measure = ""
    for row in (f for f in findings if isinstance(f, Row)):
        if row.measure != measure:
            measure = row.measure
            lines += ["", f"## {measure}", "", "| what | unit | median | min | max | |", "|---|---|---:|---:|---:|---|"]
        figures = " | ".join(map(shown, (row.median, min(row.values), max(row.values))))
        lines.append(f"| {row.what} | {row.unit} | {figures} | {row.note} |")
    return "\n".join(lines) + "\n"


def promises(findings: Sequence[Finding]) -> list[str]:
    """The table of what was promised, and an empty line; nothing where nothing was."""
    found = [f for f in findings if isinstance(f, Promise)]
    if not found:
        return []
    head = ["| promise | limit | measured | holds | command |", "|---|---|---|---|---|"]
    held = {True: "yes", False: "**no**"}
    return [*head, *(f"| {p.promise} | {p.limit} | {p.measured} | {held[p.holds]} | `{p.command}` |" for p in found), ""]


def refresh(specification: Path, machine: dict[str, object], findings: Sequence[Finding]) -> None:
    """Put the promises as they were measured between the two markers of SPECIFICATION.md. Raises ValueError if they are missing."""
    before, begin, rest = specification.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{specification} has no lines {BEGIN} and {END}")
    conditions = "Measured: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + "."
    specification.write_text("\n".join([before + begin, "", *promises(findings), conditions, "", end + after]))
