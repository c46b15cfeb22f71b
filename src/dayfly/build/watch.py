"""Stopping a job that fills the disk.

A job's folder lies on the disk that all packages share, and an ordinary folder has no size of its own. So it is measured while the
job runs. What a job can write between two looks is the overdraft.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ..clock import Clock
from ..errors import BuildFailed

INTERVAL = 1.0  # seconds between two looks

T = TypeVar("T")


async def bounded(job: Coroutine[Any, Any, T], folder: Path, limit: int, entries: int, clock: Clock) -> T:
    """The outcome of the job; BuildFailed, and the job cancelled, once the folder takes more than `limit` bytes or `entries` files."""
    running = asyncio.ensure_future(job)
    watching = asyncio.ensure_future(_watch(folder, limit, entries, clock))
    try:
        await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            watching.result()
        return await running
    finally:
        for task in (running, watching):
            task.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)


async def _watch(folder: Path, limit: int, entries: int, clock: Clock) -> None:
    while True:
        await clock.sleep(INTERVAL)
        if await asyncio.to_thread(_over, str(folder), limit, entries):
            raise BuildFailed(
                f"the build was stopped: it takes more than {limit / (1 << 30):.3g} GiB or {entries} files of disk",
                hint="depend on less",
                limit=limit,
            )


def _over(folder: str, limit: int, entries: int) -> bool:
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for child in found:
                    state = child.stat(follow_symlinks=False)
                    limit -= state.st_blocks * 512  # what it takes, not what a sparse file claims
                    entries -= 1
                    if limit < 0 or entries < 0:
                        return True
                    if child.is_dir(follow_symlinks=False):
                        pending.append(child.path)
        except OSError:
            continue  # gone meanwhile, or closed to us
    return False
