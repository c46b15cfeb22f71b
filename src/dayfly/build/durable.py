"""Onto the disk before it counts, and away as one step.

Content-addressed folders are trusted because they exist, so one must not appear before its bytes are safe: flush, then rename.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import uuid
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def flush(folder: Path) -> None:
    """Write everything below the folder to the disk: one `syncfs` instead of an fsync for each of thousands of files."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if hasattr(_libc, "syncfs"):
            if _libc.syncfs(handle):
                raise OSError(ctypes.get_errno(), "syncfs failed", str(folder))
        else:
            os.sync()
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename within the folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(made: Path, target: Path) -> bool:
    """Flush the folder `made` and give it its final name, durably. False: another was there first, `made` is left."""
    flush(made)
    try:
        made.rename(target)
    except OSError:
        if target.is_dir():
            return False
        raise
    sync_folder(target.parent)
    return True


def remove(folder: Path, scratch: Path) -> None:
    """Take the folder away in one step (a rename into `scratch`), then delete it; missing is fine.

    Works on folders that hostile code filled: links are not followed, unwritable folders are opened first.
    """
    doomed = scratch / f"gone-{uuid.uuid4().hex}"
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    os.chmod(doomed, 0o700)
    for path, folders, _ in os.walk(doomed):
        for name in folders:
            below = os.path.join(path, name)
            if stat.S_ISDIR(mode := os.lstat(below).st_mode) and mode & 0o700 != 0o700:
                os.chmod(below, 0o700)
    shutil.rmtree(doomed)
