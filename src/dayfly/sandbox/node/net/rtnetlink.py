"""The few requests to the kernel's rtnetlink that pairs of interfaces need.

A socket speaks to the network namespace its thread was in when it was opened. Wire format: rtnetlink(7), and linux/if_link.h,
linux/pkt_sched.h of the kernel's uapi. Not by a library: the one that is well kept takes longer to put a message together than the
kernel takes for the pair, and a cold start pays for both.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE, _NEWQDISC = 16, 17, 20, 24, 36
_REQUEST_ACK = 0x1 | 0x4
_CREATE_EXCL = 0x400 | 0x200
_UP = 0x1
_CLONE_NEWNET = 0x40000000
_VETH_INFO_PEER = 1
_IFNAME, _LINKINFO, _NET_NS_FD = 3, 18, 28
_ETHERNET = 1  # link layer that needs no rate table
_LATENCY = 0.05  # seconds a packet may wait for its turn under a cap
_BURST = 64 << 10  # bytes that pass at once: a packet of a virtual interface may be that large

_libc = ctypes.CDLL(None, use_errno=True)


class Rtnetlink:
    """A conversation with the namespace of now. Methods raise OSError with what was being tried."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._number = 0

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def add_pair(self, name: str, peer: str, peer_namespace: int) -> None:
        """A pair of virtual interfaces: `name` here, `peer` in the namespace of that descriptor."""
        there = _link(0) + _text(_IFNAME, peer) + _attribute(_NET_NS_FD, struct.pack("=i", peer_namespace))
        info = _text(1, "veth") + _attribute(2, _attribute(_VETH_INFO_PEER, there))
        self._ask(_NEWLINK, _CREATE_EXCL, _link(0) + _text(_IFNAME, name) + _attribute(_LINKINFO, info), f"make {name}")

    def up(self, index: int) -> None:
        self._ask(_NEWLINK, 0, _link(index, _UP), "bring an interface up")

    def delete(self, index: int) -> None:
        self._ask(_DELLINK, 0, _link(index), "remove an interface")

    def add_address(self, index: int, address: str, bits: int = 32) -> None:
        number = socket.inet_aton(address)
        body = struct.pack("=BBBBi", socket.AF_INET, bits, 0, 0, index) + _attribute(2, number) + _attribute(1, number)
        self._ask(_NEWADDR, _CREATE_EXCL, body, f"set the address {address}")

    def add_route(self, index: int, *, to: str = "", bits: int = 32, gateway: str = "", on_link: bool = False) -> None:
        """To an address or net over the interface, or by a gateway (`on_link`: although no address of ours is in its net)."""
        scope = 0 if gateway else 253
        head = (socket.AF_INET, bits if to else 0, 0, 0, 254, 4, scope, 1, 4 if on_link else 0)
        body = struct.pack("=BBBBBBBBI", *head) + _attribute(4, struct.pack("=i", index))
        if to:
            body += _attribute(1, socket.inet_aton(to))
        if gateway:
            body += _attribute(5, socket.inet_aton(gateway))
        self._ask(_NEWROUTE, _CREATE_EXCL, body, f"add a route to {to or 'everywhere'}")

    def cap(self, index: int, bytes_a_second: int) -> None:
        """Let no more than that out of the interface: a token bucket (tc-tbf(8))."""
        rate = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(bytes_a_second, 0xFFFFFFFF))
        limit = int(bytes_a_second * _LATENCY) + _BURST
        parameters = rate + bytes(12) + struct.pack("=III", limit, 0, 0)
        options = _attribute(1, parameters) + _attribute(6, struct.pack("=I", _BURST))
        options += _attribute(4, struct.pack("=Q", bytes_a_second))
        body = struct.pack("=BxxxiIII", 0, index, 0, 0xFFFFFFFF, 0) + _text(1, "tbf") + _attribute(2, options)
        self._ask(_NEWQDISC, _CREATE_EXCL, body, "cap the bandwidth of an interface")

    def _ask(self, kind: int, flags: int, body: bytes, doing: str) -> None:
        self._number += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST_ACK, self._number, 0) + body)
        answer = self._socket.recv(65536)
        (code,) = struct.unpack_from("=i", answer, 16)
        if code:
            raise OSError(-code, os.strerror(-code), doing)


def _link(index: int, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def new_namespace() -> int:
    """Put this thread into a new network namespace, and return a descriptor of it."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise _error("make a network namespace")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace: int) -> None:
    """Put this thread into a network namespace."""
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise _error("enter a network namespace")


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """This thread is in that network namespace for the block: what is opened there belongs to it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def _error(doing: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), doing)
