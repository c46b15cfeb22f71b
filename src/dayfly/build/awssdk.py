"""What AWS's runtimes for Python bring along beside the language: boto3 and what it needs. Instances see it at /var/runtime.

It is taken from this server's own installation, once a version, and kept like dependencies.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..model.function import Mount
from .digest import content_key
from .packages import PackageStore

TARGET = "/var/runtime"
_MODULES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


async def sdk(packages: PackageStore) -> Mount | None:
    """What to mount; None if this server has no boto3."""
    try:
        place = f"deps/{content_key('aws-sdk', version('boto3'), version('botocore'), version('urllib3'))}"
    except PackageNotFoundError:
        return None
    if not packages.touch(packages.root / place):
        await asyncio.to_thread(_collect, packages, place)
    return Mount(f"{place}/sdk", TARGET)


def _collect(packages: PackageStore, place: str) -> None:
    scratch = packages.scratch()
    try:
        keep = scratch / "keep"
        (keep / "sdk").mkdir(parents=True)
        os.chmod(keep, 0o755)
        for name in _MODULES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            if spec.submodule_search_locations:
                shutil.copytree(origin.parent, keep / "sdk" / name, copy_function=_link)
            else:
                _link(str(origin), str(keep / "sdk" / origin.name))
        packages.settle(keep, place)
    finally:
        packages.discard(scratch)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
