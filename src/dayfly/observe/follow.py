"""Live lines for those who follow a log: fed from memory, at the pace of the reader.

Every follower has a queue of its own, of bounded length. Who reads too slowly loses lines and is told how many by a marker in their
place; the function, the disk and the other followers notice nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from ..errors import Throttled
from ..model.log import LogLine

QUEUE: Final = 2000  # lines a follower may be behind,
QUEUE_SIZE: Final = 1 << 20  # or so many characters
FOLLOWERS: Final = 200  # at the same time
PLATFORM: Final = "platform"  # the stream of what Dayfly itself says


class Scope(NamedTuple):
    """Which lines: of a namespace, of one function, or of one invocation."""

    namespace: str
    function: str = ""
    invocation: str = ""

    def takes(self, line: LogLine) -> bool:
        return (
            line.namespace == self.namespace
            and (not self.function or line.function == self.function)
            and (not self.invocation or line.invocation == self.invocation)
        )


class Follower:
    """One reader's queue."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._lines: deque[LogLine] = deque()
        self._size = 0  # characters in the queue
        self._lost = 0
        self._gap: LogLine | None = None  # the first line lost: the marker takes its place
        self._more = asyncio.Event()
        self._over = False

    def end(self) -> None:
        """No more lines will come; those in the queue are still read."""
        self._over = True
        self._more.set()

    def offer(self, line: LogLine) -> None:
        if not self._scope.takes(line):
            return
        if self._lost or len(self._lines) >= QUEUE or self._size >= QUEUE_SIZE:
            self._lost += 1
            self._gap = self._gap or line
        else:
            self._lines.append(line)
            self._size += len(line.text)
            self._more.set()

    async def next(self) -> LogLine | None:
        """The next line, or the marker of lost ones, once there is one; None at the end."""
        while not self._lines:
            if self._gap is not None:
                line, lost = self._gap, self._lost
                self._gap, self._lost = None, 0
                return marker(line, f"[{lost} lines left out: this reader is too slow]")
            if self._over:
                return None
            self._more.clear()
            await self._more.wait()
        line = self._lines.popleft()
        self._size -= len(line.text)
        return line


class Followers:
    """All who follow."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def __len__(self) -> int:
        return len(self._followers)

    def join(self, scope: Scope) -> Follower:
        """Raises errors.Throttled when there are too many."""
        if len(self._followers) >= FOLLOWERS:
            raise Throttled(
                f"{FOLLOWERS} readers follow logs already.", hint="End one, or read the log in pages.", retry_after=5.0
            )
        follower = Follower(scope)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)

    def offer(self, line: LogLine) -> None:
        for follower in self._followers:
            follower.offer(line)

    def end(self) -> None:
        """The server stops: let every reader come to an end."""
        for follower in self._followers:
            follower.end()


def marker(line: LogLine, text: str) -> LogLine:
    """A line of the platform's own in the place of another."""
    return LogLine(
        time=line.time,
        namespace=line.namespace,
        function=line.function,
        revision=line.revision,
        instance=line.instance,
        invocation=line.invocation,
        stream=PLATFORM,
        text=text,
    )
