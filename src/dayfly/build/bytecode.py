"""Compiling large Python packages once, so that no cold start has to.

Instances see their code read-only, so Python cannot keep the bytecode it makes: each cold start would compile all modules it imports
again. Measured on 148 modules of vendored libraries: 318 ms to import from source, 101 ms from bytecode. pip compiles what it
installs; this is for source that comes with the package, where there is enough of it to pay for the job (a small handler gains under 1 ms).

The package itself stays what its digest says. The compiled one is a second folder, hard links to the same files plus `__pycache__`, kept
like an installation under a key of package and interpreter version. The bytecode is of the unchecked kind (PEP 552): source and
bytecode are both immutable here, so comparing them on each import would be wasted. The compiler runs in a sandbox, because it is C code fed
by strangers; what it leaves is taken only where the package has the source, and can do no more than that source could.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

from ..errors import DayflyError
from ..model.function import Mount
from ..sandbox.port import JobSpec, Sandbox
from .digest import content_key
from .flights import Flights, Progress
from .install import Installed
from .interpreters import Interpreter
from .packages import PackageStore

PAYS = 64 << 10  # bytes of Python source from which on compiling ahead is worth a job
MAX_BYTES = 256 << 20  # of bytecode

_COMPILE = """
import compileall, py_compile
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(".", maxlevels=64, ddir="/var/task", quiet=2, invalidation_mode=mode)
"""


class Compiler:
    """Keeps compiled packages in a package store."""

    def __init__(self, packages: PackageStore, sandbox: Sandbox) -> None:
        self._packages = packages
        self._sandbox = sandbox
        self._flights: Flights[Installed | None] = Flights(at_once=1)

    async def compiled(self, digest: str, interpreter: Interpreter, target: str, progress: Progress) -> Installed | None:
        """The package with bytecode; None where it would not pay, or cannot be made: then the package itself does."""
        if self._packages.describe(digest).size < PAYS:
            return None
        key = content_key("bytecode", digest, interpreter.version)
        folder = self._packages.root / "deps" / key
        if self._packages.touch(folder):
            return Installed(Mount(f"deps/{key}/code", target), json.loads((folder / "built.json").read_bytes())["size"])
        sources = await asyncio.to_thread(_sources, self._packages.path(digest))
        if sum(size for _, size in sources) < PAYS:
            return None

        async def work(tell: Progress) -> Installed | None:
            return await self._compile(digest, [path for path, _ in sources], interpreter, key, target, tell)

        return await self._flights.join(key, work, progress)

    async def _compile(
        self, digest: str, sources: list[str], interpreter: Interpreter, key: str, target: str, progress: Progress
    ) -> Installed | None:
        code = self._packages.path(digest)
        scratch = self._packages.scratch()
        try:
            await asyncio.to_thread(_furnish, code, sources, scratch / "work")
            progress(f"compiling {len(sources)} Python files")
            job = JobSpec(
                argv=(interpreter.executable, "-I", "-c", _COMPILE),
                writable=((str(scratch / "work"), "/build"),),
                memory_mb=1024,
                pids=16,
                timeout_s=120.0,
            )
            result = await self._sandbox.run(job)
            if result.status:
                progress(f"compiling ended with status {result.status}; the source is used as it is")
                return None
            size = await asyncio.to_thread(self._keep, code, sources, interpreter, scratch, key)
            return Installed(Mount(f"deps/{key}/code", target), size)
        except DayflyError as error:  # an optimisation must not fail a deployment
            progress(f"compiling failed ({error.detail}); the source is used as it is")
            return None
        finally:
            await asyncio.to_thread(self._packages.discard, scratch)

    def _keep(self, code: Path, sources: list[str], interpreter: Interpreter, scratch: Path, key: str) -> int:
        keep = scratch / "keep"
        shutil.copytree(code, keep / "code", copy_function=os.link)
        os.chmod(keep, 0o755)
        tag = "cpython-" + "".join(interpreter.version.split(".")[:2])
        size = 0
        for source in sources:
            at = Path(source)
            name = at.parent / "__pycache__" / f"{at.stem}.{tag}.pyc"
            made, place = scratch / "work" / name, keep / "code" / name
            # The job could have put links anywhere: what counts must really be where it seems to be.
            if not made.is_file() or os.path.realpath(made) != os.path.join(os.path.realpath(scratch / "work"), name):
                continue
            size += made.stat().st_size
            if size > MAX_BYTES or place.exists():
                continue
            place.parent.mkdir(exist_ok=True)
            os.chmod(place.parent, 0o755)
            shutil.copyfile(made, place)
            os.chmod(place, 0o644)
        (keep / "built.json").write_text(json.dumps({"size": size, "label": "bytecode"}))
        self._packages.settle(keep, f"deps/{key}")
        return size


def _sources(folder: Path) -> list[tuple[str, int]]:
    return [(str(file.relative_to(folder)), file.stat().st_size) for file in folder.rglob("*.py") if file.is_file()]


def _furnish(code: Path, sources: list[str], work: Path) -> None:
    """Copy the sources alone, for a job that runs as another user."""
    work.mkdir()
    for source in sources:
        (work / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(code / source, work / source)
    for at, _, files in os.walk(work):
        os.chmod(at, 0o777)
        for name in files:
            os.chmod(os.path.join(at, name), 0o644)
