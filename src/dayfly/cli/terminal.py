"""What may reach a terminal.

Names, log lines and error messages come from functions, and functions are strangers: an escape sequence in a log line
could recolour the screen, rewrite what was printed above, or set the window title. Everything of theirs that goes to a
terminal goes through `escape` first. What goes into a pipe or file stays as it is.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import lru_cache

# C0 and C1 controls, and the characters that reorder, hide or separate text (bidirectional controls, zero width no-break
# space, line and paragraph separators), and halves of surrogate pairs, which no encoding takes.
UNSAFE = "\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"


@lru_cache(8)
def _unsafe(keep: str) -> Callable[[str], str]:
    pattern = re.compile(f"(?![{re.escape(keep)}])[{UNSAFE}]" if keep else f"[{UNSAFE}]")

    def visible(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return lambda text: pattern.sub(visible, text)


def escape(text: str, *, keep: str = "\t") -> str:
    """The text with what could steer a terminal written out (`\\x1b`), but for the characters in `keep`."""
    return text if text.isascii() and text.isprintable() else _unsafe(keep)(text)


def width(text: str) -> int:
    """Columns the text takes: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def use_colour(stream: object) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR (https://no-color.org) asks not to."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


class Screen:
    """Writes a function's own bytes to stdout: as they are into a pipe, made harmless onto a terminal."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer
        self._tty = sys.stdout.isatty()
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._last = ""

    def write(self, chunk: bytes) -> None:
        if self._tty:
            text = escape(self._decode(chunk), keep="\n\t")
            self._last = text[-1:] or self._last
            chunk = text.encode()
        self._out.write(chunk)
        self._out.flush()

    def close(self) -> None:
        """Leave the cursor at the beginning of a line."""
        if self._tty and self._last not in ("", "\n"):
            self._out.write(b"\n")
            self._out.flush()
