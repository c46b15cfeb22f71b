"""One parser for every way to write a timer; what they differ in is a table.

*/5 * * * *                      cron, five fields
30 */5 * * * *                   ... with seconds in front (robfig; NCRONTAB of Azure Functions: see DIALECTS)
0 0 12 ? * MON-FRI 2027          Quartz, with a year
CRON_TZ=Europe/Berlin 0 5 * * *  a time zone in front
@hourly @daily @midnight @weekly @monthly @yearly @annually
@every 1h30m                     Go's durations
cron(0 12 * * ? *)               EventBridge: minute hour day month weekday year; Sunday is 1
rate(5 minutes)
at(2027-01-31T08:30:00)          once
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ...errors import BadInput
from . import fields
from .cron import Cron, exists, make
from .schedule import Interval, Once, Schedule

MAX_TEXT: Final = 512  # characters
MIN_INTERVAL: Final = 1.0  # seconds
MAX_INTERVAL: Final = 10 * 366 * 86400.0

MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATIONS: Final = {"ms": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0}
_RATES: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


class Dialect(NamedTuple):
    """How a system writes cron. `days`: where days of the month and of the week are both given, `either` is enough, `both` must hold, or
    exactly `one` may be given and the other is `?`."""

    counts: tuple[int, ...]  # of fields
    seconds: bool
    weekday: fields.Range
    days: str


DIALECTS: Final = {
    "cron": Dialect((5, 6), False, fields.WEEKDAY, "either"),  # six fields: seconds first
    "ncrontab": Dialect((5, 6), True, fields.WEEKDAY, "both"),
    "quartz": Dialect((6, 7), True, fields.WEEKDAY_FROM_1, "one"),
    "aws": Dialect((6,), False, fields.WEEKDAY_FROM_1, "one"),
}


def parse(text: str, *, zone: str = "UTC", dialect: str = "", anchor: datetime) -> Schedule:
    """`dialect`: one of DIALECTS; empty: what the text looks like. `anchor`: from when intervals count. Raises BadInput."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise BadInput(
            "a schedule is text", hint='For example "*/5 * * * *", "@daily", "rate(5 minutes)" or "at(2027-01-31T08:30:00)".'
        )
    text = text.strip()
    for prefix in ("CRON_TZ=", "TZ="):
        if text.startswith(prefix):
            zone, _, text = text[len(prefix) :].partition(" ")
    place = time_zone(zone)
    text = MACROS.get(text.lower(), text.strip())
    if text.lower().startswith("@every "):
        return Interval(_seconds(duration(text[7:].strip()), text), anchor)
    if text.startswith("@"):
        raise BadInput(f"there is no {text[:40]!r}", hint=f"There are {', '.join(MACROS)} and @every DURATION.")
    name, bracket, inner = text.partition("(")
    if bracket and text.endswith(")"):
        inner = inner[:-1].strip()
        if name == "rate":
            return Interval(_seconds(_rate(inner), text), anchor)
        if name == "at":
            return Once(moment(inner, place))
        if name == "cron":
            return cron(inner, place, "aws")
        raise BadInput(f"there is no {name[:40]!r}", hint="There are cron(...), rate(...) and at(...).")
    return cron(text, place, dialect or ("quartz" if len(text.split()) == 7 else "cron"))


def cron(text: str, zone: ZoneInfo, dialect: str) -> Cron:
    """Raises BadInput, also for fields that no date ever matches."""
    rules = DIALECTS.get(dialect)
    if rules is None:
        raise BadInput(f"there is no dialect {dialect[:40]!r} of cron", hint=f"There are {', '.join(DIALECTS)}.")
    words = text.split()
    if len(words) not in rules.counts:
        wanted = " or ".join(map(str, rules.counts))
        raise BadInput(f"{text[:100]!r} has {len(words)} fields", hint=f"In the dialect {dialect} it has {wanted}.")
    second = words.pop(0) if rules.seconds and len(words) >= 6 else "0"
    if dialect == "cron" and len(words) == 6:
        second = words.pop(0)
    minute, hour, day, month, weekday, *year = words
    if rules.days == "one" and (day == "?") == (weekday == "?"):
        raise BadInput(
            f"{text[:100]!r}: give either the day of the month or the day of the week, and ? for the other",
            hint="For example 0 12 * * ? *",
        )
    schedule = make(
        seconds=fields.values(second, fields.SECOND),
        minutes=fields.values(minute, fields.MINUTE),
        hours=fields.values(hour, fields.HOUR),
        days=fields.month_days(day),
        months=fields.values(month, fields.MONTH),
        weekdays=fields.week_days(weekday, rules.weekday),
        years=fields.values(year[0], fields.YEAR) if year else None,
        zone=zone,
        either=rules.days == "either",
    )
    if not exists(schedule):
        raise BadInput(f"{text[:100]!r} names a day that does not exist")
    return schedule


def time_zone(name: str) -> ZoneInfo:
    """Raises BadInput."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, a path, a folder
        raise BadInput(
            f"there is no time zone {name[:64]!r}", hint="Names are those of the IANA database: Europe/Berlin, UTC."
        ) from None


def moment(text: str, zone: ZoneInfo) -> datetime:
    """An ISO 8601 time, in the zone unless it has an offset itself. Raises BadInput."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(f"{text[:40]!r} is no time", hint="For example 2027-01-31T08:30:00, or with an offset +01:00.") from None


def duration(text: str) -> float:
    """Seconds of a duration such as 90s, 1h30m, 1.5h or 250ms. Raises BadInput."""
    total, rest = 0.0, text
    while rest:
        digits = next((at for at, character in enumerate(rest) if character not in "0123456789."), len(rest))
        unit = next((unit for unit in _DURATIONS if rest.startswith(unit, digits)), "")
        try:
            total += float(rest[:digits]) * _DURATIONS[unit]
        except (ValueError, KeyError):
            raise BadInput(f"{text[:40]!r} is no duration", hint="For example 90s, 15m, 1h30m.") from None
        rest = rest[digits + len(unit) :]
    return total


def _rate(text: str) -> float:
    number, _, unit = text.partition(" ")
    singular = unit.strip().removesuffix("s")
    if not number.isascii() or not number.isdigit() or len(number) > 9 or singular not in _RATES:
        raise BadInput(f"rate({text[:40]}) is not understood", hint="For example rate(1 minute), rate(12 hours), rate(7 days).")
    return int(number) * _RATES[singular]


def _seconds(seconds: float, text: str) -> float:
    if not MIN_INTERVAL <= seconds <= MAX_INTERVAL:
        raise BadInput(f"{text[:60]!r}: an interval is {MIN_INTERVAL:.0f} second or more, and at most ten years")
    return seconds
