"""The node's network: a router, and a pair of interfaces for each instance, made ahead of need.

A pair is a network namespace whose eth0 ends in the router. A child of a zygote enters it instead of a new empty one; it is owned by the
machine, so user code can change nothing about it. Whether it was used is in its accounts: if its instance has sent and received not
one packet, loopback's included, and no socket is left, the next instance gets it, for nothing is there that it could meet, and the
kernel takes longer for a namespace's birth and death than for a fork. Else, or with rules or caps of its own, it is used once.

`Network.open` raises OSError where this machine or this user cannot do it; then instances have loopback alone.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from ....model.network import ANY_PORT, AWS, MAX_RULES, SERVICES, Allowed
from . import rules
from .nft import Nft
from .rtnetlink import Rtnetlink, enter, inside, new_namespace

TABLE = "dayfly_"  # name of the machine's, and the slot
SLOTS = 256  # nodes on one machine
ADDRESSES = 65_000  # of 198.18.0.0/16, given out in turn
LEARNED = 1000  # addresses of names that are remembered of an instance
ACCOUNTS = ("dev", "snmp", "snmp6", "unix", "ip6_flowlabel")  # of /proc/net: packets, attempts to send one, sockets, leases
FORGET_FLOWS = 1200  # seconds without a packet after which a connection is unknown

_MBIT = 125_000  # bytes


class Pair(Struct):
    """The network of one instance. `namespace`: a descriptor of it."""

    number: int
    address: str
    namespace: int
    allowed: tuple[Allowed, ...] | None = None  # the allow-list, if its instance has one
    capped: bool = False  # whether its bandwidth is bounded
    once: bool = False  # whether its instance takes it apart
    elements: dict[tuple[str, str], float] = {}  # what the rules know of it: set and element; until when, monotonic (0: always)

    @property
    def interface(self) -> str:
        """In the router."""
        return f"i{self.number}"

    def lent(self) -> int:
        """Another descriptor of the namespace; who gets it closes it."""
        return os.dup(self.namespace)

    def close(self) -> None:
        """Let go of the namespace; without a process in it, it ends, and the interfaces with it."""
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


class Network:
    """What `open` makes. `make` and `untouched` may run in any thread, one at a time; the rest belongs to the event loop's."""

    def __init__(self) -> None:
        self._slot = -1
        self._number = 0  # given out last
        self._taken: set[int] = set()
        self._new = b""  # the accounts of a new pair
        self._closed_before = False  # the machine forwarded nothing until we asked it to
        self._machine: Nft
        self._rules: Nft
        self._links: Rtnetlink
        self._router = -1

    @classmethod
    def open(cls, reachable: Iterable[str] = ()) -> Network:
        """The router stands, and the machine lets its packets out. `reachable`: see `rules.router`."""
        if os.geteuid() != 0:
            raise PermissionError("only root makes interfaces and rules")
        network = cls()
        try:
            network._machine = Nft()
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                network._build(home, reachable)
            finally:
                enter(home)
                os.close(home)
            network._join()
        except BaseException:
            network.close()
            raise
        return network

    def _build(self, home: int, reachable: Iterable[str]) -> None:
        """The router, in a namespace that this thread leaves again."""
        self._router = new_namespace()
        _sysctl("ipv4/ip_forward", 1)
        _sysctl("ipv4/icmp_ratelimit", 0)  # what is refused shall hear of it each time, not wait
        for which in ("all", "default"):
            _sysctl(f"ipv4/conf/{which}/rp_filter", 1)
            _sysctl(f"ipv4/conf/{which}/send_redirects", 0)
            _sysctl(f"ipv6/conf/{which}/disable_ipv6", 1)
        _sysctl("netfilter/nf_conntrack_tcp_timeout_established", FORGET_FLOWS)
        self._rules = Nft()
        self._rules.run(rules.router(reachable))
        links = self._links = Rtnetlink()
        loopback = 1
        links.up(loopback)
        for address in (SERVICES, AWS):
            links.add_address(loopback, address)
        self._slot = self._join_machine(links, home)
        uplink = socket.if_nametoindex(rules.UPLINK)
        links.up(uplink)
        links.add_address(uplink, self._address(2), 30)
        # The machine's end has no address before `_join`; that its net is on the link is known already.
        links.add_route(uplink, gateway=self._address(1))

    @staticmethod
    def _join_machine(links: Rtnetlink, home: int) -> int:
        """Lay the cable to the machine. The name of its end is the number that no other node there has. Raises OSError."""
        for slot in range(SLOTS):
            try:
                links.add_pair(rules.UPLINK, f"df{slot}", home)
            except FileExistsError:
                continue
            return slot
        raise OSError(f"{SLOTS} nodes have a network on this machine already")

    def _join(self) -> None:
        """The machine's end of the cable."""
        with Rtnetlink() as links:
            index = socket.if_nametoindex(self._interface)
            _sysctl(f"ipv6/conf/{self._interface}/disable_ipv6", 1)
            links.up(index)
            links.add_address(index, self._address(1), 30)
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        self._closed_before = self._sweep() or forward.read_text().strip() == "0"
        self._machine.run(rules.machine(self._table, self._interface, self._address(2), closed=self._closed_before))
        if self._closed_before:
            forward.write_text("1")

    def _sweep(self) -> bool:
        """Take away what killed nodes left: tables without an interface. Returns whether the machine forwards for nodes alone."""
        closed = False
        interfaces = {name for _, name in socket.if_nameindex()}
        for line in self._machine.run("list tables inet").splitlines():
            name = line.split()[-1]
            slot = name.removeprefix(TABLE)
            if name.startswith(TABLE) and slot.isdigit():
                closed = closed or rules.CLOSED in self._machine.run(f"list table inet {name}")
                if f"df{slot}" not in interfaces:
                    self._machine.run(f"delete table inet {name}")
        return closed

    @property
    def _table(self) -> str:
        return f"{TABLE}{self._slot}"

    @property
    def _interface(self) -> str:
        return f"df{self._slot}"

    def _address(self, host: int) -> str:
        return f"198.19.{self._slot}.{host}"

    # --- pairs ------------------------------------------------------------------------------------------------------------

    def make(self) -> Pair:
        """A pair whose instance may connect to the whole internet. In any thread, one at a time."""
        number = self._number = self._free()
        address = f"198.18.{number >> 8}.{number & 255}"
        pair = Pair(number, address, -1)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            pair.namespace = new_namespace()
            _sysctl("ipv6/conf/default/disable_ipv6", 1)  # of what is made from now on: loopback keeps its ::1
            with Rtnetlink() as links:
                links.add_pair("eth0", pair.interface, self._router)
                own = socket.if_nametoindex("eth0")
                links.up(1)
                links.up(own)
                links.add_address(own, address)
                links.add_route(own, gateway=SERVICES, on_link=True)
            self._new = self._new or _accounts()
            enter(self._router)
            other = socket.if_nametoindex(pair.interface)
            self._links.up(other)
            self._links.add_route(other, to=address)
        except BaseException:
            pair.close()
            raise
        finally:
            enter(home)
            os.close(home)
        self._taken.add(number)
        return pair

    def untouched(self, pair: Pair) -> bool:
        """Whether nobody can tell it from a new one, now that its instance is gone. Raises OSError."""
        if pair.allowed is not None or pair.capped or pair.once:
            return False
        with inside(pair.namespace):
            return _accounts() == self._new

    def _free(self) -> int:
        """The next number that no instance has."""
        number = self._number % ADDRESSES + 1
        while number in self._taken:
            number = number % ADDRESSES + 1
        return number

    def restrict(self, pair: Pair, allowed: tuple[Allowed, ...]) -> None:
        """Let its instance connect only to these."""
        pair.allowed = allowed
        pair.elements["limited", pair.address] = 0.0
        commands = [f"add element inet dayfly limited {{ {pair.address} }}"]
        for entry in allowed:
            if entry.network is not None:
                ports = "0-65535" if entry.port == ANY_PORT else str(entry.port)
                element = f"{pair.address} . {entry.network} . {ports}"
                pair.elements["listed", element] = 0.0
                commands.append(f"add element inet dayfly listed {{ {element} }}")
        self._rules.run("\n".join(commands))

    def learn(self, pair: Pair, name: str, addresses: Iterable[str], seconds: int, now: float) -> None:
        """That name, which the pair's instance may connect to, has these addresses for so long. `now` is monotonic."""
        commands: list[str] = []
        for entry in pair.allowed or ():
            for address in addresses if entry.names(name) else ():
                which, port = ("named_any", "") if entry.port == ANY_PORT else ("named", f" . {entry.port}")
                element = f"{pair.address} . {address}{port}"
                if pair.elements.get((which, element), 0.0) < now + seconds / 2:
                    # Older kernels keep the timeout of what is there already.
                    commands += [*_gone(which, element), f"add element inet dayfly {which} {{ {element} timeout {seconds}s }}"]
                    pair.elements.pop((which, element), None)
                    pair.elements[which, element] = now + seconds
        for which, element in list(pair.elements)[MAX_RULES + 1 : -LEARNED]:
            commands += _gone(which, element)
            del pair.elements[which, element]
        if commands:
            self._rules.run("\n".join(commands))

    def cap(self, pair: Pair, mbit: float) -> None:
        """Bound what goes in and what comes out, each, to so many megabits a second."""
        rate = max(1, round(mbit * _MBIT))
        pair.capped = True
        with inside(self._router):
            self._links.cap(socket.if_nametoindex(pair.interface), rate)
        with inside(pair.namespace), Rtnetlink() as links:
            links.cap(socket.if_nametoindex("eth0"), rate)

    def release(self, pair: Pair) -> None:
        """Its instance is gone. The address comes round again, so nothing that was allowed to it may stay."""
        pair.close()
        commands = [command for which, element in pair.elements for command in _gone(which, element)]
        if commands:
            self._rules.run("\n".join(commands))
        self._taken.discard(pair.number)

    # --- what listens in the router ---------------------------------------------------------------------------------------

    def listen(self, kind: socket.SocketKind, port: int, address: str = SERVICES) -> socket.socket:
        """A socket at an address that instances know; "": at all of them."""
        with inside(self._router):
            listening = socket.socket(socket.AF_INET, kind)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address, port))
            if kind == socket.SOCK_STREAM:
                listening.listen(1024)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        return listening

    def close(self) -> None:
        """Take the machine's rules away; the router goes with its last descriptor."""
        if self._slot >= 0:
            try:
                self._leave_machine()
            except OSError:
                pass  # the next node takes it away
        for conversation in ("_links", "_rules", "_machine"):
            if hasattr(self, conversation):
                getattr(self, conversation).close()
        if self._router >= 0:
            os.close(self._router)
            self._router = -1

    def _leave_machine(self) -> None:
        with Rtnetlink() as links:
            links.delete(socket.if_nametoindex(self._interface))
        self._sweep()
        if self._closed_before and not any(_is_uplink(name) for _, name in socket.if_nameindex()):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def rehearse() -> str:
    """Why there can be no network here; empty if there can. Leaves nothing behind: the machine it is tried on is made up."""
    said: list[str] = []

    def attempt() -> None:
        try:
            if os.geteuid() == 0:
                Nft().run("list tables")  # root of a container may not do this to its machine, but well to a made-up one
            made_up = new_namespace()
            try:
                network = Network.open()
                network.release(network.make())
                network.close()
            finally:
                os.close(made_up)
        except OSError as error:
            said.append(str(error))

    trying = threading.Thread(target=attempt)  # it alone is on that machine, and ends there
    trying.start()
    trying.join()
    return "".join(said)


def _gone(which: str, element: str) -> list[str]:
    """Commands after which a set does not have the element, whether it had it before or not."""
    return [f"{verb} element inet dayfly {which} {{ {element} }}" for verb in ("add", "delete")]


def _accounts() -> bytes:
    """What the network namespace of this thread has counted."""
    counted = b""
    for name in ACCOUNTS:
        file = os.open(f"/proc/thread-self/net/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            counted += os.read(file, 65536)
        finally:
            os.close(file)
    return counted


def _is_uplink(name: str) -> bool:
    return name.startswith("df") and name[2:].isdigit()


def _sysctl(name: str, value: int) -> None:
    """Of the network namespace this thread is in."""
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(str(value))
