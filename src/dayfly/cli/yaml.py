"""JSON data as YAML, the few lines of it that printing needs.

Block style for mappings and lists; a string is written plain only where no reader of YAML 1.1 or 1.2 can take it for
something else (`no`, `1e3`, `12:30`), and otherwise as a JSON string, which YAML reads the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*\Z")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def dump(data: Any) -> str:
    """The data (what `json.loads` returns) as a YAML document, with a line feed at its end."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Any) -> Iterator[str]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _entry(f"{_scalar(str(key))}:", value, nest="  ")
    elif isinstance(data, (list, tuple)) and data:
        for value in data:
            first, *rest = _lines(value)  # a nested block begins on the line of the dash
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(data)


def _entry(head: str, value: Any, nest: str) -> Iterator[str]:
    if isinstance(value, (dict, list, tuple)) and value:
        yield head
        yield from (nest + line for line in _lines(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    from .output import json_text

    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    text = json_text(value, indent=None)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 knows 1.0e+22 as a number, 1e+22 as text
    return text
