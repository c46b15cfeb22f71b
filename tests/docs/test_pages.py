"""Every page is followed from top to bottom: each command is run and what it prints is compared, each piece of code is run or compiled."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from dayfly.sandbox.node.protections import probe

from .matching import matches
from .site import Site, opened
from .snippets import PAGES, ROOT, Block, blocks, steps

LISTED = 3  # blocks that are not run; more of them, and pages rot unseen
NEED_ISOLATION = {"dialects", "isolation", "operating"}  # pages that show what isolation does, or start a server by its class
ISOLATED = not any(protection.required and protection.state == "off" for protection in probe())


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if not block.reason and block.language != "text"]


@pytest.mark.parametrize("page", [*filter(runnable, PAGES)], ids=lambda page: str(page.relative_to(ROOT)))
def test_follow_the_page(page: Path) -> None:
    found = runnable(page)
    if page.stem in NEED_ISOLATION and not ISOLATED:
        pytest.skip("this machine cannot isolate functions")
    for tool in ("curl", "node", "make"):
        if any(f"{tool} " in block.text or (tool == "node" and block.language == "js") for block in found) and not shutil.which(
            tool
        ):
            pytest.skip(f"{tool} is missing")
    with tempfile.TemporaryDirectory(prefix="dayfly-") as folder, opened(Path(folder)) as site:  # short: it holds sockets
        for block in found:
            follow(site, block)


def follow(site: Site, block: Block) -> None:
    if block.file and block.language != "console":
        file = site.folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        if block.text.startswith("#!"):
            file.chmod(0o755)
    if block.language == "console":
        follow_console(site, block)
    elif block.language == "sh":
        ran = site.run(block.text)
        assert ran.status == 0, f"{block.where}: status {ran.status}\n{ran.output}"
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "python":
        follow_python(site, block)
    elif block.language == "js":
        name = block.file or write(site, block, "js")
        ran = site.run(f"node {'--check ' if block.file else ''}{shlex.quote(name)}")
        assert ran.status == 0, f"{block.where}:\n{ran.output}"


def follow_console(site: Site, block: Block) -> None:
    for step in steps(block):
        ran = site.run(step.command)
        where = f"{block.where.rpartition(':')[0]}:{step.line}: $ {step.command}"
        assert matches(step.output, ran.output), f"{where}\n--- the page says\n{step.output}\n--- it printed\n{ran.output}"
        assert ran.status == 0 or step.output, f"{where}\nended silently with status {ran.status}"


def follow_python(site: Site, block: Block) -> None:
    if block.file:
        compile(block.text, block.where, "exec")
        return
    doctest = block.text.startswith(">>>")
    name = write(site, block, "txt" if doctest else "py")
    flags = "-m doctest -o ELLIPSIS -o NORMALIZE_WHITESPACE " if doctest else ""
    ran = site.run(f"{shlex.quote(sys.executable)} {flags}{name}")
    assert ran.status == 0, f"{block.where}:\n{ran.output}"


def write(site: Site, block: Block, ending: str) -> str:
    name = f"snippet_{block.line}.{ending}"
    (site.folder / name).write_text(block.text)
    return name


def test_few_blocks_are_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each carries its reason on the page, where readers see it; here they are counted and listed."""
    left_out = [block for page in PAGES for block in blocks(page) if block.reason]
    with capsys.disabled():
        for block in left_out:
            print(f"\n  not run: {block.where}: {block.reason}", end="")
    assert len(left_out) <= LISTED


def test_the_runner_sees_what_is_wrong(tmp_path: Path) -> None:
    """A page with a wrong output, a failing script and code that does not compile fails three times."""
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one\ntwo\n```\n```sh\nfalse\n```\n`x.py`:\n```python\ndef f(:\n```\n```json\n{,}\n```\n```js\nthrow 1\n```\n"
        "```console\n$ false\n```\n```python\n>>> 1 + 1\n3\n```\n"
    )
    (tmp_path / "site").mkdir()
    failures: Counter[str] = Counter()
    with opened(tmp_path / "site") as site:
        for block in blocks(page):
            if block.language == "js" and not shutil.which("node"):
                continue
            with pytest.raises((AssertionError, SyntaxError, ValueError)):
                follow(site, block._replace(page=PAGES[0]))
            failures[block.language] += 1
    assert failures["console"] == 2
    assert failures["python"] == 2
    assert failures["sh"] == failures["json"] == 1
