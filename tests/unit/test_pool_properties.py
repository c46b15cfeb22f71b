"""Whatever happens in whatever order: every call ends once, nothing is over its bound, and no count drifts."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dayfly.actions import Invoke
from dayfly.calls.dispatcher import Dispatcher
from dayfly.errors import DayflyError, InitFailed
from dayfly.model.call import Invocation
from dayfly.model.function import Isolation, Reservation, Revision
from dayfly.model.instance import State
from dayfly.model.profile import NATIVE, Profile
from dayfly.pool import group as queues
from dayfly.pool.pool import Limits, Pool
from dayfly.scaler.loop import ScaleLoop
from dayfly.testing.clock import FakeClock
from tests.support.boxes import ScriptedBox, ScriptedSandbox, Waiting, revision

queues.FORSAKEN = 1  # type: ignore[misc]  # so that a queue of six is looked through, too


class PoolMachine(RuleBasedStateMachine):
    """Two functions share a pool with room for a few instances; the rules are all that can happen to them."""

    @initialize(
        concurrency=st.integers(1, 3), most=st.integers(1, 4), room=st.integers(1, 5), starts=st.integers(1, 3),
        queue=st.integers(1, 6), isolation=st.sampled_from(Isolation),
    )  # fmt: skip
    def begin(self, concurrency: int, most: int, room: int, starts: int, queue: int, isolation: Isolation) -> None:
        self.runner = asyncio.Runner()
        self.runner.run(self._begin(concurrency, most, room, starts, queue, isolation))

    async def _begin(self, concurrency: int, most: int, room: int, starts: int, queue: int, isolation: Isolation) -> None:
        self.clock = FakeClock()
        self.sandbox = ScriptedSandbox()
        self.functions = {
            "a": revision("a", concurrency=concurrency, max_instances=most, timeout_s=5),
            "b": revision("b", max_instances=2, timeout_s=5, isolation=isolation),
        }
        limits = Limits(instances=room, concurrent_starts=starts, queue_per_function=queue, queue_timeout_s=10)
        self.pool = Pool(self.sandbox, self.clock, lambda r: {}, limits)
        self.records: list[Invocation] = []
        self.dispatcher = Dispatcher(self, self.pool, self.records.append, self.clock)
        self.scaler = ScaleLoop(self.pool, self.clock)
        self.clients: list[Waiting] = []
        self.refused = 0

    reservations: dict[tuple[str, str], Reservation] = {}  # noqa: RUF012

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        return self.functions[function]

    def profile(self, name: str) -> Profile:
        return NATIVE

    def on_loop(self, work) -> None:  # type: ignore[no-untyped-def]
        async def run() -> None:
            work()
            for _ in range(3):
                await asyncio.sleep(0)

        self.runner.run(run())

    def live(self) -> list[ScriptedBox]:
        return [box for box in self.sandbox.boxes if not box.destroyed and not getattr(box, "dead", False)]

    @rule(name=st.sampled_from("ab"))
    def call(self, name: str) -> None:
        def work() -> None:
            client = Waiting()
            try:
                self.dispatcher.begin(Invoke(namespace="default", function=name, body=b"1"), client)
            except DayflyError:
                self.refused += 1
            else:
                self.clients.append(client)

        self.on_loop(work)

    @rule(pick=st.integers(0, 99))
    def ready(self, pick: int) -> None:
        waiting = [box for box in self.live() if not getattr(box, "said", False)]
        if waiting:
            box = waiting[pick % len(waiting)]
            box.said = True  # type: ignore[attr-defined]
            self.on_loop(lambda: box.ready(ahead=pick % 4 if box.spec.concurrency == 1 else 0))

    @rule(pick=st.integers(0, 99), raises=st.booleans())
    def answer(self, pick: int, raises: bool) -> None:
        busy = [box for box in self.live() if box.calls]
        if busy:
            box = busy[pick % len(busy)]
            self.clock.advance(0.0002)  # so short that more calls are sent ahead
            self.on_loop(box.fail if raises else box.answer)

    @rule(pick=st.integers(0, 99), broken=st.booleans())
    def die(self, pick: int, broken: bool) -> None:
        boxes = self.live()
        if boxes:
            box = boxes[pick % len(boxes)]
            box.dead = True  # type: ignore[attr-defined]
            self.on_loop(lambda: box.die(InitFailed("broken") if broken and not getattr(box, "said", False) else None))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.on_loop(lambda: self.clock.advance(seconds))

    @rule()
    def scale(self) -> None:
        self.on_loop(self.scaler.tick)

    @rule(name=st.sampled_from("ab"))
    def recycle(self, name: str) -> None:
        self.on_loop(lambda: self.pool.group(self.functions[name]).recycle())

    @rule(pick=st.integers(0, 99))
    def cancel(self, pick: int) -> None:
        active = sorted(self.dispatcher.active)
        if active:
            self.on_loop(lambda: self.dispatcher.cancel(active[pick % len(active)]))

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "pool"):
            return
        pool = self.pool
        assert pool.instances == sum(len(group.instances) for group in pool.groups.values())
        assert pool.instances <= pool.limits.instances
        for group in pool.groups.values():
            assert len(group.instances) <= group.config.max_instances
            assert group.starting == sum(1 for i in group.instances.values() if i.state is State.STARTING)
            inflight = ahead = 0
            for instance in group.instances.values():
                assert 0 <= instance.inflight <= instance.slots
                assert (instance.state in (State.BUSY, State.DRAINING)) == (instance.inflight > 0)
                box = instance.box if hasattr(instance, "box") else None
                assert box is None or len(box.calls) >= instance.inflight or instance.state is State.DRAINING  # type: ignore[attr-defined]
                inflight += instance.inflight
                assert len(instance.ahead) <= instance.room_ahead
                ahead += sum(1 for waiter in instance.ahead if not waiter.done)
            waiting = sum(1 for waiter in group.waiting if not waiter.done)
            assert len(group.waiting) - group.gave_up == waiting
            assert group.load.level == inflight + waiting + ahead
            if group.once:
                assert all(instance.calls <= 1 for instance in group.instances.values())
        assert all(client.endings <= 1 for client in self.clients)
        ended = sum(client.endings for client in self.clients)
        assert len(self.dispatcher.active) == len(self.clients) - ended
        assert len(self.records) == ended + self.refused

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        # Let everything run out: every call must have ended by its deadline at the latest.
        for _ in range(4):
            self.on_loop(lambda: self.clock.advance(20))
        assert all(client.endings == 1 for client in self.clients)
        assert self.dispatcher.active == {}
        for group in self.pool.groups.values():
            assert group.load.level == 0
        self.runner.close()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
