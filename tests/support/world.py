"""Everything about events over a store in memory, with a clock that moves when told, and functions that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

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
from dayfly.model.profile import Profile
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock, settle

PROFILE = Profile(name="p", async_retries=1, async_delays=(10.0,), async_max_age=3600.0)
RAISED = FunctionError(type="ValueError", message="bad")
F = Destination(kind="function", name="f")
CALM = Policy(jitter=0.0)


def event(id: str = "1", type: str = "order.placed", **more: Any) -> Event:
    data = more.pop("data", {"id": id})
    return Event(id=id, source="/shop", type=type, data=msgspec.json.encode(data), **more)


class World:
    """Everything about events, and functions that do what the test says."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.calls: list[Invoke] = []
        self.answers: dict[str, list[Result | Exception]] = {}
        self.refuses: dict[str, str] = {}  # function -> id of an event that makes it raise, whatever comes along with it
        self.gates: dict[str, asyncio.Event] = {}
        self.running: dict[str, int] = {}
        self.peak: dict[str, int] = {}
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.eventing = self.made()

    def made(self) -> Eventing:
        return Eventing(
            AsyncQueue(self.store, self.clock),
            self.clock,
            run=self.run,
            policy_of=lambda _: of_profile(PROFILE),
            flavour_of=lambda _namespace, name, _qualifier: Flavour.HTTP if name == "http" else Flavour.EVENT,
            exists=lambda namespace: namespace == "default",
            require_function=self.require,
            fetch=self.post,
        )

    def require(self, namespace: str, name: str, qualifier: str) -> None:
        if name == "gone":
            raise errors.NotFound(f"there is no function {name}")

    async def run(self, call: Invoke) -> Result:
        self.calls.append(call)
        name = call.function
        self.running[name] = self.running.get(name, 0) + 1
        self.peak[name] = max(self.peak.get(name, 0), self.running[name])
        try:
            if name in self.gates:
                await self.gates[name].wait()
        finally:
            self.running[name] -= 1
        if name in self.refuses and f'"id":"{self.refuses[name]}"'.encode() in call.body:
            return Result(invocation=call.invocation, error=RAISED)
        return self.answer(name, call.invocation)

    def answer(self, name: str, invocation: str = "") -> Result:
        waiting = self.answers.get(name)
        answer = waiting.pop(0) if waiting else Result(invocation=invocation, body=b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def post(self, url: str, headers: Any, body: bytes, seconds: float) -> Result:
        self.posts.append((url, dict(headers), body))
        return self.answer(url)

    async def perform(self, action: Any) -> Any:
        return await self.eventing.performers()[type(action)](action)

    async def trigger(self, name: str, target: Destination = F, **more: Any) -> Any:
        more.setdefault("delivery", CALM)
        return await self.perform(a.PutTrigger(name=name, target=target, **more))

    async def publish(self, *events: Event, broker: str = "default") -> tuple[a.Published, ...]:
        published: tuple[a.Published, ...] = await self.perform(a.PublishEvents(events=events, broker=broker))
        return published

    async def dead(self, **which: str) -> list[Any]:
        return list((await self.perform(a.ListDead(**which))).items)

    async def until(self, check: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        """Let everything run on until the check holds (the suite's time limit is the bound)."""
        while True:
            held = check()
            if held is True or (held is not False and await held):
                return
            await self.quiet(1)

    async def quiet(self, turns: int = 10) -> None:
        """Let everything run on that can without time passing."""
        for _ in range(turns):
            await self.store.commit()
            await settle()

    async def idle(self) -> None:
        """Until nothing that is due waits or runs."""

        async def over() -> bool:
            if self.eventing.delivery.running:
                return False
            waiting = await self.store.fetch("queue_lanes")
            due = [lane for _, lane, due in waiting if due <= self.clock.now() and not lane.startswith("q:")]
            return not due and not self.eventing.delivery.running

        await self.until(over)

    def bodies(self, function: str = "f") -> list[Any]:
        return [msgspec.json.decode(call.body) for call in self.calls if call.function == function]

    def ids(self, function: str = "f") -> list[str]:
        return [body["id"] for body in self.bodies(function)]
