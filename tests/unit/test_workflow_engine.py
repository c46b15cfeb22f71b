"""A crash after every single entry of the journal: whoever goes on from there comes to the same end, and repeats no part that is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dayfly.actions import Invoke
from dayfly.clock import SystemClock, Timer
from dayfly.errors import NotFound
from dayfly.model.call import Invocation, Result
from dayfly.model.function import Artifact, Config, Revision
from dayfly.model.ids import new_id
from dayfly.store.port import Statement
from dayfly.store.sqlite import SqliteStore
from dayfly.workflows.engine import Workflows
from dayfly.workflows.state import Begun, Ended, Event

pytestmark = pytest.mark.anyio


def inc(args: Any) -> Any:
    return {"n": args["n"] + 1}


def thrice(args: Any) -> Any:
    left = args.get("left", 3)
    step = {"action": "pair", "params": {"n": args["n"]}, "state": {"left": left - 1}}
    return step if left else {"params": {"n": args["n"]}}


def forks(args: Any) -> Any:
    if "branches" in args:
        return {"params": {"n": sum(answer["n"] for answer in args["branches"])}}
    return {"action": "pair", "branches": [{"n": args["n"] + index} for index in range(3)]}


def fails(args: Any) -> Any:
    return {"error": "no"}


CODE: dict[str, Callable[[Any], Any]] = {"inc": inc, "thrice": thrice, "forks": forks, "fails": fails}
STEPS = {
    "pair": ("d/inc", "d/inc"),
    "nested": ("d/inc", "d/pair", "d/thrice", "d/inc"),
    "broken": ("d/pair", "d/fails", "d/inc"),
}
WHOLE = {"nested": {"n": 11}, "thrice": {"n": 7}, "forks": {"n": 12}, "broken": {"error": "no"}}


class AtOnce(SystemClock):
    """The journal does not wait for more."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        callback()
        return None  # type: ignore[return-value]


class Journaled(SqliteStore):
    def __init__(self) -> None:
        super().__init__(None)
        self.written: list[Statement] = []

    def write_behind(self, *statements: Statement, done: Callable[[], None] | None = None) -> None:
        self.written += statements
        super().write_behind(*statements, done=done)


class Site:
    """A server's workflows over a store that holds what the one before has left."""

    def __init__(self) -> None:
        self.store = Journaled()
        self.calls: Counter[str] = Counter()
        self.ended: asyncio.Queue[Invocation] = asyncio.Queue()
        self.flows = Workflows(
            self.store,
            resolve=self._resolve,
            call=self._call,
            record=self.ended.put_nowait,
            parts=lambda profile: None,
            clock=AtOnce(),
        )

    async def end(self, identifier: str) -> Any:
        while (record := await self.ended.get()).id != identifier:
            pass
        return msgspec.json.decode(record.answer)

    def _resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        if function not in CODE and function not in STEPS:
            raise NotFound(function)
        config = Config(handler="", steps=STEPS.get(function, ()), conductor=function in ("thrice", "forks"))
        artifact = Artifact(digest="", mounts=())
        return Revision(
            namespace=namespace, function=function, number=1, config=config, artifact=artifact, digest="", created=0.0
        )

    async def _call(self, invoke: Invoke) -> Result:
        self.calls[invoke.function] += 1
        await asyncio.sleep(0)
        answer = CODE[invoke.function](msgspec.json.decode(invoke.body))
        return Result(invocation=invoke.invocation, body=msgspec.json.encode(answer))


class Nobody:
    def on_result(self, result: Result) -> None: ...

    def on_failure(self, error: Exception) -> None: ...


@pytest.mark.parametrize("name", WHOLE)
async def test_a_crash_after_any_entry_of_the_journal_changes_no_answer(name: str) -> None:
    first = Site()
    await first.store.open()
    await first.flows.open()
    call = Invoke(namespace="d", function=name, body=b'{"n":1}', invocation=new_id())
    first.flows.begin(call, first._resolve("d", name, ""), Nobody())
    assert await first.end(call.invocation) == WHOLE[name]
    await first.store.close()
    entries = first.store.written
    assert len(entries) > 6
    for survived in range(1, len(entries)):
        site = Site()
        await site.store.open()
        await site.store.commit(*entries[:survived])
        if not await site.store.fetch("workflows_all"):
            assert survived >= len(entries) - 2, "only what has ended is forgotten"
            continue
        await site.flows.open()
        assert await site.end(call.invocation) == WHOLE[name], f"after {survived} of {len(entries)}"
        left = sum(first.calls.values()) - _answers(entries[:survived])
        assert sum(site.calls.values()) == left, f"after {survived} of {len(entries)}"
        await site.flows.close()
        await site.store.close()


def _answers(entries: list[Statement]) -> int:
    """How many answers of functions those have written down: of what is not a workflow begun before."""
    rows = [dict(row)["body"] for query, row in entries if query == "workflow_event_put"]  # type: ignore[arg-type]
    events = [msgspec.msgpack.decode(body, type=Event) for body in rows]
    begun = {event.id for event in events if isinstance(event, Begun)}
    return sum(isinstance(event, Ended) and event.id not in begun for event in events)
