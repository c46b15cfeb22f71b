"""The fields of a cron expression: text into values, checked against their range.

    *  ?  7  MON  1-5  FRI-MON  */15  10/15  1,2,3     everywhere (ranges may go around)
    L  L-3  LW  15W                                    days of the month: last, third before it, last weekday, weekday nearest the 15th
    5L  FRI#2                                          days of the week: last Friday, second Friday of the month

No regular expressions, and every list is as short as its range: the text comes from clients.
"""

from __future__ import annotations

import calendar
from datetime import date
from typing import Final, NamedTuple

from ...errors import BadInput

DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MAX_ITEMS: Final = 100  # of one list


class Range(NamedTuple):
    """What a field may hold. `offset` is taken off a day of the week, to have Sunday as 0."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    offset: int = 0


SECOND: Final = Range("second", 0, 59)
MINUTE: Final = Range("minute", 0, 59)
HOUR: Final = Range("hour", 0, 23)
DAY: Final = Range("day of the month", 1, 31)
MONTH: Final = Range("month", 1, 12, MONTHS)
YEAR: Final = Range("year", 1970, 2199)
WEEKDAY: Final = Range("day of the week", 0, 7, DAYS)  # 0 and 7 are Sunday
WEEKDAY_FROM_1: Final = Range("day of the week", 1, 7, DAYS, 1)  # 1 is Sunday


class Values(NamedTuple):
    """The plain values of a field. `star`: the text begins with * or ?."""

    numbers: frozenset[int]
    star: bool


class MonthDays(NamedTuple):
    """Days of the month, with those that depend on the month."""

    numbers: frozenset[int]
    star: bool
    before_last: frozenset[int] = frozenset()  # L is 0, L-3 is 3
    nearest: frozenset[int] = frozenset()  # 15W
    last_weekday: bool = False  # LW

    def within(self, year: int, month: int) -> set[int]:
        last = calendar.monthrange(year, month)[1]
        days = {day for day in self.numbers if day <= last}
        days |= {last - before for before in self.before_last if before < last}
        days |= {_nearest_weekday(year, month, day, last) for day in self.nearest if day <= last}
        if self.last_weekday:
            days.add(_nearest_weekday(year, month, last, last))
        return days


class WeekDays(NamedTuple):
    """Days of the week, 0 is Sunday, with those that depend on the month."""

    numbers: frozenset[int]
    star: bool
    last: frozenset[int] = frozenset()  # 5L
    nth: frozenset[tuple[int, int]] = frozenset()  # day, which one of the month

    def within(self, year: int, month: int) -> set[int]:
        first, length = calendar.monthrange(year, month)
        first = (first + 1) % 7  # of Sunday-first weeks
        days = {day for day in range(1, length + 1) if (first + day - 1) % 7 in self.numbers}
        for weekday in self.last:
            days.add(length - (first + length - 1 - weekday) % 7)
        for weekday, which in self.nth:
            day = 1 + (weekday - first) % 7 + 7 * (which - 1)
            if day <= length:
                days.add(day)
        return days


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    """The weekday nearest to a day, within its month."""
    weekday = date(year, month, day).weekday()
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < last else day - 2
    return day


def values(text: str, range_: Range) -> Values:
    """Raises BadInput."""
    numbers: set[int] = set()
    for item in _items(text, range_):
        numbers |= _numbers(item, range_)
    return Values(frozenset(numbers), text[:1] in ("*", "?"))


def month_days(text: str) -> MonthDays:
    """Raises BadInput."""
    numbers: set[int] = set()
    before_last: set[int] = set()
    nearest: set[int] = set()
    last_weekday = False
    for item in _items(text, DAY):
        if item in ("LW", "WL"):
            last_weekday = True
        elif item == "L":
            before_last.add(0)
        elif item.startswith("L-"):
            before_last.add(_number(item[2:], Range("day of the month after L-", 0, 30)))
        elif item.endswith("W") and item != "W":
            nearest.add(_number(item[:-1], DAY))
        else:
            numbers |= _numbers(item, DAY)
    return MonthDays(frozenset(numbers), text[:1] in ("*", "?"), frozenset(before_last), frozenset(nearest), last_weekday)


def week_days(text: str, range_: Range) -> WeekDays:
    """Raises BadInput."""
    numbers: set[int] = set()
    last: set[int] = set()
    nth: set[tuple[int, int]] = set()

    def weekday(number: int) -> int:
        return (number - range_.offset) % 7

    for item in _items(text, range_):
        day, hash_, which = item.partition("#")
        if hash_:
            nth.add((weekday(_number(day, range_)), _number(which, Range("which one of the month", 1, 5))))
        elif item == "L":
            numbers.add(6)  # Quartz: Saturday
        elif item.endswith("L"):
            last.add(weekday(_number(item[:-1], range_)))
        else:
            numbers |= {weekday(number) for number in _numbers(item, range_)}
    return WeekDays(frozenset(numbers), text[:1] in ("*", "?"), frozenset(last), frozenset(nth))


def _items(text: str, range_: Range) -> list[str]:
    items = text.upper().split(",")
    if len(items) > MAX_ITEMS:
        raise BadInput(f"the {range_.name} lists more than {MAX_ITEMS} values")
    return items


def _numbers(item: str, range_: Range) -> set[int]:
    """Of one item: a value, a range, either with a step."""
    base, slash, step_text = item.partition("/")
    step = _number(step_text, Range(f"step of the {range_.name}", 1, max(range_.high, 1))) if slash else 1
    if base in ("*", "?"):
        low, high = range_.low, range_.high
        if range_.name == WEEKDAY.name and range_.low == 0:
            high = 6  # 7 is 0 again
    else:
        first, dash, second = base.partition("-")
        low = _number(first, range_)
        high = _number(second, range_) if dash else (range_.high if slash else low)
    if low <= high:
        return set(range(low, high + 1, step))
    if range_ is YEAR:
        raise BadInput(f"the years {base} go backwards")
    span = range_.high - range_.low + 1 - (range_ is WEEKDAY)
    return {range_.low + (low - range_.low + by) % span for by in range(0, high - low + span + 1, step)}


def _number(text: str, range_: Range) -> int:
    if text in range_.names:
        return range_.names.index(text) + (1 if range_.low == 1 else 0)
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not range_.low <= int(text) <= range_.high:
        hint = f"{range_.low} to {range_.high}" + (f", or {range_.names[0]} to {range_.names[-1]}" if range_.names else "")
        raise BadInput(f"{text[:20]!r} is no {range_.name}", hint=f"It is {hint}.")
    return int(text)
