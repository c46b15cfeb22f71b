"""A server dies at every point at which it can: before and after each transaction of a scenario, one after the other.

The store refuses everything from that point on, which is all that death can do to it; what was in memory is thrown away, and a new
server opens what is on disk. (That the disk keeps what it has said to keep is what the storm and test_store_crash show.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dayfly import actions as a
from dayfly import errors
from dayfly.actions import Invoke
from dayfly.events.eventing import Eventing
from dayfly.events.queue import AsyncQueue
from dayfly.events.retry import of_profile
from dayfly.model.call import FunctionError, Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.event import Event
from dayfly.model.function import Flavour
from dayfly.model.profile import NATIVE
from dayfly.store.port import Effect, Note, Row, Statement
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

PATIENT = Policy(max_attempts=10, delay_s=1.0, backoff="fixed", jitter=0.0, order_by="subject", reply="replies")  # type: ignore[arg-type]
EVENTS = [Event(id=f"{key}{n}", source="/s", type="t", subject=key) for n in range(3) for key in "ab"]


class Mortal:
    """A store that dies `before` or after its n-th transaction; 0: never."""

    def __init__(self, inner: SqliteStore, point: int, before: bool) -> None:
        self.inner = inner
        self.point = point
        self.before = before
        self.commits = 0
        self.dead = False

    async def fetch(self, query: str, **parameters: Any) -> list[Row]:
        self._alive()
        return await self.inner.fetch(query, **parameters)

    async def commit(self, *statements: Statement, notes: Any = (), fenced: bool = False) -> list[Effect]:
        self._alive()
        self.commits += 1
        mine = self.commits == self.point
        if mine and self.before:
            self.dead = True
        self._alive()
        effects = await self.inner.commit(*statements, notes=notes, fenced=fenced)
        if mine:
            self.dead = True
        self._alive()
        return effects

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None:
        if not self.dead:
            self.inner.write_behind(*statements, done=done)

    def subscribe(self, callback: Callable[[Note], None]) -> None: ...

    def _alive(self) -> None:
        if self.dead:
            raise errors.Unavailable("the server is dead")


class World:
    def __init__(self, inner: SqliteStore, point: int = 0, before: bool = True) -> None:
        self.inner = inner
        self.store = Mortal(inner, 0, before)
        self.point = point
        self.clock = FakeClock()
        self.accepted: set[str] = set()
        self.done: list[str] = []  # ids that user code has dealt with, in order
        self.told: list[str] = []  # ids whose reply came on
        self.called = 0
        self.failed: set[str] = set()
        self.eventing = self.made()

    def made(self) -> Eventing:
        return Eventing(
            AsyncQueue(self.store, self.clock),  # type: ignore[arg-type]
            self.clock,
            run=self.run,
            policy_of=lambda _: of_profile(NATIVE),
            flavour_of=lambda *_: Flavour.EVENT,
            exists=lambda _: True,
            require_function=lambda *_: None,
        )

    async def run(self, call: Invoke) -> Result:
        self.store._alive()  # user code of a dead server does not run
        if call.function == "call":
            self.called += 1
            return Result(invocation=call.invocation)
        id = msgspec.json.decode(call.body)["id"]
        if call.function == "tell":
            self.told.append(id)
            return Result(invocation=call.invocation)
        if id == "a1" and id not in self.failed:
            self.failed.add(id)
            return Result(invocation=call.invocation, error=FunctionError(type="E", message="once"))
        self.done.append(id)
        reply = {"specversion": "1.0", "id": id, "source": "/work", "type": "r", "subject": id[0]}
        return Result(invocation=call.invocation, body=msgspec.json.encode(reply))

    async def prepare(self) -> None:
        perform = self.eventing.performers()
        await self.eventing.open()
        await perform[a.PutBroker](a.PutBroker(name="replies"))
        await perform[a.PutTrigger](
            a.PutTrigger(name="work", target=Destination(kind="function", name="work"), delivery=PATIENT)
        )
        await perform[a.PutTrigger](
            a.PutTrigger(
                name="tell",
                broker="replies",
                target=Destination(kind="function", name="tell"),
                delivery=Policy(order_by="subject"),
            )
        )
        self.store.commits, self.store.point = 0, self.point  # the scenario begins here

    async def scenario(self) -> None:
        """Everything is sent that was not acknowledged yet: a publisher that got no answer sends again."""
        publish = self.eventing.performers()[a.PublishEvents]
        for event in EVENTS:
            if event.id not in self.accepted:
                await publish(a.PublishEvents(events=(event,)))
                self.accepted.add(event.id)
        if "call" not in self.accepted:
            await self.eventing.queue.enqueue(Invoke(namespace="default", function="call"))
            self.accepted.add("call")
        await self.settled()

    async def settled(self) -> None:
        """Until nothing waits or runs, time passing as it must; or until the server is dead."""
        while not self.store.dead:
            await self.inner.commit()
            await settle()
            self.clock.advance(0.5)
            states = {state for state, _ in await self.inner.fetch("queue_states")}
            if not states & {"queued", "blocked", "leased"}:
                return

    async def die_and_rise(self) -> None:
        await self.eventing.close(0.0)
        self.store = Mortal(self.inner, 0, True)
        self.eventing = self.made()
        await self.eventing.open()


async def test_alive_everything_happens_once() -> None:
    inner = SqliteStore(None)
    await inner.open()
    world = World(inner)
    await world.prepare()
    await world.scenario()
    await world.eventing.close(0.0)
    assert sorted(world.done) == sorted(world.told) == sorted(event.id for event in EVENTS)
    assert world.called == 1
    assert world.store.commits > 20
    await inner.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_at_every_point_nothing_is_lost_and_order_is_kept(before: bool) -> None:
    point = 0
    died = True
    while died:
        point += 1
        inner = SqliteStore(None)
        await inner.open()
        world = World(inner, point, before)
        await world.prepare()
        try:
            await world.scenario()
        except errors.Unavailable:
            pass
        died = world.store.dead
        if died:
            await world.die_and_rise()
            await world.settled()
            lost = world.accepted - {"call", *world.done}
            assert not lost, f"{point}: {lost}"
            await world.scenario()
        where = f"{'before' if before else 'after'} transaction {point}"
        assert set(world.done) == {event.id for event in EVENTS}, where
        assert world.called, where
        assert set(world.done) == set(world.told), where
        for key in "ab":
            for seen in (world.done, world.told):
                first = list(dict.fromkeys(id for id in seen if id[0] == key))
                assert first == sorted(first), where
        for runs in (world.done, world.told):
            assert len(runs) - len(set(runs)) <= (1 if died else 0) * 2, where  # at most what ran in that moment: one a key
        states = await inner.fetch("queue_states")
        assert {state for state, _ in states} <= {"done"}, where
        await world.eventing.close(0.0)
        await inner.close()
    assert point > 20
