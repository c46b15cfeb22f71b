"""How long a function whose instances end one after the other waits for the next one.

Each end and start costs all functions of the machine something: memory to give back and fill, processes, mounts. So that nobody has them
do only that, an instance that follows several that died without having answered a call in between starts a little later, twice as much
each time, as Kubernetes does with containers (CrashLoopBackOff), but in fractions of a second: calls wait for it in the queue.
"""

from __future__ import annotations

from typing import Final

FREE: Final = 3  # deaths in a row that delay nothing
FIRST: Final = 0.05  # seconds
LONGEST: Final = 1.0


class Crashes:
    """The deaths of one revision's instances since it answered a call last. Times are monotonic, in seconds."""

    __slots__ = ("_last", "number")

    def __init__(self) -> None:
        self.number = 0
        self._last = 0.0

    def add(self, now: float) -> None:
        self.number += 1
        self._last = now

    def wait(self, now: float) -> float:
        """Seconds from now until the next instance may start; 0 for at once."""
        beyond = self.number - FREE
        if beyond <= 0:
            return 0.0
        delay = min(LONGEST, FIRST * 2.0 ** min(beyond - 1, 10))
        return max(0.0, self._last + delay - now)
