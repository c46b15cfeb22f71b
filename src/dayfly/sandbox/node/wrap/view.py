"""What an instance sees and runs, told to whoever makes its sandbox."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import Struct

from ....runtime.python import mounts

DOOR = "/run/door"  # in the sandbox
DEVICES = ("null", "zero", "full", "random", "urandom")


class View(Struct, frozen=True, kw_only=True):
    id: str
    root: Path  # of the file system: a folder with mount points and /etc, shown read-only
    visible: list[tuple[str, str]]  # folders and files of the host that all see, read-only, and where
    binds: list[list[str]]  # this one's: [source on the host, mount point, "ro" or "rw"]
    argv: list[str]
    folder: Path  # for files of the sandbox's maker; made before, removed after
    hostname: str
    tmp_mb: int
    pids: int  # processes and threads, for those makers that count them themselves
    network: str = "none"  # loopback alone; "host": the host's; "pair": that which its maker is started in
    door: Path | None = None  # a folder to be made, shown at DOOR, for the socket that the sandbox makes
    root_user: bool  # whether whoever starts it is root: it keeps what it needs to become somebody else


def located(program: str) -> str:
    """Where the server's own PATH has it: what starts a sandbox has another one."""
    return shutil.which(program) or program


def furnish(root: Path, visible: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Make the folder that is the root of all instances. Returns what is to be mounted into it, system folders first."""
    umask = os.umask(0o022)  # functions are another user, and must be able to look
    try:
        shown = mounts.furnish(str(root), ()) + visible
        for source, target in shown:
            _point(root / target.lstrip("/"), os.path.isdir(source))
        _point(root / DOOR.lstrip("/"), True)
        for name in DEVICES:
            _point(root / "dev" / name, False)
    finally:
        os.umask(umask)
    return shown


def _point(path: Path, folder: bool) -> None:
    if folder:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
