"""When a timer fires: `next(after)` is all there is to know. Pure; times are aware and in UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Protocol

from msgspec import Struct


class Schedule(Protocol):
    """Moments in growing order."""

    def next(self, after: datetime) -> datetime | None:
        """The first moment later than `after`; None: there is none any more."""
        ...


class Interval(Struct, frozen=True):
    """Every so many seconds, counted from the anchor: also across restarts, and with no drift."""

    seconds: float
    anchor: datetime

    def next(self, after: datetime) -> datetime | None:
        passed = (after - self.anchor).total_seconds()
        count = max(1, math.floor(passed / self.seconds) + 1)
        moment = self.anchor + timedelta(seconds=count * self.seconds)
        return moment if moment > after else self.anchor + timedelta(seconds=(count + 1) * self.seconds)


class Once(Struct, frozen=True):
    """At one moment."""

    at: datetime

    def next(self, after: datetime) -> datetime | None:
        return self.at if self.at > after else None


class Between(Struct, frozen=True):
    """A schedule that begins and ends."""

    schedule: Schedule
    start: datetime | None
    end: datetime | None

    def next(self, after: datetime) -> datetime | None:
        if self.start is not None:
            after = max(after, self.start - timedelta(microseconds=1))
        moment = self.schedule.next(after)
        return None if moment is None or (self.end is not None and moment >= self.end) else moment


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)
