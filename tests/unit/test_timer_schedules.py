"""When timers fire, in every way to write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dayfly.errors import BadInput
from dayfly.triggers.timers.cron import Cron
from dayfly.triggers.timers.parse import DIALECTS, parse
from dayfly.triggers.timers.schedule import Between, Once

START = datetime(2026, 11, 25, 10, 7, 30, tzinfo=UTC)  # a Wednesday


def fires(text: str, count: int = 3, *, after: datetime = START, zone: str = "UTC", dialect: str = "") -> list[str]:
    """The next moments, as the zone's clock shows them."""
    schedule = parse(text, zone=zone, dialect=dialect, anchor=START)
    found = []
    for _ in range(count):
        moment = schedule.next(after)
        if moment is None:
            break
        after = moment
        found.append(moment.astimezone(ZoneInfo(zone)).strftime("%y-%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("*/5 * * * *", "", ["26-11-25 10:10:00", "26-11-25 10:15:00"]),
        ("0 9-17/4 * * MON-FRI", "", ["26-11-25 13:00:00", "26-11-25 17:00:00", "26-11-26 09:00:00"]),
        ("0 22-2/2 * * *", "", ["26-11-25 22:00:00", "26-11-26 00:00:00", "26-11-26 02:00:00"]),
        (
            "0 0 13 * FRI",
            "",
            ["26-11-27 00:00:00", "26-12-04 00:00:00", "26-12-11 00:00:00", "26-12-13 00:00:00"],
        ),  # either day
        ("0 0 */2 * FRI", "", ["26-11-27 00:00:00", "26-12-11 00:00:00"]),  # a star: both
        ("0 0 * * 7", "", ["26-11-29 00:00:00"]),
        ("0 0 29 2 *", "", ["28-02-29 00:00:00", "32-02-29 00:00:00"]),
        ("15 30 10 * * *", "", ["26-11-25 10:30:15"]),  # six fields: seconds first
        ("*/20 * * * * ?", "", ["26-11-25 10:07:40", "26-11-25 10:08:00"]),
        ("0 0 13 * FRI", "ncrontab", ["27-08-13 00:00:00"]),  # both days
        ("0 */5 9-17 * * 1-5", "ncrontab", ["26-11-25 10:10:00"]),
        ("0 0 12 ? * 2#1", "quartz", ["26-12-07 12:00:00", "27-01-04 12:00:00"]),  # first Monday
        ("0 0 12 ? * 6L", "quartz", ["26-11-27 12:00:00", "26-12-25 12:00:00"]),  # last Friday
        ("0 0 12 L * ?", "quartz", ["26-11-30 12:00:00", "26-12-31 12:00:00"]),
        ("0 0 12 L-3 * ?", "quartz", ["26-11-27 12:00:00"]),
        ("0 0 12 LW * ?", "quartz", ["26-11-30 12:00:00", "26-12-31 12:00:00", "27-01-29 12:00:00"]),
        (
            "0 0 12 1W * ?",
            "quartz",
            [
                "26-12-01 12:00:00",
                "27-01-01 12:00:00",
                "27-02-01 12:00:00",
                "27-03-01 12:00:00",
                "27-04-01 12:00:00",
                "27-05-03 12:00:00",
            ],
        ),
        ("0 0 12 ? * MON 2027", "", ["27-01-04 12:00:00"]),  # seven fields: Quartz
        ("cron(0 12 * * ? *)", "", ["26-11-25 12:00:00", "26-11-26 12:00:00"]),
        ("cron(0/15 8-10 ? * 2-6 2026-2027)", "", ["26-11-25 10:15:00", "26-11-25 10:30:00"]),
        ("cron(0 18 ? * 1 *)", "", ["26-11-29 18:00:00"]),  # Sunday is 1
        ("rate(1 minute)", "", ["26-11-25 10:08:30", "26-11-25 10:09:30"]),
        ("rate(5 days)", "", ["26-11-30 10:07:30"]),
        ("@every 1h30m", "", ["26-11-25 11:37:30", "26-11-25 13:07:30"]),
        ("@every 1.5s", "", ["26-11-25 10:07:31", "26-11-25 10:07:33"]),
        ("@daily", "", ["26-11-26 00:00:00"]),
        ("@weekly", "", ["26-11-29 00:00:00"]),
        ("@yearly", "", ["27-01-01 00:00:00"]),
        ("at(2027-01-31T08:30:00)", "", ["27-01-31 08:30:00"]),
        ("at(2027-01-31T08:30:00+02:00)", "", ["27-01-31 06:30:00"]),
        ("at(2020-01-01T00:00:00)", "", []),
    ],
)
def test_a_timer_fires(text: str, dialect: str, expected: list[str]) -> None:
    assert fires(text, max(1, len(expected)), dialect=dialect) == expected


