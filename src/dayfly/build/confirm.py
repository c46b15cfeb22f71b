"""Asking a newer Python whether source that ours cannot parse is really wrong.

The server runs on one Python, functions on any. Source for a newer one may use grammar that ours does not know, so the function's own
interpreter has the last word; in a sandbox, because parsing what a stranger wrote is running C code on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

from ..errors import BuildFailed
from ..sandbox.port import JobSpec, Sandbox
from .interpreters import Interpreter
from .packages import PackageStore
from .pysource import syntax_error

_PARSE = """
import ast, json, sys
for name in sys.argv[1:]:
    try:
        ast.parse(open(name, "rb").read(), name)
    except SyntaxError as error:
        print(json.dumps([name, error.lineno, error.offset, error.msg, error.text]))
        break
"""


async def confirm(
    doubts: list[BuildFailed], folder: Path, interpreter: Interpreter, packages: PackageStore, sandbox: Sandbox
) -> None:
    """Raise the doubt that the interpreter shares, in its words."""
    scratch = packages.scratch()
    try:
        files = [str(doubt.members["file"]) for doubt in doubts]
        await asyncio.to_thread(_furnish, scratch / "work", [folder / file for file in files])
        result = await sandbox.run(
            JobSpec(
                argv=(interpreter.executable, "-I", "-c", _PARSE, *map(str, range(len(files)))),
                writable=((str(scratch / "work"), "/build"),),
                memory_mb=256,
                pids=16,
                timeout_s=20.0,
            )
        )
    finally:
        await asyncio.to_thread(packages.discard, scratch)
    try:
        name, line, offset, message, text = json.loads(result.output.splitlines()[-1])
    except (IndexError, TypeError, ValueError):
        return  # it has nothing to say, or choked on it: loading the function will show
    minor = int(interpreter.version.split(".")[1])
    raise syntax_error(files[int(name)], minor, line, offset, str(message), text)


def _furnish(work: Path, files: list[Path]) -> None:
    work.mkdir()
    os.chmod(work, 0o755)
    for number, file in enumerate(files):
        shutil.copyfile(file, work / str(number))
        os.chmod(work / str(number), 0o644)
