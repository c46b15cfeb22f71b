"""What is made ahead of need: when, how much of it, and when it goes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from dayfly.sandbox.node.reserve import IDLE, KINDS, REFILL_DELAY, Reserve
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


class AtOnce(Executor):
    """Runs everything in the caller's thread."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


class Story:
    def __init__(self, depth: int = 2, used: Collection[str] = ()) -> None:
        self.clock = FakeClock()
        self.made: list[str] = []
        self.dropped: list[str] = []
        self.broken = False
        self.reserve = Reserve(
            self.make,
            self.dropped.append,
            depth=depth,
            clock=self.clock,
            executor=AtOnce(),
            as_new=lambda thing: thing not in used,
        )

    def make(self, kind: str) -> str:
        if self.broken:
            raise OSError("the kernel is full")
        self.made.append(f"{kind}{len(self.made)}")
        return self.made[-1]

    async def rest(self) -> None:
        """Long enough to refill whatever is missing."""
        for _ in range(40):
            await self.clock.pass_time(REFILL_DELAY)


async def test_the_first_start_finds_nothing_and_the_next_ones_do() -> None:
    story = Story()
    assert story.reserve.take("a") is None
    assert story.made == []  # not while the start is under way
    await story.rest()
    assert (story.reserve.take("a"), story.reserve.take("a"), story.reserve.take("a")) == ("a0", "a1", None)
    await story.rest()
    assert story.made == ["a0", "a1", "a2", "a3"]


async def test_a_steady_stream_of_starts_does_not_put_the_refill_off() -> None:
    story = Story()
    taken = []
    for _ in range(50):
        taken.append(story.reserve.take("a"))
        await story.clock.pass_time(REFILL_DELAY * 0.75)
    assert len([one for one in taken if one]) > 30


async def test_what_nobody_asks_for_any_more_goes() -> None:
    story = Story()
    story.reserve.take("a")
    await story.rest()
    story.clock.advance(IDLE / 2)
    story.reserve.take("b")
    await story.rest()
    await story.clock.pass_time(IDLE / 2)
    story.reserve.take("b")
    await story.rest()
    assert story.dropped == ["a0", "a1"]


async def test_the_number_of_kinds_is_bounded() -> None:
    story = Story(depth=1)
    for number in range(3 * KINDS):
        story.reserve.take(f"kind-{number}-")
        await story.rest()
    story.reserve.take("one more")
    await story.rest()
    assert len(story.made) - len(story.dropped) <= KINDS


async def test_a_failure_is_not_tried_again_in_a_hurry() -> None:
    story = Story()
    story.broken = True
    story.reserve.take("a")
    await story.rest()
    story.broken = False
    await story.rest()
    assert story.made == []
    story.reserve.take("a")  # somebody asks again
    await story.rest()
    assert len(story.made) == 2


async def test_closed_it_keeps_nothing_and_makes_nothing() -> None:
    story = Story()
    story.reserve.take("a")
    await story.rest()
    story.reserve.close()
    story.reserve.take("a")
    await story.rest()
    assert story.dropped == story.made == ["a0", "a1"]


async def test_what_comes_back_as_new_is_taken_before_anything_is_made() -> None:
    story = Story(used={"a1"})
    story.reserve.take("a")
    await story.rest()
    taken = [story.reserve.take("a"), story.reserve.take("a")]
    for one in taken:
        story.reserve.give_back("a", str(one))
    await story.rest()
    assert story.dropped == ["a1"]
    assert sorted(str(story.reserve.take("a")) for _ in range(2)) == ["a0", "a2"]


async def test_no_more_comes_back_than_there_is_room_for() -> None:
    story = Story(depth=1)
    story.reserve.take("a")
    await story.rest()
    for number in range(5):
        story.reserve.give_back("a", f"old{number}")
    story.reserve.give_back("nobody asked for these", "x")
    await story.rest()
    assert len(story.dropped) == 5
    story.reserve.close()
    story.reserve.give_back("a", "late")
    assert story.dropped[-1] == "late"
