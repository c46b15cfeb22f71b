"""A build: from a package and a configuration to an artifact, what instances mount.

Check what can be told from the text, install dependencies where the package asks for some, and name the folders. The artifact mounts
the package itself (a large Python one with its bytecode) and a shared folder of dependencies. Without either a build takes a
millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ..errors import BuildFailed
from ..model.function import Artifact, Config, Mount
from ..sandbox.port import Sandbox
from . import node, python
from .awssdk import sdk
from .bytecode import Compiler
from .check import check
from .confirm import confirm
from .flights import Progress
from .install import Install, Installed, Installer
from .interpreters import Interpreters, needed
from .layers import layered
from .machine import Machine
from .packages import PackageStore

CODE = "/var/task"  # where instances see the package


class Builder:
    """Builds on one machine. `interpreters`: by python3.8 ... python3.13 and node, those that this machine has."""

    def __init__(
        self, packages: PackageStore, sandbox: Sandbox, interpreters: Interpreters, *, machine: Machine | None = None
    ) -> None:
        self._packages = packages
        self._interpreters = interpreters
        self._sandbox = sandbox
        self._compiler = Compiler(packages, sandbox)
        self._installer = Installer(packages, sandbox, machine or Machine())

    async def build(
        self,
        digest: str,
        config: Config,
        progress: Progress = lambda line: None,
        *,
        layers: Sequence[str] = (),
        as_is: bool = False,
    ) -> Artifact:
        """What instances of this package mount. `progress` hears what happens, line by line. `layers`: further packages, for /opt;
        `as_is`: check nothing and install nothing.

        Raises NotFound if there is no such package, BuildFailed with `file` and `line` where they can be told.
        """
        folder = self._packages.path(digest)
        self._packages.touch(folder)  # it must outlive this build
        install: Install | None = None
        if not as_is:
            install, doubts = await asyncio.to_thread(self._prepare, folder, digest, config)
            if doubts:
                await confirm(doubts, folder, needed(self._interpreters, config.runtime), self._packages, self._sandbox)
        size = (await asyncio.to_thread(self._packages.describe, digest)).size
        compiled: Installed | None = None
        if config.runtime.startswith("python") and (not as_is or config.runtime in self._interpreters):
            interpreter = needed(self._interpreters, config.runtime)
            compiled = await self._compiler.compiled(digest, interpreter, CODE, progress)
        if compiled is not None:
            mounts = [compiled.mount]
            size += compiled.size
        else:
            mounts = [Mount(f"code/{digest}", CODE)]
        if install is not None:
            installed = await self._installer.ensure(install, progress)
            mounts.append(installed.mount)
            size += installed.size
        if layers:
            mounts.append(await layered(self._packages, layers))
        if config.contract == "lambda" and config.runtime.startswith("python"):
            found = await sdk(self._packages)
            mounts += [found] if found is not None else []
        return Artifact(digest=digest, mounts=tuple(mounts), size=size)

    def _prepare(self, folder: Path, digest: str, config: Config) -> tuple[Install | None, list[BuildFailed]]:
        install: Install | None = None
        if config.runtime == "nodejs":
            install = node.plan(folder, digest, needed(self._interpreters, config.runtime))
        elif config.runtime.startswith("python"):
            install = python.plan(folder, digest, config.runtime, needed(self._interpreters, config.runtime))
        return install, check(folder, config, installed=install is not None)
