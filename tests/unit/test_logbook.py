"""Batches of lines, and what becomes of them while no server is there."""

from __future__ import annotations

from dayfly.sandbox.node.logbook import DELAY, KEEP, Logbook
from dayfly.sandbox.node.messages import Line, Logs
from dayfly.sandbox.port import BoxSpec
from dayfly.testing.clock import FakeClock


def spec(number: int) -> BoxSpec:
    return BoxSpec(id=f"{number:032x}", namespace="n", function=f"f{number}", revision=3, runtime="nodejs", handler="a.b")


class Server:
    def __init__(self) -> None:
        self.there = True
        self.batches: list[Logs] = []

    def deliver(self, logs: Logs) -> bool:
        if self.there:
            self.batches.append(logs)
        return self.there

    @property
    def texts(self) -> list[str]:
        return [line.text for logs in self.batches for group in logs.batch for line in group.lines]


def test_lines_leave_in_one_batch_grouped_by_instance() -> None:
    clock, server = FakeClock(), Server()
    logbook = Logbook(clock, server.deliver)
    for number, text in ((1, "a"), (2, "b"), (1, "c")):
        logbook.add(spec(number), Line(clock.now(), "stdout", "", text))
    assert server.batches == []
    clock.advance(DELAY)
    (logs,) = server.batches
    assert [(group.function, [line.text for line in group.lines]) for group in logs.batch] == [
        ("f1", ["a", "c"]),
        ("f2", ["b"]),
    ]
    clock.advance(10)
    assert len(server.batches) == 1


def test_without_a_server_the_newest_lines_wait_and_the_rest_is_counted() -> None:
    clock, server = FakeClock(), Server()
    server.there = False
    logbook = Logbook(clock, server.deliver)
    for number in range(3000):
        logbook.add(spec(1), Line(clock.now(), "stdout", "", f"{number:04}" + "x" * 1000))
        clock.advance(DELAY)
    server.there = True
    logbook.flush()
    note, *kept = server.texts
    assert sum(map(len, kept)) <= KEEP
    assert kept[-1].startswith("2999")
    assert note == f"{3000 - len(kept)} lines of this node's functions dropped: no server took them"
    server.batches.clear()
    logbook.add(spec(1), Line(clock.now(), "stdout", "", "new"))
    logbook.flush()
    assert server.texts == ["new"]
