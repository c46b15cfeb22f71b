"""Cron: the moments at which a clock on the wall shows certain values.

Days when the clocks change. A schedule whose hour begins with `*` runs by the time that passes: where an hour is skipped its moments are
skipped, where one comes twice so do they. Any other schedule names hours of the day, and such a moment comes once on every day: one that
is skipped fires when the gap ends, one that comes twice fires the first time. (As cron of Debian does it.)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from .fields import MonthDays, Values, WeekDays

HORIZON: Final = 100  # years that are searched for the next moment
NEAR: Final = timedelta(hours=26)  # within this, a zone changes its clock at most once
SECOND: Final = timedelta(seconds=1)


class Cron(Struct, frozen=True, kw_only=True):
    """`either`: where both days of the month and of the week are given, one of them is enough."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: MonthDays
    months: frozenset[int]
    weekdays: WeekDays
    years: frozenset[int] | None
    zone: ZoneInfo
    hourly: bool  # the hour begins with *
    either: bool

    def next(self, after: datetime) -> datetime | None:
        after = after.astimezone(UTC)
        return self._next_passing(after) if self.hourly else self._next_named(after)

    # --- by the hours of the day --------------------------------------------------------------------------------------

    def _next_named(self, after: datetime) -> datetime | None:
        wall = after.astimezone(self.zone).replace(tzinfo=None, fold=0)
        for candidate in self._walls(wall):
            moment = candidate.replace(tzinfo=self.zone).astimezone(UTC)
            if moment.astimezone(self.zone).replace(tzinfo=None) != candidate:  # skipped on that day
                moment = self._change(candidate.replace(tzinfo=self.zone, fold=1).astimezone(UTC), moment)
            if moment > after:
                return moment
        return None

    # --- by the time that passes --------------------------------------------------------------------------------------

    def _next_passing(self, after: datetime) -> datetime | None:
        start, offset = after, self._offset(after)
        while True:
            wall = next(self._walls((start + offset).replace(tzinfo=None)), None)
            if wall is None:
                return None
            moment = wall.replace(tzinfo=UTC) - offset
            if moment - start > 2 * NEAR:  # until shortly before, a clock of whatever offset shows no match
                start = moment - NEAR
                offset = self._offset(start)
                continue
            then = self._offset(moment)
            if then == offset:
                return moment
            start, offset = self._change(start, moment) - SECOND, then  # from the change on, by the new offset

    # --- both ---------------------------------------------------------------------------------------------------------

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self.zone).utcoffset() or timedelta()

    def _change(self, low: datetime, high: datetime) -> datetime:
        """The moment within (low, high] at which the zone's clock changes."""
        before = self._offset(low)
        while high - low > SECOND:
            middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """What the clock shows at the moments, as if it never changed, later than `after`."""
        for day in self.dates(after.date()):
            today = day == after.date()
            for hour in self.hours:
                if today and hour < after.hour:
                    continue
                for minute in self.minutes:
                    if today and (hour, minute) < (after.hour, after.minute):
                        continue
                    for second in self.seconds:
                        wall = datetime.combine(day, time(hour, minute, second))
                        if wall > after:
                            yield wall

    def dates(self, first: date) -> Iterator[date]:
        year, month = first.year, first.month
        while year <= min(first.year + HORIZON, 9998):
            if month in self.months and (self.years is None or year in self.years):
                for day in sorted(self._days(year, month)):
                    if (year, month, day) >= (first.year, first.month, first.day):
                        yield date(year, month, day)
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)

    def _days(self, year: int, month: int) -> set[int]:
        days, weekdays = self.days.within(year, month), self.weekdays.within(year, month)
        if self.either and not self.days.star and not self.weekdays.star:
            return days | weekdays
        return days & weekdays


def exists(schedule: Cron) -> bool:
    """Whether there is any day on which it fires."""
    first = min(schedule.years, default=2000) if schedule.years is not None else 2000
    return next(schedule.dates(date(first, 1, 1)), None) is not None


def make(
    *,
    seconds: Values,
    minutes: Values,
    hours: Values,
    days: MonthDays,
    months: Values,
    weekdays: WeekDays,
    years: Values | None,
    zone: ZoneInfo,
    either: bool,
) -> Cron:
    """A schedule of parsed fields."""
    return Cron(
        seconds=tuple(sorted(seconds.numbers)),
        minutes=tuple(sorted(minutes.numbers)),
        hours=tuple(sorted(hours.numbers)),
        days=days,
        months=months.numbers,
        weekdays=weekdays,
        years=None if years is None or years.star else years.numbers,
        zone=zone,
        hourly=hours.star,
        either=either,
    )
