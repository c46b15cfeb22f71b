"""How many connections a server holds, and from where: bounded in all and by peer, so that nobody takes every descriptor.

Each is counted from the moment it is accepted, before a TLS handshake. Where there are nearly too many, one without a request makes room
for the next: the longest idle one of the peer that holds the most. Where none can go, the next is refused.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address
from typing import Final, Protocol

from .limits import EdgeLimits

ROOM: Final = 0.95  # of a bound: beyond, each new connection ends an idle one
LOOK_EVERY: Final = 0.9  # seconds
MANY: Final = 0.1  # of the connections: as many as that were idle, so it was worth the look
DESCRIPTORS: Final = 0.75  # of those that the process may have: instances, files and the store need the rest


class Connection(Protocol):
    @property
    def idle_since(self) -> float | None:
        """Loop time since when it waits for a request; None while anything is under way on it."""
        ...

    def abort(self) -> None: ...


class Connections:
    """Those of one server, over several listeners."""

    def __init__(self, limits: EdgeLimits, *, share: float = 1.0) -> None:
        """`share`: the part of the limits that these may take."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limit = max(1, int(share * min(limits.connections, descriptors * DESCRIPTORS)))
        self.peer_limit = max(1, int(min(share * limits.peer_connections, self.limit)))
        self.count = 0
        self._of: dict[str, set[Connection]] = {}  # by peer
        self._idle = _Idle()
        self._idle_of: dict[str, _Idle] = {}  # of peers that hold nearly too many
        self._looked = 0.0

    def admit(self, peer: str) -> bool:
        """Whether there is room for one more from there. May end another one, for the next."""
        held = self._of.get(peer, set())
        made_room = False
        if len(held) >= self.peer_limit * ROOM:
            made_room = self._idle_of.setdefault(peer, _Idle()).end(lambda: [held])
            if len(held) >= self.peer_limit:
                return False
        if self.count >= self.limit * ROOM and not made_room:
            self._idle.end(lambda: sorted(self._of.values(), key=len))
        return self.count < self.limit

    def join(self, peer: str, connection: Connection) -> None:
        self._of.setdefault(peer, set()).add(connection)
        self.count += 1

    def leave(self, peer: str, connection: Connection) -> None:
        held = self._of.get(peer)
        if held is not None and connection in held:
            held.remove(connection)
            self.count -= 1
            if not held:
                del self._of[peer]

    def look(self, now: float) -> None:
        """Called about once a second, at the loop time `now`: what is known of idle connections is old."""
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._idle = _Idle()
            self._idle_of.clear()


class _Idle:
    """Connections that could go. Looking for them takes a while, so it is done once, and again only if there were many."""

    def __init__(self) -> None:
        self._left: list[tuple[float, Connection]] = []  # the next one to go at the end, with since when it is idle
        self._worth = True

    def end(self, groups: Callable[[], Sequence[Collection[Connection]]]) -> bool:
        """End the longest idle one of the last group that has any; False if there is none."""
        if not self._left and self._worth:
            all_of_them = groups()
            self._left = [one for held in all_of_them for one in _idle(held)]
            self._worth = len(self._left) >= MANY * sum(map(len, all_of_them))
        while self._left:
            since, connection = self._left.pop()
            if connection.idle_since == since:
                connection.abort()
                return True
        return False


def peer_of(address: str) -> str:
    """Who counts as one peer: an IPv4 address, or an IPv6 network of 64 bits, since that is what a single host is given."""
    if ":" not in address:
        return address
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped) if mapped else found.packed[:8].hex()


def _idle(held: Collection[Connection]) -> list[tuple[float, Connection]]:
    """The longest idle last."""
    found = [(since, one) for one in held if (since := one.idle_since) is not None]
    found.sort(key=lambda it: -it[0])
    return found
