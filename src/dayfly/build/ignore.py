"""Which files of a folder stay at home: the patterns of `.dayflyignore`, written as in `.gitignore`.

`#` begins a comment, `!` takes a file back in, a `/` at the end means folders only, a `/` elsewhere ties the pattern to the top folder;
`*`, `?`, `[abc]` stay within a name, `**` crosses folders. The last pattern that fits decides; what lies in a left-out folder cannot
be taken back in. (Source: gitignore(5).)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

FILE = ".dayflyignore"

# node_modules is installed again for the machine that runs it; `!node_modules/` in .dayflyignore packs it instead.
ALWAYS = (
    *(".git/", ".hg/", ".svn/", "__pycache__/", "*.pyc", ".venv/", "node_modules/", ".DS_Store", FILE),
    *(".mypy_cache/", ".pytest_cache/", ".ruff_cache/"),
)


class Ignore:
    """Tells for a path whether it is left out."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool, bool]] = []  # pattern, takes back in, folders only
        for line in lines:
            text = re.sub(r"(?<!\\)\s+$", "", line)
            if not text or text.startswith("#"):
                continue
            back = text.startswith("!")
            text = text[1:] if back else text
            folder = text.endswith("/")
            text = text.rstrip("/")
            if text:
                self._rules.append((re.compile(_regex(text)), back, folder))

    def leaves_out(self, path: str, folder: bool) -> bool:
        """Whether the path (relative, forward slashes) is left out, its parents not considered."""
        out = False
        for pattern, back, folders_only in self._rules:
            if (folder or not folders_only) and pattern.match(path):
                out = not back
        return out


def _regex(glob: str) -> str:
    tied = "/" in glob
    glob = glob.lstrip("/")
    pieces = re.findall(r"\*\*/|/\*\*\Z|\*\*|\*|\?|\[!?\]?[^\]/]*\]|\\.|.", glob, re.DOTALL)
    body = "".join(_translated(piece) for piece in pieces)
    return f"{'' if tied else '(?:.*/)?'}{body}\\Z"


def _translated(piece: str) -> str:
    fixed = {"**/": "(?:.*/)?", "/**": "/.+", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece)
    if fixed is not None:
        return fixed
    if piece.startswith("[") and len(piece) > 2:
        negated = piece[1] in "!^" and len(piece) > 3
        inside = (
            piece[2 if negated else 1 : -1].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
        )
        try:
            return re.compile(f"[{'^/' if negated else ''}{inside}]").pattern
        except re.error:  # a range that runs backwards: then the brackets mean themselves
            return re.escape(piece)
    return re.escape(piece[-1] if piece[0] == "\\" else piece)
