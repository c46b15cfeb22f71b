"""Commands on events against the real control API, over a platform of dictionaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dayfly import actions as a
from dayfly.model.delivery import Destination
from tests.support.cli import Run, api, no_settings, platform, run
from tests.support.fake_events import DEAD
from tests.support.fake_platform import FakePlatform

__all__ = ["api", "no_settings", "platform", "run"]


def test_a_trigger_says_everything_about_its_delivery(platform: FakePlatform, run: Run) -> None:
    ran = run(
        *("trigger", "create", "t", "--to", "ship@prod", "--type", "a", "--type", "b", "--sql", "vip = TRUE"),
        *("--attempts", "3", "--order-by", "subject", "--batch", "10", "--window", "2", "--dead-letter", "queue:dead"),
    )
    assert ran.code == 0, ran.err
    action = platform.last
    assert isinstance(action, a.PutTrigger)
    assert action.target == Destination(kind="function", name="ship", qualifier="prod")
    assert action.filters == ({"any": [{"exact": {"type": "a"}}, {"exact": {"type": "b"}}]}, {"sql": "vip = TRUE"})
    policy = action.delivery
    assert (policy.max_attempts, policy.order_by, policy.batch, policy.batch_window_s) == (3, "subject", 10, 2.0)
    assert policy.dead_letter == Destination(kind="queue", name="dead")
    assert run("trigger", "ls").out.splitlines()[1].split()[:3] == ["t", "broker:", "function:ship@prod"]
    assert "Waiting" in run("trigger", "show", "t").out
    assert run("trigger", "pause", "t").code == 0
    assert platform.triggers["t"].paused
    assert run("trigger", "resume", "t").code == 0
    assert run("trigger", "fire", "t", "-d", '{"n": 1}').out.strip() == DEAD
    assert isinstance(platform.last, a.FireTrigger)
    assert platform.last.events[0].data == b'{"n":1}'
    assert run("trigger", "rm", "t").code == 0
    assert platform.triggers == {}


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [("queue:q", "queue", "q"), ("topic:x", "topic", "x"), ("https://example.org/hook", "http", "https://example.org/hook")],
)
def test_targets_are_written_in_one_word(platform: FakePlatform, run: Run, text: str, kind: str, name: str) -> None:
    assert run("trigger", "create", "t", "--queue", "jobs", "--to", text).code == 0
    assert isinstance(platform.last, a.PutTrigger)
    assert (platform.last.target.kind, platform.last.target.name) == (kind, name)
    assert platform.last.source is not None
    assert platform.last.source.settings == {"queue": "jobs"}


def test_a_wrong_target_or_filter_is_said_before_anything_is_sent(platform: FakePlatform, run: Run) -> None:
    assert "no target" in run("trigger", "create", "t", "--to", "disk:x").err
    assert "not JSON" in run("trigger", "create", "t", "--to", "f", "--filter", "{").err
    assert "NAME=VALUE" in run("trigger", "create", "t", "--to", "f", "--source", "timer", "--set", "x").err
    assert platform.performed == []


def test_messages_are_sent_taken_and_acknowledged(platform: FakePlatform, run: Run) -> None:
    assert run("queue", "create", "q", "--max-receives", "3", "--dead-letter", "queue:dead").code == 0
    assert run("queue", "send", "q", '{"n": 1}', "--delay", "2").code == 0
    assert platform.messages["q"][0].delay_s == 2.0
    ran = run("queue", "receive", "q", "--ack", "-o", "json")
    assert json.loads(ran.out)[0]["body"] == '{"n": 1}'
    assert isinstance(platform.last, a.AckMessages)
    assert run("queue", "show", "q").out.splitlines()[0].split() == ["Name", "q"]
    assert "1 dropped" in run("queue", "purge", "q").err
    assert run("queue", "rm", "q").code == 0


def test_the_dead_are_listed_with_their_reason_and_get_another_chance(platform: FakePlatform, run: Run) -> None:
    row = run("dlq", "ls", "--trigger", "on-order").out.splitlines()[1]
    assert row.split()[:2] == [DEAD, "on-order"]
    assert "ValueError: bad" in row
    assert json.loads(run("dlq", "show", DEAD).out)["event"]["data"] == {"total": 3}
    assert "1 redriven" in run("dlq", "redrive", DEAD).err
    assert isinstance(platform.last, a.Redrive)
    assert platform.last.ids == (DEAD,)
    assert "1 forgotten" in run("dlq", "purge", "--yes").err


def test_an_input_is_replayed_there_or_here(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    assert run("replay", DEAD, "--revision", "7").out.strip() == DEAD
    assert isinstance(platform.last, a.Replay)
    assert platform.last.qualifier == "7"
    assert json.loads(run("replay", DEAD, "--show").out)["event"]["id"] == "e1"
    file = tmp_path / "local_ship.py"
    file.write_text("def handler(event, context):\n    return [event['data']['total'], context.invocation_id]\n")
    assert json.loads(run("replay", DEAD, "--here", str(file)).out) == [3, DEAD]


def test_brokers_events_and_time(platform: FakePlatform, run: Run) -> None:
    assert run("broker", "create", "audit", "--keep", "60").code == 0
    assert platform.brokers["audit"].retention_s == 60.0
    assert len(run("broker", "ls").out.splitlines()) == 3
    assert run("broker", "rm", "audit").code == 0
    platform.PublishEvents(a.PublishEvents(events=(platform.dead[DEAD].event,)))  # type: ignore[arg-type]
    assert "order.placed" in run("events", "ls").out
    assert "order.placed" in run("events", "tail").out
    assert json.loads(run("events", "show", "e1").out)["source"] == "/shop"
    assert "order.placed" in run("events", "types").out
    assert "1 timers fired" in run("advance", "1h").err
    assert isinstance(platform.last, a.AdvanceTime)
    assert platform.last.seconds == 3600.0
