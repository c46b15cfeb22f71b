"""A fork straight into a control group.

In version 2 a process that moves to another group, even its first, takes a lock of the whole machine whose taker waits for every
processor: some 10 ms, or most of a cold start. A child that is *born* in the group (clone3 with CLONE_INTO_CGROUP, Linux 5.7) waits
for nothing.

Python knows no such fork, so this does what os.fork() does: the interpreter's own preparations before and after, and for the C library
the one thing its fork sees to in a process of one thread, the thread id it keeps, which the kernel writes where PR_GET_TID_ADDRESS
says. The caller must have a single thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

_CLONE3 = 435  # the same on all architectures
_CLONE_INTO_CGROUP = 0x200000000
_CLONE_CHILD_SETTID, _CLONE_CHILD_CLEARTID = 0x01000000, 0x00200000
_PR_GET_TID_ADDRESS = 40

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def fork_into(group: int) -> int:
    """os.fork(), with the child in the version 2 control group whose folder `group` is a descriptor of.

    Raises OSError where the kernel cannot; then nothing has happened, and os.fork() is the way.
    """
    address = ctypes.c_void_p()
    if _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0) or not address.value:
        raise OSError(ctypes.get_errno(), "PR_GET_TID_ADDRESS")
    flags = _CLONE_INTO_CGROUP | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    arguments = struct.pack("=11Q", flags, 0, address.value, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, group)
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    size = ctypes.c_long(len(arguments))
    number = ctypes.c_long(_CLONE3)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc.syscall(number, buffer, size))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, os.strerror(code), "clone3")
    return pid
