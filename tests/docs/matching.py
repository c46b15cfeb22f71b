"""Compares what a page says a command prints with what it printed.

The page shows real output. What differs from run to run matches whatever stands in its place: ids and digests, dates and times, ages, numbers
with a decimal point, durations, sizes, the minor version of Python, the width of columns, how many of them hold a duration or size, and whether
a call was cold. `...` matches anything within a line, a line of its own any number of lines. Everything else is exact.
"""

from __future__ import annotations

import re

_AMOUNT = r"\d[\d.,]* (?:µs|ms|s|min|h|KB|KiB|MiB)(?!\w)"
_VARIABLE = (
    (rf"(?:[ \t]{{2,}}{_AMOUNT})+", rf"(?:[ \t]+{_AMOUNT})*"),  # columns of a table, of which some may be empty
    (r"\.\.\.", r".*?"),
    (r"\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?", r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?"),
    (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?", r"\d\d:\d\d:\d\d(?:\.\d+)?"),
    (r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,64}\b", r"[0-9a-f]{8,64}"),
    (rf"\b{_AMOUNT}", _AMOUNT),
    (r"\b\d+[smhd]\b", r"\d+[smhd]"),
    (r"\bpython3\.\d+", r"python3\.\d+"),
    (r"(?<![\w.])\d[\d,]*\.\d+(?![.\w])", r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"),
    (r"(?<=  )(?:warm|cold)(?=  )", r"(?:warm|cold)"),
    (r"(?<=\(process )\d+(?=\))", r"\d+"),
    (r"[ \t]+", r"[ \t]+"),
)
_TOKEN = re.compile("|".join(f"({pattern})" for pattern, _ in _VARIABLE))


def pattern(expected: str) -> re.Pattern[str]:
    """The expression that real output has to match as a whole."""
    lines = [line.rstrip() for line in expected.rstrip("\n").split("\n")] if expected.strip() else []
    return re.compile("".join(r"(?:.*\n)*?" if line == "..." else _line(line) + r"\n" for line in lines) + r"\n*")


def matches(expected: str, actual: str) -> bool:
    """Trailing blanks and lines do not count."""
    stripped = "".join(f"{line.rstrip()}\n" for line in actual.rstrip("\n").split("\n")) if actual.strip() else ""
    return pattern(expected).fullmatch(stripped) is not None


def _line(text: str) -> str:
    made, at = [], 0
    for token in _TOKEN.finditer(text):
        made += [re.escape(text[at : token.start()]), _VARIABLE[(token.lastindex or 1) - 1][1]]
        at = token.end()
    return "".join(made) + re.escape(text[at:])
