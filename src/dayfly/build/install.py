"""Installing dependencies: once for the same wish, in a sandbox, from nothing that another build could have touched.

An `Install` says what to run and what its outcome depends on; `Installer.ensure` gives the outcome from ROOT/deps/<key>, or runs the job
and keeps it. The key is a hash of the wish (language, version, machine, the dependencies as text), so revisions and functions
that wish for the same share one folder, on disk and in the page cache. Wishes that also depend on other files of the package (a wheel in
a folder, an include) carry the package's digest in their key. Builds of the same key that come at once are one build.

The download caches of pip and npm are off. A cache that builds can write is a path from one tenant into another: what one build script
puts there, the next build installs. One that only we write would need a second, trusted download. So what is shared is the
outcome, under a key that only an equal wish can hit.

What comes out of the job was made by code of strangers: links that lead out are dropped, set-id bits and special files too.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from ..errors import BuildFailed
from ..model.function import Mount
from ..sandbox.port import JobSpec, Sandbox
from .digest import content_key
from .flights import Flights, Progress
from .machine import Machine
from .packages import PackageStore
from .watch import bounded

MEMORY_MB = 2048
TIMEOUT_S = 600.0
MAX_BYTES = 2 << 30  # of installed dependencies
MAX_ENTRIES = 200_000
DISK_BYTES = 3 * MAX_BYTES  # that a job may take while it runs: downloads and unpacked sources too
DISK_ENTRIES = 3 * MAX_ENTRIES
_LOG_LINES = 40  # of a failed build, shown
_SHUT = re.compile(r"(connection: \[Errno 13\]|connect EACCES|Failed to connect to \S+ .*Permission denied)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Blame(Struct, frozen=True):
    """Where a failure comes from."""

    file: str
    line: int = 0
    what: str = ""


class Install(Struct, frozen=True, kw_only=True):
    """A wish for dependencies."""

    kind: str  # python or node
    label: str  # the file that asks for them
    wish: tuple[str, ...]  # all that the outcome depends on
    files: dict[str, bytes]  # what the job finds in /build/src
    tree: Path | None = None  # copied to /build/src before: the wish refers to other files of the package
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    extra: tuple[tuple[Path, str], ...] = ()  # folders copied into /build: (source, name)
    produced: str  # the folder below /build that is kept
    mount: str  # where instances see it
    blame: Callable[[str], Blame]

    @property
    def key(self) -> str:
        return content_key(self.kind, platform.system(), platform.machine(), *platform.libc_ver(), *self.wish)


class Installed(Struct, frozen=True):
    mount: Mount
    size: int  # bytes


class Installer:
    """Keeps installed dependencies in a package store."""

    def __init__(self, packages: PackageStore, sandbox: Sandbox, machine: Machine, at_once: int = 2) -> None:
        self._packages = packages
        self._sandbox = sandbox
        self._machine = machine
        self._flights: Flights[Installed] = Flights(at_once)

    async def ensure(self, install: Install, progress: Progress) -> Installed:
        """The installed dependencies; `progress` hears each line of the job's output. Raises BuildFailed."""
        key = install.key
        if (found := self._found(install, key)) is not None:
            return found
        return await self._flights.join(key, lambda tell: self._run(install, key, tell), progress)

    def _found(self, install: Install, key: str) -> Installed | None:
        folder = self._packages.root / "deps" / key
        if not self._packages.touch(folder):
            return None
        size = json.loads((folder / "built.json").read_bytes())["size"]
        return Installed(Mount(f"deps/{key}/{install.kind}", install.mount), size)

    async def _run(self, install: Install, key: str, progress: Progress) -> Installed:
        scratch = self._packages.scratch()
        try:
            env = await asyncio.to_thread(self._furnish, install, scratch / "work")
            progress(f"installing what {install.label} asks for")
            lines = _Lines(lambda line: progress(line.replace(f"{scratch}/", "/")))
            job = JobSpec(
                argv=install.argv,
                env=env,
                cwd="/build/src",
                writable=((str(scratch / "work"), "/build"),),
                memory_mb=MEMORY_MB,
                timeout_s=TIMEOUT_S,
                network=True,
                tcp_ports=self._machine.ports(env, scratch / "work" / "conf"),
            )
            running = self._sandbox.run(job, lines.feed)
            result = await bounded(running, scratch, DISK_BYTES, DISK_ENTRIES, self._packages.clock)
            lines.end()
            if result.status:
                raise _failure(install, result.status, result.output.replace(f"{scratch}/", "/"), job.tcp_ports or ())
            size = await asyncio.to_thread(self._harvest, install, scratch, key)
            progress(f"installed {size / 1e6:.1f} MB in {result.seconds:.1f} s")
            return Installed(Mount(f"deps/{key}/{install.kind}", install.mount), size)
        finally:
            await asyncio.to_thread(self._packages.discard, scratch)

    def _furnish(self, install: Install, work: Path) -> dict[str, str]:
        """Fill the job's folder; returns its environment. The job runs as another user: all of it is open to that one."""
        work.mkdir()
        for name in ("src", "home", "tmp", "conf"):
            (work / name).mkdir()
        if install.tree is not None:
            shutil.copytree(install.tree, work / "src", dirs_exist_ok=True)
        for name, data in install.files.items():
            (work / "src" / name).write_bytes(data)
        for source, name in install.extra:
            shutil.copytree(source, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        env = self._machine.carry(install.kind, work / "conf")
        for at, folders, files in os.walk(work):
            for name in folders:
                os.chmod(os.path.join(at, name), 0o777)
            for name in files:
                os.chmod(os.path.join(at, name), 0o777 if os.access(os.path.join(at, name), os.X_OK) else 0o666)
        os.chmod(work, 0o777)  # its parent is closed to everybody else
        return env | {"HOME": "/build/home", "TMPDIR": "/build/tmp", "LANG": "C.UTF-8"} | install.env

    def _harvest(self, install: Install, scratch: Path, key: str) -> int:
        """Keep what the job produced; returns its size in bytes."""
        made = scratch / "work" / install.produced
        keep = scratch / "keep"
        keep.mkdir()
        os.chmod(keep, 0o755)
        try:
            produced = stat.S_ISDIR(os.lstat(made).st_mode)  # the job could have put a link there
        except FileNotFoundError:
            produced = False
        if produced:
            made.rename(keep / install.kind)
        else:
            (keep / install.kind).mkdir()
        if install.tree is not None:
            bring_in(keep / install.kind, scratch / "work" / "src")
        size = tidy(keep / install.kind)
        (keep / "built.json").write_text(json.dumps({"size": size, "label": install.label}))
        self._packages.settle(keep, f"deps/{key}")
        return size


def tidy(top: Path) -> int:
    """Make a folder that strangers filled harmless and readable by all; returns its bytes. Raises BuildFailed over the bounds."""
    inside, size, entries = os.path.realpath(top), 0, 0
    pending = [str(top)]
    while pending:
        folder = pending.pop()
        _own(folder, 0o755)
        with os.scandir(folder) as found:
            children = list(found)
        for child in children:
            entries += 1
            state = child.stat(follow_symlinks=False)
            size += state.st_size
            if size > MAX_BYTES or entries > MAX_ENTRIES:
                raise BuildFailed(
                    f"the dependencies are over {MAX_BYTES >> 30} GiB or {MAX_ENTRIES} files",
                    hint="depend on less",
                    limit=MAX_BYTES,
                )
            if child.is_symlink():
                target = os.path.realpath(child.path)
                if os.path.isabs(os.readlink(child.path)) or not target.startswith(inside + "/"):
                    os.unlink(child.path)
            elif child.is_dir(follow_symlinks=False):
                pending.append(child.path)
            elif child.is_file(follow_symlinks=False):
                _own(child.path, 0o755 if state.st_mode & 0o111 else 0o644)
            else:
                os.unlink(child.path)
    return size


def bring_in(modules: Path, source: Path) -> None:
    """Replace links from the top of node_modules into the package by what they point to: npm links packages that lie inside another.

    Raises BuildFailed over the bounds.
    """
    top, total = Path(os.path.realpath(source)), 0
    scopes = [modules, *(folder for folder in modules.glob("@*") if not folder.is_symlink())]
    for link in [entry for scope in scopes for entry in scope.iterdir() if entry.is_symlink()]:
        was = top / "node_modules" / link.relative_to(modules)
        real = Path(os.path.realpath(was.parent / os.readlink(link)))
        if real != top and real.is_relative_to(top) and real.is_dir():
            total += tidy(real)
            if total > MAX_BYTES:
                raise BuildFailed(f"the dependencies are over {MAX_BYTES >> 30} GiB", hint="depend on less", limit=MAX_BYTES)
            link.unlink()
            shutil.copytree(real, link, symlinks=True)


def _own(path: str, mode: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    os.chmod(path, mode)


def _failure(install: Install, status: int, output: str, ports: Sequence[int]) -> BuildFailed:
    clean = _ESCAPES.sub("", output.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [line.rstrip() for line in clean.splitlines() if line.strip()]
    blame = install.blame("\n".join(lines))
    if status == 124:
        what, hint = f"it was not done after {TIMEOUT_S:.0f} s", "depend on less, or on packages that need no compiling"
    elif status == 137:
        what, hint = (
            f"it was killed, most likely at its memory limit of {MEMORY_MB} MB",
            "depend on packages that need no compiling",
        )
    elif _SHUT.search(clean):
        what = blame.what or f"the installer ended with status {status}"
        hint = (
            f"builds may connect to the TCP ports {', '.join(map(str, ports))} only: to reach another index or proxy, "
            "name it in the pip or npm settings of the server's machine"
        )
    else:
        what, hint = (
            blame.what or f"the installer ended with status {status}",
            "read the log; try the same file on your machine",
        )
    place = f"{blame.file}:{blame.line}" if blame.line else blame.file
    return BuildFailed(
        f"installing the dependencies failed at {place}: {what}",
        hint=hint,
        file=blame.file,
        line=blame.line,
        log=[line[:500] for line in lines[-_LOG_LINES:]],
    )


class _Lines:
    """Cuts output into lines, each at most 500 characters."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rest = ""

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[:500]
        for line in lines:
            if clean := _ESCAPES.sub("", line).rstrip():
                self._progress(clean[:500])

    def end(self) -> None:
        self.feed("\n")
