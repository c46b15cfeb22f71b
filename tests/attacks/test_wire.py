"""Attacks on the pair of interfaces that an instance has, on a machine made up for it: what a function could do to the next instance
that is given the pair, and what it could put on the wire if it came to make packets of its own, which seccomp and its lack of
capabilities keep from it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dayfly.model.network import SERVICES
from dayfly.sandbox.node.net.router import Network, Pair
from dayfly.sandbox.node.net.rtnetlink import inside, new_namespace
from tests.support.internet import METADATA6, OTHER, PUBLIC, PUBLIC6, missing, waited

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

IPV4, IPV6, ARP, EVERY = 0x0800, 0x86DD, 0x0806, 3  # of a frame
UDP, TUNNEL6, ICMP6 = 17, 41, 58  # of a packet
ALL_NODES = bytes.fromhex("333300000001")
LINK_LOCAL = "fe80::1234"
OWN = "198.18.0.1"  # the address of the first instance
MACHINE = "df0"  # the machine's end of the router's cable

T = TypeVar("T")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A router on a machine of this thread's own."""
    made_up = new_namespace()
    made = Network.open()
    try:
        yield made
    finally:
        made.close()
        os.close(made_up)


def elsewhere(act: Callable[[], T]) -> T:
    """Do it in a thread of its own, whose network nobody shares."""
    found: list[T] = []
    alone = threading.Thread(target=lambda: found.append(act()))
    alone.start()
    alone.join()
    return found[0]


# --- what is left for the next -----------------------------------------------------------------------------------------------


def touched_by(act: Callable[[], Any]) -> bool:
    """Whether a pair shows it when its instance did that."""

    def attempt() -> bool:
        with network() as made:
            pair = made.make()
            assert made.untouched(pair), "a new pair looks used"
            with inside(pair.namespace):
                left = act()
            touched = not made.untouched(pair)
            if left is not None:
                left.close()
            made.release(pair)
            return touched

    return elsewhere(attempt)


def datagram(family: socket.AddressFamily, *to: Any) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", to)
        except OSError:
            pass  # an attempt counts, too


def connection(*to: Any) -> None:
    with socket.socket(socket.AF_INET) as sock:
        sock.connect_ex(to)


def bound() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 5353))


def abstract() -> socket.socket:
    left = socket.socket(socket.AF_UNIX)
    left.bind("\0left")
    return left


@pytest.mark.parametrize(
    "act",
    [
        lambda: datagram(socket.AF_INET, "127.0.0.1", 9),
        lambda: datagram(socket.AF_INET6, "::1", 9),
        lambda: datagram(socket.AF_INET, OTHER, 9),
        lambda: datagram(socket.AF_INET6, PUBLIC6, 9),
        lambda: connection("127.0.0.1", 9),
        abstract,
    ],
    ids=["loopback", "loopback6", "outside", "no route", "a connection refused", "a socket that stays"],
)
def test_a_network_that_was_used_serves_nobody_again(act: Callable[[], Any]) -> None:
    assert touched_by(act)


def test_a_network_without_a_packet_serves_the_next_instance() -> None:
    assert not touched_by(bound)


# --- what is put on the wire -------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(payload: bytes = b"carried out") -> bytes:
    return struct.pack("!HHHH", 4000, 9999, 8 + len(payload), 0) + payload  # 0: without a checksum


def packet(source: str, target: str, payload: bytes, protocol: int = UDP) -> bytes:
    """A packet of the version that the addresses have."""
    from_, to = ip_address(source), ip_address(target)
    if isinstance(from_, IPv6Address):
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + from_.packed + to.packed + payload
    assert isinstance(to, IPv4Address)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + from_.packed + to.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def icmp6(source: str, target: str, body: bytes) -> bytes:
    """With the checksum of RFC 4443, section 2.3."""
    pseudo = IPv6Address(source).packed + IPv6Address(target).packed + struct.pack("!II", len(body), ICMP6)
    return packet(source, target, body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:], ICMP6)


class Wire:
    """The wire of an instance that can make any frame."""

    def __init__(self, pair: Pair) -> None:
        with inside(pair.namespace):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
                asks.sendto(b"x", (SERVICES, 9))  # so that it learns who the router is
            waited(lambda: bool(router()))
            self._router = router()
            self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._raw.bind(("eth0", 0))
        self._own = self._raw.getsockname()[4]

    def put(self, kind: int, body: bytes, to: bytes = b"") -> None:
        self._raw.send((to or self._router) + self._own + struct.pack("!H", kind) + body)

    def close(self) -> None:
        self._raw.close()


