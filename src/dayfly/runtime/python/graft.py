"""Gives a process that is already in its jail the package it is to run.

Runtimes that are slow to start are started ahead of need, in a jail that holds no code. When an instance is wanted, a child of the zygote
opens the package's folder as a detached mount (open_tree), enters the mount namespace of the waiting process, which neither needs
nor could do anything itself, attaches the folder there, and hands over the work. From then on nothing differs from an instance
that was started with its package.

Needs Linux 5.12, as the jail does. The numbers and flags are those of linux/mount.h and asm/unistd.h; from 424 on, all
architectures share them.
"""

from __future__ import annotations

import ctypes
import os
import struct

from . import mounts
from . import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def graft(pid: int, binds: Iterable[list[str]], hostname: str) -> None:
    """Show folders, read-only, to the jailed process `pid`. In a child of a zygote that has called `jail.prepare`; it is spent
    afterwards. `binds`: [source below the template's sources, mount point]. Raises OSError naming the step, ValueError for a
    source that is not a plain folder."""
    trees = [(_detached(mounts.source(source)), target) for source, target in binds]
    for kind, flag in (("uts", sys_.CLONE_NEWUTS), ("mnt", sys_.CLONE_NEWNS)):
        with open("%s/%d/ns/%s" % (mounts.PROC, pid, kind), "rb") as namespace:
            sys_.setns(namespace.fileno(), flag)
        if kind == "uts":
            sys_.sethostname(hostname)
    for tree, target in trees:
        _call("attach " + target, _MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def _detached(folder: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    tree = _call("open " + folder, _OPEN_TREE, _AT_FDCWD, os.fsencode(folder), flags)
    attributes = sys_.MOUNT_ATTR_RDONLY | sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV
    setting = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    _call("restrict " + folder, _MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, setting, 32)
    return tree


def _call(doing: str, number: int, *arguments: object) -> int:
    typed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *typed))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), doing)
    return result