BERLIN = "Europe/Berlin"  # 2026: 29 March 2:00 -> 3:00, 25 October 3:00 -> 2:00


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        # Spring: the named hour is skipped, so it fires when the gap ends, and once.
        ("30 2 * * *", datetime(2026, 3, 28, 12), ["26-03-29 03:00:00", "26-03-30 02:30:00"]),
        ("*/20 2 * * *", datetime(2026, 3, 28, 12), ["26-03-29 03:00:00", "26-03-30 02:00:00"]),
        ("0 2,3 * * *", datetime(2026, 3, 28, 12), ["26-03-29 03:00:00", "26-03-30 02:00:00"]),
        # An hourly one goes by the time that passes.
        ("30 * * * *", datetime(2026, 3, 29, 0), ["26-03-29 01:30:00", "26-03-29 03:30:00"]),
        # Autumn: the named hour comes twice and fires once, hourly ones fire in both.
        ("30 2 * * *", datetime(2026, 10, 24, 12), ["26-10-25 02:30:00", "26-10-26 02:30:00"]),
        (
            "30 * * * *",
            datetime(2026, 10, 24, 23),
            ["26-10-25 01:30:00", "26-10-25 02:30:00", "26-10-25 02:30:00", "26-10-25 03:30:00"],
        ),
        ("CRON_TZ=Europe/Berlin 0 5 1 7 *", datetime(2026, 1, 1), ["26-07-01 05:00:00"]),
    ],
)
def test_days_when_the_clocks_change(text: str, after: datetime, expected: list[str]) -> None:
    assert fires(text, len(expected), after=after.replace(tzinfo=UTC), zone=BERLIN) == expected


def test_an_hour_that_comes_twice_over_midnight() -> None:
    """The Azores: at 1:00 it is 0:00 again."""
    after = datetime(2026, 9, 1, tzinfo=UTC)
    assert fires("30 * 25 10 *", 3, after=after, zone="Atlantic/Azores") == [
        "26-10-25 00:30:00",
        "26-10-25 00:30:00",
        "26-10-25 01:30:00",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a schedule is text"),
        ("* * * *", "has 4 fields"),
        ("61 * * * *", "'61' is no minute"),
        ("* * * FOO *", "'FOO' is no month"),
        ("*/0 * * * *", "step of the minute"),
        ("* * 31 2 *", "a day that does not exist"),
        ("1,,2 * * * *", "'' is no minute"),
        ("* * * * MON#6", "which one of the month"),
        ("cron(0 12 * * * *)", "give either"),
        ("cron(0 12 ? * ? *)", "give either"),
        ("cron(0 12 * * ?)", "has 5 fields"),
        ("rate(0 minutes)", "an interval is"),
        ("rate(5 fortnights)", "not understood"),
        ("@every 5", "no duration"),
        ("@every 10ms", "an interval is"),
        ("@often", "there is no '@often'"),
        ("at(tomorrow)", "no time"),
        ("every(5)", "there is no 'every'"),
        ("TZ=Mars/Olympus * * * * *", "no time zone"),
        ("TZ=../../etc/passwd * * * * *", "no time zone"),
        ("1," * 250 + "1 * * * *", "lists more than 100"),
        ("1" * 600, "a schedule is text"),
        ("0" * 5 + " * * * *", "is no minute"),
        ("١ * * * *", "is no minute"),
    ],
)
def test_a_wrong_schedule_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text, anchor=START)
    assert message in refused.value.detail


