"""Reads the code blocks of a Markdown page.

    ```console            `$ command` lines (a `\\` at the end continues one), each followed by what it prints. Run in order in one shell;
                          the output is compared (see matching.py)
    ```sh                 a script, run in the same shell; it must succeed
    ```python, ```js      run; or, if the line before ends in a file's name and a colon, written to that file and compiled
    ```json               must be JSON; or written to a file, like the others
    ```text               a picture or a formula: not looked at

A block after a line that begins with `*Not run in the tests:` is not run. Readers see that line, and the tests list it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"console", "sh", "python", "js", "json", "text"}
NOT_RUN = re.compile(r"\*Not run in the tests: (.+)\*\Z")

_FENCE = re.compile(r"(`{3,})(\w*)\s*\Z")
_FILE = re.compile(r"`([\w./-]+\.\w+|[\w./-]*bootstrap)`:\Z")


class Block(NamedTuple):
    page: Path
    line: int  # of its fence, from 1
    language: str
    text: str
    file: str  # where it is to be written; empty: nowhere
    reason: str  # why it is not run; empty: it is

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Step(NamedTuple):
    """A command of a console block and what it prints."""

    line: int
    command: str
    output: str


def blocks(page: Path) -> Iterator[Block]:
    """The page's code blocks. Raises ValueError for a fence that does not end or a language nobody checks."""
    lines = page.read_text().splitlines()
    before, at = "", 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if not fence:
            before = lines[at].strip() or before
            at += 1
            continue
        start = at + 1
        language = fence[2] or "text"
        if language not in LANGUAGES:
            raise ValueError(f"{page}:{start}: nobody checks blocks of {language!r}; there are: {', '.join(sorted(LANGUAGES))}")
        try:
            at = lines.index(fence[1], start)
        except ValueError:
            raise ValueError(f"{page}:{start}: this block does not end") from None
        file = _FILE.search(before)
        reason = NOT_RUN.match(before)
        text = "".join(f"{line}\n" for line in lines[start:at])
        yield Block(page, start, language, text, file[1] if file else "", reason[1] if reason else "")
        before, at = "", at + 1


def steps(block: Block) -> Iterator[Step]:
    """The commands of a console block."""
    found: list[tuple[int, list[str], list[str]]] = []
    open_ = False  # the command goes on
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif open_:
            found[-1][1].append(line)
        elif found:
            found[-1][2].append(line)
        else:
            raise ValueError(f"{block.where}: a console block begins with `$ `")
        open_ = bool(found) and not found[-1][2] and found[-1][1][-1].endswith("\\")
    for number, command, output in found:
        yield Step(number, "\n".join(command), "\n".join(output))
