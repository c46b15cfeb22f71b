"""Several packages as one folder: what instances see in /opt.

One layer is mounted as it is. More are merged in order, a later file in place of an earlier one of the same path; the merged folder is
content-addressed like dependencies, so functions with the same layers share it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import BadPackage
from ..model.function import Mount
from .digest import content_key
from .packages import PackageStore

OPT = "/opt"  # where instances see them


async def layered(packages: PackageStore, digests: Sequence[str]) -> Mount:
    """What to mount for these packages (at least one). Raises NotFound if one is gone, BadPackage if they do not fit."""
    folders = [packages.path(digest) for digest in digests]
    for folder in folders:
        packages.touch(folder)
    if len(digests) == 1:
        return Mount(f"code/{digests[0]}", OPT)
    place = f"deps/{content_key('layers', *digests)}"
    if not packages.touch(packages.root / place):
        await asyncio.to_thread(_merge, packages, folders, place)
    return Mount(f"{place}/opt", OPT)


def _merge(packages: PackageStore, folders: Sequence[Path], place: str) -> None:
    scratch = packages.scratch()
    try:
        keep = scratch / "keep"
        keep.mkdir()
        os.chmod(keep, 0o755)
        try:
            for folder in folders:
                shutil.copytree(folder, keep / "opt", copy_function=_replace, dirs_exist_ok=True)
        except (shutil.Error, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BadPackage(
                f"the layers do not fit together: {error}"[:500], hint="What is a file in one is a folder in another."
            ) from None
        packages.settle(keep, place)
    finally:
        packages.discard(scratch)


def _replace(source: str, target: str) -> None:
    """Packages never change, so a link to the same file does."""
    if os.path.lexists(target):
        os.unlink(target)
    os.link(source, target)
