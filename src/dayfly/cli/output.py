"""Printing data: as a table for people, as JSON or YAML for programs. Only data goes to stdout.

JSON and YAML are what the server sent, unchanged. Tables are plain columns without a frame, never cut to the width of a
terminal, so that `grep`, `awk` and `sort` can take them.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from .terminal import UNSAFE, escape, use_colour, width

FORMATS = ("table", "json", "yaml")
_AMOUNT = re.compile(r"([0-9][0-9,]*(\.[0-9]+)?( ?(ms|s|m|h|d|%|MiB))?)?\Z")
COLOURS = {
    **dict.fromkeys(("ok", "idle", "on"), "green"),
    **dict.fromkeys(("running", "busy"), "cyan"),
    **dict.fromkeys(("queued", "starting", "draining", "weaker"), "yellow"),
    **dict.fromkeys(("error", "crashed", "init-failed", "timed-out", "rejected", "dead", "off"), "red"),
}

_ESCAPED = re.compile(f"(?![\\x00-\\x1f])[{UNSAFE}]")  # json.dumps writes the C0 controls out by itself

Column = tuple[str, Callable[[Any], object]]


def json_text(data: Any, indent: int | None = 2) -> str:
    """JSON for people and programs: text readable as it is, but nothing that steers a terminal."""
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_data(data: Any, form: str) -> None:
    """Print as JSON or YAML."""
    if form == "yaml":
        from .yaml import dump

        click.echo(dump(data), nl=False)
    else:
        click.echo(json_text(data))


def print_list(items: Sequence[Any], form: str, columns: Sequence[Column], *, empty: str = "") -> None:
    """Print a list. As a table, `columns` are heading and value of each; `empty` says on stderr why there is nothing."""
    if form != "table":
        print_data(items, form)
    elif items:
        print_table([name for name, _ in columns], [[value(item) for _, value in columns] for item in items])
    elif empty:
        click.echo(empty, err=True)


def print_one(item: Any, form: str, fields: Sequence[Column]) -> None:
    """Print one thing. As a table: a line for each field that has a value."""
    if form != "table":
        print_data(item, form)
        return
    rows = [(name, text) for name, value in fields if (text := _cell(value(item))) != ""]
    indent = max((width(name) for name, _ in rows), default=0)
    for name, text in rows:
        first, *rest = text.split("\n")
        click.echo(f"{_styled(name, bold=True)}{' ' * (indent - width(name))}  {escape(first)}")
        for line in rest:
            click.echo(f"{' ' * indent}  {escape(line)}")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns aligned by their widest cell; amounts (numbers with or without a unit) to the right."""
    cells = [[escape(_cell(value)) for value in row] for row in rows]
    right = [all(_AMOUNT.match(row[i]) for row in cells) for i in range(len(headings))]
    widths = [max(width(line[i]) for line in (headings, *cells)) for i in range(len(headings))]

    def line(texts: Sequence[str], styled: Callable[[int, str], str]) -> str:
        padded = []
        for i, text in enumerate(texts):
            space = " " * (widths[i] - width(text))
            last = i == len(texts) - 1 and not right[i]
            padded.append(space + styled(i, text) if right[i] else styled(i, text) + ("" if last else space))
        return "  ".join(padded).rstrip()

    click.echo(line(headings, lambda _, text: _styled(text, bold=True)))
    for row in cells:
        click.echo(line(row, lambda _, text: _coloured(text)))


def _coloured(text: str) -> str:
    return _styled(text, fg=COLOURS[text]) if text in COLOURS else text


def _styled(text: str, **style: Any) -> str:
    return click.style(text, **style) if use_colour(sys.stdout) else text


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}" if value % 1 else f"{value:,.0f}"
    return str(value)


def ago(seconds: object, now: float | None = None) -> str:
    """How long ago a moment (seconds since the epoch) was: `12s`, `3m`, `5h`, `2d`; empty for none."""
    if not isinstance(seconds, (int, float)) or not seconds:
        return ""
    age = max(0.0, (time.time() if now is None else now) - seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if age >= size:
            return f"{int(age // size)}{unit}"
    return f"{int(age)}s"


def milliseconds(seconds: object) -> str:
    """A duration given in seconds: `0.21 ms`, `12 ms`, `1.4 s`; empty for none."""
    if not isinstance(seconds, (int, float)) or not seconds:
        return ""
    value = seconds * 1000
    if value >= 1000:
        return f"{seconds:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms"


def moment(seconds: object) -> str:
    """A moment (seconds since the epoch) in local time, to the second; empty for none."""
    if not isinstance(seconds, (int, float)) or not seconds:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def note(text: str) -> None:
    """Progress and advice, for people, on stderr."""
    click.echo(escape(text, keep="\n\t"), err=True)
