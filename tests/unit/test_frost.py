"""Idle instances of functions that want it stand still until the next call; busy ones never do."""

from __future__ import annotations

import pytest

from dayfly.actions import Invoke
from dayfly.calls.dispatcher import Dispatcher
from dayfly.model.function import Reservation, Revision
from dayfly.model.profile import NATIVE, Profile
from dayfly.pool.pool import Limits, Pool
from dayfly.testing.clock import FakeClock, settle
from tests.support.boxes import ScriptedBox, ScriptedSandbox, Waiting, revision

pytestmark = pytest.mark.anyio


class Site:
    """One function that is frozen after 10 ms without a call."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sandbox = ScriptedSandbox()
        self.pool = Pool(self.sandbox, self.clock, lambda r: {}, Limits())
        self.dispatcher = Dispatcher(self, self.pool, lambda record: None, self.clock)
        self.function = revision("f", freeze_s=0.01)

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        return self.function

    reservations: dict[tuple[str, str], Reservation] = {}  # noqa: RUF012

    def profile(self, name: str) -> Profile:
        return NATIVE

    def call(self) -> None:
        self.dispatcher.begin(Invoke(namespace="default", function="f", body=b"1"), Waiting())

    def started(self, *, freezes: bool = False) -> ScriptedBox:
        """The box of an instance that has answered its first call."""
        self.call()
        box = self.sandbox.boxes[0]
        box.ready(freezes=freezes)
        box.answer()
        return box


async def test_an_idle_instance_is_frozen_until_its_next_call() -> None:
    site = Site()
    box = site.started()
    await site.clock.pass_time(0.009)
    assert not box.frozen
    await site.clock.pass_time(0.002)
    assert box.frozen
    site.call()
    await settle()
    assert not box.frozen
    assert len(box.calls) == 1, "and the call did not wait for it"


async def test_a_busy_instance_is_never_frozen() -> None:
    site = Site()
    box = site.started()
    for _ in range(10):
        await site.clock.pass_time(0.006)
        site.call()
        await site.clock.pass_time(0.006)
        assert not box.frozen
        box.answer()
    await site.clock.pass_time(0.011)
    assert box.frozen


async def test_one_that_stands_still_by_itself_is_left_alone() -> None:
    site = Site()
    box = site.started(freezes=True)
    await site.clock.pass_time(1.0)
    assert not box.frozen


async def test_one_that_ends_is_left_alone() -> None:
    site = Site()
    box = site.started()
    box.die()
    await site.clock.pass_time(1.0)
    assert not box.frozen
