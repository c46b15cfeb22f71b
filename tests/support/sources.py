"""Triggers with a source, over a real store: events, runner and functions that only remember their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dayfly import actions as a
from dayfly.actions import Invoke
from dayfly.clock import Clock, SystemClock
from dayfly.events.eventing import Eventing
from dayfly.events.leases import Leases
from dayfly.events.queue import AsyncQueue
from dayfly.events.retry import of_profile
from dayfly.model.call import Result
from dayfly.model.delivery import Destination, Policy
from dayfly.model.event import Event
from dayfly.model.function import Flavour
from dayfly.model.profile import NATIVE
from dayfly.model.trigger import Source, Trigger
from dayfly.store.sqlite import SqliteStore
from dayfly.triggers.runner import Runner

CALM = Policy(jitter=0.0, max_attempts=1)


class Sourced:
    """A server's part that has to do with sources. `path` None: in memory."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Clock | None = None,
        housekeeping: Clock | None = None,
        lead: float = 0.0,
        cell: str = "one",
    ) -> None:
        self.clock = clock or SystemClock()
        self.store = SqliteStore(path)
        self.calls: list[Invoke] = []
        self.warmed: list[float] = []
        self.secrets: dict[str, str] = {}
        self.eventing = Eventing(
            AsyncQueue(self.store, self.clock),
            self.clock,
            run=self._run,
            policy_of=lambda _: of_profile(NATIVE),
            flavour_of=lambda *_: Flavour.EVENT,
            exists=lambda _: True,
            require_function=lambda *_: None,
            housekeeping=housekeeping,
        )
        self.runner = Runner(
            self.eventing.brokers.emit,
            self.eventing.brokers.checkpoint,
            lambda _, name: self.secrets.get(name),
            self.clock,
            Leases(self.store, housekeeping or self.clock, cell),
            lead=lambda _: lead,
            prewarm=lambda _: self.warmed.append(self.clock.now()),
        )
        self.eventing.catalog.require_source = self.runner.check
        self.eventing.catalog.watchers.append(self.runner.heard)
        self.eventing.source_health = self.runner.health

    async def _run(self, call: Invoke) -> Result:
        self.calls.append(call)
        return Result(invocation=call.invocation, body=b"{}")

    async def __aenter__(self) -> Sourced:
        await self.store.open()
        await self.eventing.open()
        self.runner.open(self.eventing.catalog.triggers())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.close()
        await self.eventing.close(1.0)
        await self.store.close()

    async def perform(self, action: Any) -> Any:
        return await self.eventing.performers()[type(action)](action)

    async def trigger(self, kind: str, name: str = "t", **settings: Any) -> Trigger:
        """Create a trigger of that kind of source."""
        target = Destination(kind="function", name="f")
        put = a.PutTrigger(name=name, target=target, source=Source(kind=kind, settings=settings), delivery=CALM)
        trigger: Trigger = await self.perform(put)
        return trigger

    @property
    def events(self) -> list[Event]:
        """Those that were delivered, in that order."""
        return [from_call(call) for call in self.calls]

    async def accepted(self) -> list[Event]:
        """Those that are on disk, in the order of their acceptance."""
        page = await self.perform(a.ListEvents(limit=1000))
        return [recorded.event for recorded in reversed(page.items)]

    async def until(self, check: Callable[[], Any]) -> None:
        """Wait until it holds; the suite's time limit is the bound."""
        while not check():
            await asyncio.sleep(0.01)

    async def running(self, name: str = "t") -> None:
        """Wait until the source of that trigger is connected."""
        await self.until(lambda: (health := self.runner.health("default", name)) is not None and health.state == "running")


def from_call(call: Invoke) -> Event:
    """The event that a call brought (`shape` cloudevents)."""
    body = msgspec.json.decode(call.body)
    known = {"id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
    data = body.get("data")
    return Event(
        **{name: value for name, value in body.items() if name in known},
        extensions={name: value for name, value in body.items() if name not in known | {"specversion", "data", "data_base64"}},
        data=None if data is None else msgspec.json.encode(data),
    )
