"""Puts real output into pages: `python -m tests.docs.rewrite README.md docs/calling.md`.

Follows each page like the tests do. Where what a command printed does not match what the page says, the page is changed; the rest, with its `...`,
stays. Read the difference before you keep it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .matching import matches
from .site import Site, opened
from .snippets import ROOT, Block, blocks, steps
from .test_pages import follow


def rewritten(page: Path) -> str:
    """The page with outputs as they are now."""
    lines = page.read_text().split("\n")
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as site:
        changes = []
        for block in blocks(page):
            if block.reason:
                continue
            if block.language == "console":
                changes.append((block.line, block.line + block.text.count("\n"), _console(site, block)))
            else:
                follow(site, block)
    for start, end, text in reversed(changes):
        lines[start:end] = text.rstrip("\n").split("\n")
    return "\n".join(lines)


def _console(site: Site, block: Block) -> str:
    out = []
    for step in steps(block):
        status, output = site.run(step.command)
        if status:
            print(f"{block.page.name}:{step.line}: status {status}: $ {step.command}", file=sys.stderr)
        out.append(f"$ {step.command}")
        shown = (
            step.output if matches(step.output, output) else "\n".join(line.rstrip() for line in output.rstrip().split("\n"))
        )
        out += [shown] if shown.strip() else []
    return "\n".join(out)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = (ROOT / name).resolve()
        page.write_text(rewritten(page))
