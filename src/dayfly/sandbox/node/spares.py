"""Processes started ahead of need, for runtimes that cannot fork usefully.

Node takes tens of milliseconds to start, whatever it is to run. So after the first instance that needs it, one process waits in a jail
of its own, without code; the next instance takes it, and another one is started once that cold start is over. Nobody needs one for
IDLE seconds: it goes.
"""

from __future__ import annotations

from collections.abc import Callable

from ...clock import Clock, Timer
from ..port import BoxSpec
from .instances import Instance

REFILL_DELAY = 0.15  # seconds, so that the start of a spare does not slow the cold start that made it necessary
IDLE = 600.0  # seconds
LEAST_MEMORY_MB = 96  # of an instance that can take one: the kernel does not set a limit below what is in use
TMP_MB = 64  # of a spare's /tmp: the default


class Spares:
    """At most one spare. `make` starts one, or gives None if that cannot be done now."""

    def __init__(self, clock: Clock, make: Callable[[], Instance | None]) -> None:
        self._clock = clock
        self._make = make
        self._spare: Instance | None = None
        self._refill: Timer | None = None
        self._idle: Timer | None = None

    def take(self, spec: BoxSpec) -> Instance | None:
        """The spare, if it has started and fits; it is the caller's then."""
        spare = self._spare
        fits = spec.memory_mb >= LEAST_MEMORY_MB and spec.tmp_mb == TMP_MB
        if spare is None or not fits or not spare.running_program:
            return None
        self._spare = None
        return spare

    def put_back(self, spare: Instance) -> None:
        """It was not used after all."""
        self._spare = spare

    def wanted(self) -> None:
        """An instance that could use a spare is being started: the next one shall find one."""
        self._cancel(self._idle)
        self._idle = self._clock.call_later(IDLE, self.drop)
        if self._refill is None:
            self._refill = self._clock.call_later(REFILL_DELAY, self._fill)

    def lost(self, instance: Instance) -> bool:
        """Whether this instance, which has ended, was the spare."""
        if instance is not self._spare:
            return False
        self._spare = None
        return True

    def holds(self, instance: Instance) -> bool:
        return instance is self._spare

    def drop(self) -> None:
        """Let go of the spare, and of the plan for the next one."""
        self._cancel(self._refill)
        self._cancel(self._idle)
        self._refill = self._idle = None
        if self._spare is not None:
            self._spare.destroy()

    def _fill(self) -> None:
        self._refill = None
        if self._spare is None:
            self._spare = self._make()

    @staticmethod
    def _cancel(timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