def router() -> bytes:
    """The router's address on the wire, as ARP has learnt it; empty before."""
    rows = [line.split() for line in Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]]
    return next((bytes.fromhex(row[3].replace(":", "")) for row in rows if row[0] == SERVICES and row[2] != "0x0"), b"")


class Ear:
    """Hears every packet that comes in at an interface of this thread's network; ARP apart, with which hosts find each other."""

    def __init__(self, interface: str) -> None:
        self.heard: list[bytes] = []
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._raw.bind((interface, EVERY))

    def listen(self) -> list[bytes]:
        """All until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, kind, direction, *_) = self._raw.recvfrom(65536)
                if kind != ARP and direction != socket.PACKET_OUTGOING:
                    self.heard.append(frame[14:])
        return self.heard

    def close(self) -> None:
        self._raw.close()


ADVERTISED = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)  # "I am the router", RFC 4861, section 4.2
SOLICITED = struct.pack("!BBHI", 135, 0, 0, 0) + IPv6Address(PUBLIC6).packed  # "who has", section 4.3

INJECTED: dict[str, Callable[[Wire, Pair], None]] = {
    "a datagram": lambda wire, other: wire.put(IPV6, packet(LINK_LOCAL, PUBLIC6, udp())),
    "from a global address": lambda wire, other: wire.put(IPV6, packet("2001:db8::2", PUBLIC6, udp())),
    "to the metadata service": lambda wire, other: wire.put(IPV6, packet(LINK_LOCAL, METADATA6, udp())),
    "to an address that hides one of IPv4": lambda wire, other: wire.put(IPV6, packet(LINK_LOCAL, f"64:ff9b::{PUBLIC}", udp())),
    "to another instance": lambda wire, other: wire.put(IPV6, packet(LINK_LOCAL, f"::ffff:{other.address}", udp())),
    "to all nodes": lambda wire, other: wire.put(IPV6, packet(LINK_LOCAL, "ff02::1", udp()), ALL_NODES),
    "a router's advertisement": lambda wire, other: wire.put(IPV6, icmp6(LINK_LOCAL, "ff02::1", ADVERTISED), ALL_NODES),
    "a solicitation": lambda wire, other: wire.put(IPV6, icmp6(LINK_LOCAL, "ff02::1", SOLICITED), ALL_NODES),
    "in a tunnel": lambda wire, other: wire.put(IPV4, packet(OWN, "192.88.99.1", packet(LINK_LOCAL, PUBLIC6, udp()), TUNNEL6)),
    "IPv4 as another instance": lambda wire, other: wire.put(IPV4, packet(other.address, PUBLIC, udp())),
    "IPv4 as the platform": lambda wire, other: wire.put(IPV4, packet(SERVICES, PUBLIC, udp())),
    "IPv4 as a host of the internet": lambda wire, other: wire.put(IPV4, packet(OTHER, PUBLIC, udp())),
    "IPv4 as loopback": lambda wire, other: wire.put(IPV4, packet("127.0.0.1", PUBLIC, udp())),
    "IPv4 to another instance": lambda wire, other: wire.put(IPV4, packet(OWN, other.address, udp())),
    "IPv4 to all": lambda wire, other: wire.put(IPV4, packet(OWN, "255.255.255.255", udp()), b"\xff" * 6),
}


@pytest.mark.parametrize("inject", INJECTED.values(), ids=INJECTED)
def test_31_what_is_put_on_the_wire_reaches_nobody(inject: Callable[[Wire, Pair], None]) -> None:
    """Neither the machine nor another instance; after it, an honest packet goes out, and alone is heard."""
    assert elsewhere(lambda: heard_of(inject)) == (1, 0)


def heard_of(inject: Callable[[Wire, Pair], None]) -> tuple[int, int]:
    """How many packets came to the machine and to another instance: that one, if it came, and an honest one."""
    with network() as made, contextlib.ExitStack() as stack:
        pair, other = made.make(), made.make()
        assert pair.address == OWN
        wire = stack.enter_context(contextlib.closing(Wire(pair)))
        machine = stack.enter_context(contextlib.closing(Ear(MACHINE)))
        with inside(other.namespace):
            neighbour = stack.enter_context(contextlib.closing(Ear("eth0")))
        inject(wire, other)
        wire.put(IPV4, packet(OWN, PUBLIC, udp(b"honest")))
        waited(lambda: any(found.endswith(b"honest") for found in machine.listen()))
        return len(machine.heard), len(neighbour.listen())


def test_a_packet_that_may_pass_is_heard_where_the_others_must_not_be() -> None:
    assert elsewhere(lambda: heard_of(lambda wire, other: wire.put(IPV4, packet(OWN, PUBLIC, udp())))) == (2, 0)
