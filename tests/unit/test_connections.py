"""How many connections a server holds: bounded in all and by peer; who has work stays, who is idle makes room."""

from __future__ import annotations

from dayfly.gateway.connections import Connections, peer_of
from dayfly.gateway.limits import EdgeLimits


class Held:
    """A connection that a client holds; `idle_since` None is one with a call under way."""

    def __init__(self, peer: str, idle_since: float | None) -> None:
        self.peer = peer
        self.idle_since = idle_since
        self.ended = False

    def abort(self) -> None:
        self.ended, self.idle_since = True, None


def filled(connections: Connections, peer: str, count: int, idle: bool = True) -> list[Held]:
    """As many as are let in, of so many that try."""
    held = []
    for number in range(count):
        if connections.admit(peer):
            held.append(Held(peer, float(number) if idle else None))
            connections.join(peer, held[-1])
    return held


def part(connections: Connections, held: list[Held]) -> None:
    """The loop hears of those that were ended."""
    for one in held:
        if one.ended:
            connections.leave(one.peer, one)


def test_one_peer_does_not_take_what_is_for_all() -> None:
    connections = Connections(EdgeLimits(connections=100, peer_connections=20))
    assert len(filled(connections, "greedy", 200, idle=False)) == 20
    assert connections.admit("other")


def test_the_longest_idle_makes_room() -> None:
    connections = Connections(EdgeLimits(connections=100, peer_connections=100))
    held = filled(connections, "a", 96)
    assert [one.ended for one in held] == [True] + [False] * 95
    part(connections, held)
    assert connections.count == 95


def test_who_holds_most_gives_first() -> None:
    connections = Connections(EdgeLimits(connections=100, peer_connections=100))
    few, many = filled(connections, "few", 20), filled(connections, "many", 75)
    assert connections.admit("few")
    assert [one for one in few if one.ended] == []
    assert [one for one in many if one.ended] == [many[0]]


def test_where_all_work_the_next_is_refused_until_one_leaves() -> None:
    connections = Connections(EdgeLimits(connections=10, peer_connections=10))
    held = filled(connections, "a", 20, idle=False)
    assert len(held) == 10
    assert not connections.admit("b")
    connections.leave("a", held[0])
    connections.leave("a", held[0])  # once is enough
    assert connections.count == 9
    assert connections.admit("b")


def test_a_flood_within_a_second_finds_room_again_and_again() -> None:
    """What was idle at the last look is used up; as there was much, it is worth another."""
    connections = Connections(EdgeLimits(connections=100, peer_connections=100))
    held = filled(connections, "a", 95)
    for _ in range(500):
        assert connections.admit("a")
        held.append(Held("a", 1.0))
        connections.join("a", held[-1])
        part(connections, held)
        held = [one for one in held if not one.ended]
    assert connections.count == 95


def test_what_was_not_worth_a_look_is_looked_at_a_second_later() -> None:
    connections = Connections(EdgeLimits(connections=20, peer_connections=20))
    held = filled(connections, "a", 20, idle=False)
    assert not connections.admit("a")
    held[3].idle_since = 5.0
    assert not connections.admit("a")
    assert not held[3].ended
    connections.look(10.0)
    connections.admit("a")
    assert held[3].ended


def test_a_host_is_one_peer_whatever_of_its_network_it_uses() -> None:
    assert peer_of("10.0.0.1") == "10.0.0.1" == peer_of("::ffff:10.0.0.1")
    assert peer_of("2001:db8::1") == peer_of("2001:db8::ffff:2") != peer_of("2001:db8:0:1::1")
    assert peer_of("fe80::1%eth0") == peer_of("fe80::2")
