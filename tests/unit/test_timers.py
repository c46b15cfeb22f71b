"""Timers over a real store: what fires, once, also across restarts, and what becomes of missed moments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dayfly import actions as a
from dayfly.errors import BadInput
from dayfly.scaler.prewarm import LEAST, MOST, lead_for
from dayfly.testing.clock import FakeClock, settle
from tests.support.sources import Sourced

pytestmark = pytest.mark.anyio

ASIDE = {"namespace": "-", "name": "-", "body": b"", "updated": 0.0}
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


async def times(world: Sourced) -> list[str]:
    """The moments that have fired, in order."""
    return [event.time[5:19] for event in await world.accepted()]


async def pass_time(world: Sourced, seconds: float, step: float = 10.0) -> None:
    """Let time pass in small steps, with everything in between brought to its end."""
    assert isinstance(world.clock, FakeClock)
    for _ in range(int(seconds / step)):
        world.clock.advance(step)
        for _ in range(3):
            await settle()
            await world.store.commit(("checkpoint_put", ASIDE))  # behind everything that is being written


async def test_a_timer_fires_at_its_moments_and_calls_its_function() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="*/5 * * * *", data={"hello": "world"})
        await world.running()
        await pass_time(world, 660)
        assert await times(world) == ["11-25T12:05:00", "11-25T12:10:00"]
        await world.until(lambda: len(world.calls) == 2)
        event = world.events[0]
        assert (event.type, event.source, event.id) == (
            "dayfly.timer.fired",
            "/namespaces/default/triggers/t",
            "t-2026-11-25T12:05:00Z",
        )
        assert event.data == b'{"hello":"world"}'


async def test_its_next_moment_is_known_and_warms_the_function_just_before() -> None:
    async with Sourced(clock=FakeClock(NOON), lead=4.0) as world:
        await world.trigger("timer", schedule="@hourly")
        await world.running()
        stats = await world.perform(a.GetTriggerStats(name="t"))
        assert (stats.source.state, stats.source.next) == ("running", NOON + 3600)
        await pass_time(world, 3590)
        assert world.warmed == []
        await pass_time(world, 10, step=1.0)
        assert world.warmed == [NOON + 3596]


async def test_a_one_shot_fires_once_and_ends() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="at(2026-11-25T12:01:00)")
        await world.running()
        await pass_time(world, 200)
        assert await times(world) == ["11-25T12:01:00"]
        health = world.runner.health("default", "t")
        assert health is not None
        assert health.state == "ended"


async def test_a_paused_or_deleted_timer_is_silent_and_a_resumed_one_goes_on() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="* * * * *", missed="skip")
        await world.running()
        await pass_time(world, 60)
        await world.perform(a.PauseTrigger(name="t"))
        await pass_time(world, 600)
        assert await times(world) == ["11-25T12:01:00"]
        await world.perform(a.ResumeTrigger(name="t"))
        await world.running()
        await pass_time(world, 60)
        assert (await times(world))[1:] == ["11-25T12:11:00", "11-25T12:12:00"]  # one a moment ago, and the next
        await world.perform(a.DeleteTrigger(name="t"))
        await pass_time(world, 600)
        assert await times(world) == []  # its events went with it


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", []),
        ("once", ["11-25T14:30:00"]),
        ("all", ["11-25T13:00:00", "11-25T13:30:00", "11-25T14:00:00", "11-25T14:30:00"]),
    ],
)
async def test_moments_that_passed_while_no_server_ran(tmp_path: Path, missed: str, expected: list[str]) -> None:
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="*/30 * * * *", missed=missed)
        await world.running()
        await pass_time(world, 1860)
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON + 10_000)) as world:  # 14:46:40
        await world.running()
        await pass_time(world, 900)
        assert await times(world) == ["11-25T12:30:00", *expected, "11-25T15:00:00"]


async def test_of_many_missed_moments_the_latest_fire(tmp_path: Path) -> None:
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="* * * * * *", missed="all", missed_limit=3)
        await world.running()
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON + 400 * 86400)) as world:
        await world.running()
        await pass_time(world, 0.2, step=0.1)
        assert len(await times(world)) == 3


async def test_an_interval_keeps_its_rhythm_over_restarts(tmp_path: Path) -> None:
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON + 7)) as world:
        await world.trigger("timer", schedule="rate(10 minutes)", missed="skip")
        await world.running()
        await pass_time(world, 610)
    async with Sourced(tmp_path / "db", clock=FakeClock(NOON + 5000)) as world:
        await world.running()
        await pass_time(world, 420)
        assert await times(world) == ["11-25T12:10:07", "11-25T13:30:07"]


async def test_another_schedule_begins_anew() -> None:
    """A changed timer does not make up for moments that it only has now."""
    async with Sourced(clock=FakeClock(NOON)) as world:
        await world.trigger("timer", schedule="@yearly")
        await world.running()
        await pass_time(world, 3600, step=60.0)
        await world.trigger("timer", schedule="*/10 * * * *", missed="all")
        await world.running()
        await pass_time(world, 660)
        assert await times(world) == ["11-25T13:10:00"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "required field `schedule`"),
        ({"schedule": "61 * * * *"}, "'61' is no minute"),
        ({"schedule": "@daily", "timezone": "Mars"}, "no time zone 'Mars'"),
        ({"schedule": "@daily", "missed": "never"}, "Invalid enum value 'never'"),
        ({"schedule": "@daily", "cron": 1}, "unknown field `cron`"),
        ({"schedule": "@daily", "end": "later"}, "'later' is no time"),
        ({"schedule": "secret:none"}, "no secret 'none'"),
    ],
)
async def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        with pytest.raises(BadInput) as refused:
            await world.trigger("timer", **settings)
        assert message in refused.value.detail


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("redis", {"stream": "s", "url": "redis://:word@10.0.0.1"}),
        ("nats", {"stream": "s", "token": "word"}),
        ("nats", {"stream": "s", "servers": ["nats://u:word@h"]}),
        ("mqtt", {"topics": ["t"], "password": "word"}),
        ("postgres", {"mode": "listen", "channel": "c", "dsn": "postgresql://u:word@h/d"}),
    ],
)
async def test_passwords_belong_into_secrets(kind: str, settings: dict[str, object]) -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        with pytest.raises(BadInput, match="plain text") as refused:
            await world.trigger(kind, **settings)
        assert "dayfly secret set" in refused.value.hint


async def test_there_is_no_such_source() -> None:
    async with Sourced(clock=FakeClock(NOON)) as world:
        with pytest.raises(BadInput, match="no source 'smoke'") as refused:
            await world.trigger("smoke")
        assert "timer" in refused.value.hint


def test_how_long_before_a_known_moment_to_start() -> None:
    assert lead_for(0.0) == LEAST
    assert lead_for(0.2) == pytest.approx(LEAST + 0.4)
    assert lead_for(600.0) == MOST
