"""The timer: emits an event at every moment of its schedule.

The checkpoint is the moment that was dealt with last, and goes to the disk with the event: a moment fires once, also if the server is
killed in the middle. The id of an event is made of the trigger and the moment.

Moments that passed while no server ran are missed. `missed` says what becomes of them: `skip` drops them, `once` fires the latest one,
`all` fires the latest `missed_limit` of them, in order. A moment counts as missed when it is more than a minute ago.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ...errors import BadInput
from ...model.event import Event
from ..port import Context, Loop, Source
from .parse import DIALECTS, moment, parse, time_zone
from .schedule import Between, Schedule, utc

LATE: Final = 60.0  # seconds after which a moment counts as missed
LOOK_AGAIN: Final = 60.0  # seconds of sleep at most: the wall clock may jump
WINDOWS: Final = (
    60.0,
    3600.0,
    86400.0,
    32 * 86400.0,
    366 * 86400.0,
)  # seconds back from now, in which missed moments are looked for


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schedule: Annotated[str, Meta(min_length=1, max_length=512)]
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"
    dialect: Annotated[str, Meta(max_length=16, description="of cron; empty: what it looks like")] = ""
    start: Annotated[str, Meta(max_length=40, description="no moment before this time")] = ""
    end: Annotated[str, Meta(max_length=40, description="no moment at or after this time")] = ""
    missed: Literal["skip", "once", "all"] = "once"
    missed_limit: Annotated[int, Meta(ge=1, le=1000, description="that fire at most")] = 100
    data: Any = None  # of the events, as JSON; null: the moment and the schedule

    def __post_init__(self) -> None:
        if self.dialect and self.dialect not in DIALECTS:
            raise ValueError(f"there is no dialect {self.dialect!r} of cron; there are {', '.join(DIALECTS)}")
        try:
            self.plan(utc(0))
        except BadInput as error:
            raise ValueError(f"{error.detail}. {error.hint}".strip()) from None

    def plan(self, anchor: datetime) -> Schedule:
        """Raises BadInput."""
        zone = time_zone(self.timezone)
        schedule = parse(self.schedule, zone=self.timezone, dialect=self.dialect, anchor=anchor)
        if self.start or self.end:
            start = moment(self.start, zone) if self.start else None
            end = moment(self.end, zone) if self.end else None
            return Between(schedule, start, end)
        return schedule


def latest(schedule: Schedule, after: datetime, upto: datetime, limit: int) -> list[datetime]:
    """The latest moments in (after, upto], at most `limit`, in order. Looks back step by step: there may be millions."""
    for window in WINDOWS:
        start = max(after, upto - timedelta(seconds=window))
        found: deque[datetime] = deque(maxlen=limit)
        at = schedule.next(start)
        while at is not None and at <= upto:
            found.append(at)
            at = schedule.next(at)
        if len(found) == limit or start == after:
            break
    return list(found)


class _Checkpoint(Struct, frozen=True, array_like=True):
    """Seconds since the epoch."""

    last: float  # the moment dealt with last
    anchor: float  # from when intervals count


class Timer(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings

    async def run(self) -> None:
        clock = self.context.clock
        if self.checkpoint is None:
            now = max(self.context.since, 0.0)
            await self.emit([], msgspec.json.encode(_Checkpoint(now, now)))
        assert self.checkpoint is not None
        known = msgspec.json.decode(self.checkpoint, type=_Checkpoint)
        schedule, last = self._settings.plan(utc(known.anchor)), utc(known.last)
        self.context.ready()
        while (due := schedule.next(last)) is not None:
            self.context.announce(due.timestamp())
            while (wait := due.timestamp() - clock.now()) > 0:
                await clock.sleep(min(wait, LOOK_AGAIN))
            now = clock.now()
            missed = now - due.timestamp() > LATE
            for at in self._missed(schedule, last, now) if missed else [due]:
                await self.emit([self._event(at)], msgspec.json.encode(_Checkpoint(at.timestamp(), known.anchor)))
            last = utc(now) if missed else due

    def _missed(self, schedule: Schedule, last: datetime, now: float) -> list[datetime]:
        """Which of the moments up to now fire, of which the first is long ago."""
        settings = self._settings
        if settings.missed == "skip":
            return latest(schedule, max(last, utc(now - LATE)), utc(now), settings.missed_limit)
        return latest(schedule, last, utc(now), settings.missed_limit if settings.missed == "all" else 1)

    def _event(self, at: datetime) -> Event:
        when = at.isoformat().replace("+00:00", "Z")
        settings = self._settings
        data = {"scheduled": when, "schedule": settings.schedule} if settings.data is None else settings.data
        return Event(
            id=f"{self.context.trigger.name}-{when}",
            source=self.context.source,
            type="dayfly.timer.fired",
            time=when,
            datacontenttype="application/json",
            data=msgspec.json.encode(data),
        )


def source(context: Context, settings: Settings) -> Source:
    return Timer(context, settings)
