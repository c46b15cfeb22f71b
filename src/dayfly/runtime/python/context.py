"""What a handler is told about its call: the second argument."""

from __future__ import annotations

import logging
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOGGER = "dayfly.function"


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever `sys.stderr` is at that moment, which tags each line with its invocation."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


class Context:
    """One call. `deadline` is in seconds since the epoch; `attempt` counts from 1."""

    __slots__ = ("_head", "_work", "deadline", "invocation_id")

    def __init__(self, work: dict[str, Any], head: dict[str, Any]) -> None:
        self._work = work
        self._head = head
        self.invocation_id: str = head["id"]
        self.deadline: float = head["deadline"]

    @property
    def function(self) -> str:
        return str(self._work["function"])

    @property
    def namespace(self) -> str:
        return str(self._work["namespace"])

    @property
    def revision(self) -> int:
        return int(self._work["revision"])

    @property
    def memory_limit_mb(self) -> int:
        return int(self._work["memory_mb"])

    @property
    def attempt(self) -> int:
        return int(self._head.get("attempt", 1))

    @property
    def cause(self) -> str:
        """Id of the invocation or event that caused this one; empty if a client called."""
        return str(self._head.get("cause", ""))

    @property
    def depth(self) -> int:
        """How many functions stand above this one: 0 when a client called it."""
        return int(self._head.get("depth", 0))

    @property
    def client(self) -> str:
        return str(self._head.get("client", ""))

    @property
    def trace_parent(self) -> str:
        """The W3C `traceparent` of the call; empty if it has none."""
        return str(self._head.get("trace", ""))

    @property
    def logger(self) -> logging.Logger:
        """Writes to the log of this invocation, from level INFO up. It does not propagate, so `logging.basicConfig` does not
        double it."""
        logger = logging.getLogger(_LOGGER)
        if not logger.handlers:
            logger.addHandler(_Stderr())
            logger.setLevel(logging.INFO)
            logger.propagate = False
        return logger

    def remaining(self) -> float:
        """Seconds until the call is killed; never negative."""
        return max(0.0, self.deadline - time.time())

    def get_remaining_time_in_millis(self) -> int:
        """The same in milliseconds."""
        return int(self.remaining() * 1000)

    def __repr__(self) -> str:
        return f"<Context {self.namespace}/{self.function}@{self.revision} invocation {self.invocation_id}>"
