"""Landlock: what a build job may reach although it has the host's network.

A job that downloads dependencies runs their build scripts, too, and whoever wrote them would otherwise talk to everything that trusts
loopback: databases, and Dayfly's own interface, which asks for no login there. A network namespace cannot tell loopback from the
world without a second stack, but Landlock (Linux 6.7, ABI 4) restricts TCP by port: connect to those of the package index and nowhere else,
listen nowhere. From Linux 6.12 (ABI 6) it also closes the abstract Unix sockets of the host. Interface: linux/landlock.h.

UDP is not covered (names must be resolved); MPTCP and TCP Fast Open would slip through, so the seccomp filter denies both to all.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

ABI_PORTS = 4
ABI_SCOPES = 6

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # system calls; the same on all architectures
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_RULE_NET_PORT = 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX_SOCKET = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """The version of Landlock in this kernel; 0: none."""
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)))


def restrict_network(version: int, ports: Iterable[int]) -> None:
    """Let this thread, and what it starts, connect by TCP to these ports only. Needs no-new-privs, and ABI_PORTS at least."""
    attributes = struct.pack("=QQ", 0, _BIND_TCP | _CONNECT_TCP)
    if version >= ABI_SCOPES:
        attributes += struct.pack("=Q", _SCOPE_ABSTRACT_UNIX_SOCKET)
    ruleset = _call("make a Landlock ruleset", _CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    for port in ports:
        rule = struct.pack("=QQ", _CONNECT_TCP, port)
        _call("allow port %d" % port, _ADD_RULE, ruleset, _RULE_NET_PORT, rule, 0)
    _call("restrict the network", _RESTRICT, ruleset, 0)
    os.close(ruleset)


def _call(doing: str, *arguments: object) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), doing)
    return result
