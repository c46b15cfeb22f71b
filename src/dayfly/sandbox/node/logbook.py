"""Collects the lines of all instances and hands them to the server in batches.

A batch goes at most every DELAY seconds, so that a chatty function does not cost a message a line. While no server is there, or it
does not keep up, at most KEEP bytes wait; the oldest go first, and a line of the platform's own says how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ...clock import Clock, Timer
from ..port import BoxSpec
from .messages import Line, Lines, Logs

DELAY = 0.05  # seconds
KEEP = 1 << 20  # bytes
BATCH = 4096  # lines a message
LINE_COST = 64  # bytes a line takes beyond its text


class Logbook:
    """`deliver` sends a batch and tells whether it could; if not, the lines wait for `flush` or the next line."""

    def __init__(self, clock: Clock, deliver: Callable[[Logs], bool]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._waiting: deque[tuple[BoxSpec, Line]] = deque()
        self._size = 0
        self._dropped = 0
        self._timer: Timer | None = None

    def add(self, spec: BoxSpec, line: Line) -> None:
        self._waiting.append((spec, line))
        self._size += len(line.text) + LINE_COST
        if self._timer is None:
            self._timer = self._clock.call_later(DELAY, self.flush)

    def flush(self) -> None:
        """Hand over what is waiting, if somebody takes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
            if not self._deliver(self._message(batch)):
                self._trim()
                return
            self._dropped = 0
            for _ in batch:
                _, line = self._waiting.popleft()
                self._size -= len(line.text) + LINE_COST

    def _trim(self) -> None:
        while self._size > KEEP:
            _, line = self._waiting.popleft()
            self._size -= len(line.text) + LINE_COST
            self._dropped += 1

    def _message(self, batch: list[tuple[BoxSpec, Line]]) -> Logs:
        groups: dict[str, Lines] = {}
        if self._dropped:
            spec, first = batch[0]
            text = f"{self._dropped} lines of this node's functions dropped: no server took them"
            note = Line(first.time, "platform", "", text)
            groups[spec.id] = Lines(spec.id, spec.namespace, spec.function, spec.revision, [note])
        for spec, line in batch:
            group = groups.get(spec.id)
            if group is None:
                group = groups[spec.id] = Lines(spec.id, spec.namespace, spec.function, spec.revision, [])
            group.lines.append(line)
        return Logs(list(groups.values()))
