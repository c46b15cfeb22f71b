"""When a process is started ahead of need, who gets it, and when it goes."""

from __future__ import annotations

from typing import cast

import pytest

from dayfly.model.ids import new_id
from dayfly.sandbox.node.instances import Instance
from dayfly.sandbox.node.spares import IDLE, REFILL_DELAY, Spares
from dayfly.sandbox.port import BoxSpec
from dayfly.testing.clock import FakeClock


class Waiting:
    running_program = True
    destroyed = False

    def destroy(self) -> None:
        self.destroyed = True


def spec(**options: int) -> BoxSpec:
    return BoxSpec(id=new_id(), namespace="n", function="f", revision=1, runtime="nodejs", handler="a.b", **options)


class Story:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.made: list[Waiting] = []
        self.spares = Spares(self.clock, self.make)

    def make(self) -> Instance:
        self.made.append(Waiting())
        return cast(Instance, self.made[-1])


def test_the_first_instance_starts_cold_and_the_next_finds_a_spare() -> None:
    story = Story()
    assert story.spares.take(spec()) is None
    story.spares.wanted()
    assert story.made == []
    story.clock.advance(REFILL_DELAY)
    assert story.spares.take(spec()) is cast(Instance, story.made[0])
    assert story.spares.take(spec()) is None


def test_there_is_never_more_than_one() -> None:
    story = Story()
    for _ in range(10):
        story.spares.wanted()
        story.clock.advance(REFILL_DELAY)
    assert len(story.made) == 1


@pytest.mark.parametrize("options", [{"memory_mb": 64}, {"tmp_mb": 128}])
def test_what_does_not_fit_starts_cold(options: dict[str, int]) -> None:
    story = Story()
    story.spares.wanted()
    story.clock.advance(REFILL_DELAY)
    assert story.spares.take(spec(**options)) is None
    assert story.spares.take(spec()) is not None


def test_one_that_has_not_started_yet_is_left_alone() -> None:
    story = Story()
    story.spares.wanted()
    story.clock.advance(REFILL_DELAY)
    story.made[0].running_program = False
    assert story.spares.take(spec()) is None


def test_nobody_wants_it_for_long_so_it_goes() -> None:
    story = Story()
    story.spares.wanted()
    story.clock.advance(IDLE - 1)
    story.spares.wanted()
    story.clock.advance(IDLE - 1)
    assert not story.made[0].destroyed
    story.clock.advance(1)
    assert story.made[0].destroyed
    assert story.spares.lost(cast(Instance, story.made[0]))
    story.clock.advance(10 * IDLE)
    assert len(story.made) == 1