def test_a_schedule_can_begin_and_end() -> None:
    hourly = parse("@hourly", anchor=START)
    within = Between(hourly, START + timedelta(days=1), START + timedelta(days=1, hours=2))
    first = within.next(START)
    assert first == datetime(2026, 11, 26, 11, tzinfo=UTC)
    second = within.next(first)
    assert second == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert within.next(second) is None


def test_once_is_once() -> None:
    once = Once(START)
    assert once.next(START - timedelta(seconds=1)) == START
    assert once.next(START) is None


numbers = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


def field(name: str) -> st.SearchStrategy[str]:
    low, high = numbers[name]
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.lists(number, min_size=1, max_size=3).map(lambda many: ",".join(map(str, many))),
    )


expressions = st.tuples(*map(field, numbers)).map(" ".join)
zones = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Atlantic/Azores",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Pacific/Apia",
    ]
)


@settings(max_examples=150, deadline=None)
@given(expressions, zones, st.integers(0, 3 * 365 * 24 * 3600))
@example("*/30 * * * *", "Australia/Lord_Howe", 8_000_000)
def test_moments_grow_and_match_their_fields(expression: str, zone: str, seconds: int) -> None:
    after = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    try:
        schedule = parse(expression, zone=zone, anchor=START)
    except BadInput:
        assume(False)
    assert isinstance(schedule, Cron)
    for _ in range(4):
        moment = schedule.next(after)
        if moment is None:  # a rare day
            return
        assert moment > after
        assert moment.microsecond == 0
        wall = moment.astimezone(ZoneInfo(zone))
        gap_ends = wall.utcoffset() != (moment - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).utcoffset()
        if not gap_ends:
            assert wall.minute in schedule.minutes
            assert wall.hour in schedule.hours
            assert wall.month in schedule.months
        between = moment - timedelta(seconds=1)
        if between > after:
            assert schedule.next(between) == moment
        after = moment


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["*/30 * * * *", "15 */2 * * *", "*/7 * * * SUN"]),
    st.sampled_from([BERLIN, "America/New_York", "Atlantic/Azores", "Australia/Lord_Howe"]),
    st.sampled_from([(2026, 3, 7), (2026, 3, 28), (2026, 4, 4), (2026, 10, 3), (2026, 10, 24), (2026, 10, 31)]),
)
def test_hourly_ones_agree_with_asking_every_minute(expression: str, zone: str, day: tuple[int, int, int]) -> None:
    place = ZoneInfo(zone)
    schedule = parse(expression, zone=zone, anchor=START)
    assert isinstance(schedule, Cron)
    begin = datetime(*day, tzinfo=UTC)
    expected = []
    for minute in range(1, 48 * 60):
        moment = begin + timedelta(minutes=minute)
        wall = moment.astimezone(place)
        if (
            wall.minute in schedule.minutes
            and wall.hour in schedule.hours
            and (wall.weekday() + 1) % 7 in schedule.weekdays.numbers
        ):
            expected.append(moment)
    found = []
    after = begin
    while (next_ := schedule.next(after)) is not None and next_ < begin + timedelta(hours=48):
        found.append(next_)
        after = next_
    assert found == expected


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*"*?LW#/-,0579", " ", "MON", "cron(", "rate(", "at(", ")", "@every "]), max_size=25).map(
        "".join
    ),
    st.sampled_from(["", *DIALECTS]),
)
def test_any_text_is_understood_or_refused(text: str, dialect: str) -> None:
    try:
        schedule = parse(text, dialect=dialect, anchor=START)
    except BadInput:
        return
    moment = schedule.next(START)
    assert moment is None or moment > START
