"""The few Linux system calls that Python's standard library does not wrap, by way of ctypes.

Every function raises OSError with the errno of the kernel and, as its file name, what was being tried, so that a message
such as `[Errno 1] Operation not permitted: 'mount tmpfs on /tmp'` reads by itself. Runs on Python 3.8 and newer.

Numbers and flags are from the kernel's uapi headers (linux/mount.h, sched.h, prctl.h, capability.h, asm/unistd.h).
"""

import ctypes
import os
import struct

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

# Numbers: x86_64 and aarch64. From 424 on, all architectures share them.
_PIVOT_ROOT, _CAPSET, _SCHED_SETATTR = {"x86_64": (155, 126, 314), "aarch64": (41, 91, 274)}.get(
    os.uname().machine, (-1, -1, -1)
)
_CLOSE_RANGE = 436
_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, doing: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), doing)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(source.encode(), os.fsencode(target), fstype.encode() or None, flags, options.encode() or None)
    _check(result, "mount " + (fstype or source) + " on " + target)


def bind(source: str, target: str, attributes: int) -> None:
    """Show the tree `source` at `target`, submounts included, with MOUNT_ATTR_* set on all of it. Needs Linux 5.12."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC, None)
    _check(result, "bind " + source + " on " + target)
    if attributes:
        mount_setattr(target, attributes)


def mount_setattr(path: str, attributes: int) -> None:
    """Set MOUNT_ATTR_* on the mount at `path` and all below it."""
    attr = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, attr, ctypes.c_size_t(32))
    _check(result, "restrict the mount at " + path)


def unmount(path: str) -> None:
    """Detach the mount at `path` and all below it."""
    _check(_libc.umount2(os.fsencode(path), MNT_DETACH), "detach " + path)


def pivot_root(new: str) -> None:
    """Make the mount `new` the root of this mount namespace and let go of the old one."""
    os.chdir(new)
    # With both names ".", the old root is stacked on the new one, and the next umount takes it off: pivot_root(2).
    _check(_libc.syscall(_PIVOT_ROOT, b".", b"."), "pivot_root to " + new)
    _check(_libc.umount2(b".", MNT_DETACH), "detach the old root")
    os.chdir("/")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare(0x%x)" % flags)


def setns(fd: int, flags: int) -> None:
    _check(_libc.setns(fd, flags), "setns(0x%x)" % flags)


def sethostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), "set the host name")


def prctl(option: int, argument: int) -> None:
    _check(_libc.prctl(option, argument, 0, 0, 0), "prctl(%d)" % option)


_drop = ctypes.CDLL(None)["prctl"]  # a second handle: with two arguments, and without errno, it takes half the time
_drop.argtypes = (ctypes.c_int, ctypes.c_ulong)


def drop_bounding_set(last: int) -> None:
    """Empty the capability bounding set of this thread: capabilities 0 to `last`."""
    if any(map(_drop, [PR_CAPBSET_DROP] * (last + 1), range(last + 1))):
        raise PermissionError(1, "Operation not permitted", "empty the capability bounding set")


_cap_header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
_cap_none = ctypes.create_string_buffer(24)


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets, and with them the ambient one."""
    _check(_libc.syscall(_CAPSET, _cap_header, _cap_none), "drop capabilities")


def close_range(first: int, last: int) -> None:
    """Close the descriptors `first` to `last`, both included. Needs Linux 5.9."""
    result = _libc.syscall(_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 0)
    _check(result, "close inherited descriptors")


_SHORTEST_TURN = 100_000  # nanoseconds; the kernel takes no less
_SCHED_RESET_ON_FORK = 1
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period. Of SCHED_OTHER (0) the runtime is the slice.
_turns = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 0, _SCHED_RESET_ON_FORK, 0, 0, _SHORTEST_TURN, 0, 0), 48)


def take_short_turns() -> None:
    """When this thread wakes, it goes before those with longer turns of the processor, and it gives way sooner: its share is the same.

    What it starts has turns of the usual length again, so that many children do not crowd out somebody else's one process.
    Since Linux 6.12; older kernels take no notice, and where we may not, we wait as ever. sched_setattr(2).
    """
    _libc.syscall(_SCHED_SETATTR, 0, _turns, 0)


class Filter:
    """A seccomp program in the form the kernel takes it, built once and loaded by every child."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        self._fprog = ctypes.create_string_buffer(
            struct.pack("@HP", len(program) // 8, ctypes.addressof(self._code)), struct.calcsize("@HP")
        )

    def load(self) -> None:
        """Apply to this thread and what it starts, for good. Needs no-new-privs."""
        _check(_libc.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(self._fprog), 0, 0), "load the seccomp filter")
