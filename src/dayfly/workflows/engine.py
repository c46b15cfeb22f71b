"""Runs workflows: decide, call, write down, fold, until there is an answer.

A workflow is called like any function (`Dispatcher.begin` sends its calls here), so all ways to call work: through every dialect, and
asynchronously, where the durable queue has the call. When a server starts, it goes on with what the one before left: a workflow whose
caller waited is resumed at once, for its record; an asynchronous one when the queue delivers its call again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from ..actions import Invoke
from ..clock import Clock
from ..errors import Cancelled, DayflyError, Internal, NotFound, Throttled
from ..model.call import FunctionError, Invocation, Mode, Result, Status, Timings
from ..model.function import Keep, Revision
from ..model.ids import id_time, new_id
from .journal import Journal, Left
from .state import (
    BRANCHES,
    LIMIT,
    SEQUENCE_TOO_LONG,
    TOO_LONG,
    Begun,
    Call,
    Ended,
    Event,
    Finish,
    Fork,
    How,
    State,
    begin,
    decide,
    error_body,
    fold,
)

if TYPE_CHECKING:
    from ..dialects.hook import Parts
    from ..store.port import Store

log = logging.getLogger("dayfly.workflows")

AT_ONCE = 10_000  # workflows under way, nested ones included
SIDE_BY_SIDE = 32  # branches of one workflow


class Client(Protocol):
    def on_result(self, result: Result) -> None: ...

    def on_failure(self, error: DayflyError) -> None: ...


class Run:
    """A workflow under way, as its caller sees it (`gateway.edge.CallHandle`)."""

    full = False
    running = True

    def __init__(self, task: asyncio.Task[None], client: Client, forget: Callable[[], None]) -> None:
        self._task = task
        self._client = client
        self._forget = forget

    def feed(self, data: bytes, end: bool) -> None: ...

    def when_drained(self, callback: Callable[[], None]) -> None:
        callback()

    def hold(self) -> None: ...

    def unhold(self) -> None: ...

    def cancel(self, error: DayflyError | None = None) -> None:
        if self._task.cancel():
            self._forget()
            self._client.on_failure(error or Cancelled("the workflow was cancelled"))


class _Budget:
    """Parts that a workflow and all that are nested in it may still call, and branches that it may begin. Each of these has parts of its
    own."""

    def __init__(self, above: _Budget | None = None) -> None:
        self.left = LIMIT
        self._above = above
        self._branches = BRANCHES

    def branch(self) -> _Budget | None:
        """That of a branch; None: they are too many."""
        if self._above is not None:
            return self._above.branch()
        self._branches -= 1
        return _Budget(self) if self._branches >= 0 else None


class Workflows:
    def __init__(
        self,
        store: Store,
        *,
        resolve: Callable[[str, str, str], Revision],
        call: Callable[[Invoke], Awaitable[Result]],
        record: Callable[[Invocation], None],
        parts: Callable[[str], Parts | None],
        clock: Clock,
        keep: Callable[[Invoke, Status, Keep, bool], None] = lambda *_: None,
    ) -> None:
        """`call` calls the code of one function, also of a conductor. `parts` is by the name of a profile. `keep` keeps inputs."""
        self._journal = Journal(store, clock)
        self._resolve = resolve
        self._call = call
        self._record = record
        self._keep = keep
        self._parts = parts
        self._clock = clock
        self._left: dict[str, Left] = {}
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._closing = False
        self._under_way = 0

    async def open(self) -> None:
        """Go on with what was left: with that which nobody else will call again."""
        self._left = await self._journal.left()
        for identifier, left in list(self._left.items()):
            if left.top and left.invoke.mode is Mode.SYNC:
                try:
                    self.begin(left.invoke, self._resolve(left.invoke.namespace, left.invoke.function, ""), _Nobody())
                except DayflyError as error:
                    log.warning("workflow %s cannot go on: %s", identifier, error.detail)
                    self._journal.end(identifier)

    async def close(self) -> None:
        """Stop in the middle. The journal has how far they came."""
        self._closing = True
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._journal.close()

    def begin(self, invoke: Invoke, revision: Revision, client: Client) -> Run:
        """Start a workflow, or go on with the one of that id. Raises Throttled."""
        if self._under_way >= AT_ONCE:
            raise Throttled(f"{AT_ONCE} workflows are under way", hint="Try again later.", retry_after=1.0)
        task = asyncio.ensure_future(self._serve(invoke, revision, client))
        run = Run(task, client, lambda: self._forget(invoke.invocation))
        self._runs[invoke.invocation] = run, task
        return run

    def cancel(self, identifier: str) -> bool:
        found = self._runs.get(identifier)
        if found is None:
            return False
        found[0].cancel()
        return True

    def _forget(self, identifier: str) -> None:
        if not self._closing:  # then the next server goes on with it
            self._journal.end(identifier)

    async def _serve(self, invoke: Invoke, revision: Revision, client: Client) -> None:
        try:
            result = await self._run(invoke, revision, _Budget(), top=True)
            client.on_result(result)
        except DayflyError as error:
            client.on_failure(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("workflow %s", invoke.invocation)
            client.on_failure(Internal(f"{type(error).__name__} in a workflow"))
        finally:
            self._runs.pop(invoke.invocation, None)

    async def _run(self, invoke: Invoke, revision: Revision, budget: _Budget, *, top: bool) -> Result:
        """From wherever its journal is to its end."""
        config, identifier = revision.config, invoke.invocation
        state = begin(config, invoke.body or b"{}")
        left = self._left.pop(identifier, None)
        number = 0
        if left is None:
            self._journal.begin(invoke, top=top)
        else:
            for event in left.events:
                state = fold(config, state, event)
                if isinstance(event, Ended) and self._left.pop(event.id, None) is not None:
                    self._journal.end(event.id)
            number = len(left.events)
        self._under_way += 1
        try:
            while not isinstance(decision := decide(config, state), Finish):
                if isinstance(decision, Fork):
                    events = self._fork(invoke, revision, decision, budget)
                else:
                    events = self._part(invoke, revision, decision, state.begun, budget)
                async for event in events:
                    self._journal.add(identifier, number, event)
                    if isinstance(event, Ended):
                        self._journal.end(event.id, within=identifier)
                    number += 1
                    state = fold(config, state, event)
        finally:
            self._under_way -= 1
        return self._finish(invoke, revision, state, decision, top=top)

    async def _fork(self, invoke: Invoke, revision: Revision, fork: Fork, budget: _Budget) -> AsyncIterator[Event]:
        """Call side by side what has no answer yet; yields what happens, as it does."""
        happened: asyncio.Queue[Event | None] = asyncio.Queue()
        places = asyncio.Semaphore(SIDE_BY_SIDE)

        async def go(index: int, call: Call, begun: str) -> None:
            try:
                own = budget.branch()
                if own is None:
                    happened.put_nowait(Ended("", How.FAILED, error_body(TOO_LONG), branch=index))
                    return
                async with places:
                    async for event in self._part(invoke, revision, call, begun, own):
                        happened.put_nowait(replace(event, branch=index))
            finally:
                happened.put_nowait(None)

        tasks = [
            asyncio.ensure_future(go(index, Call(fork.name, branch.body), branch.begun))
            for index, branch in enumerate(fork.branches)
            if branch.answer is None
        ]
        try:
            for _ in tasks:
                while (event := await happened.get()) is not None:
                    yield event
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _part(self, invoke: Invoke, revision: Revision, call: Call, begun: str, budget: _Budget) -> AsyncIterator[Event]:
        """Call what comes next, or go on with the nested workflow `begun`; yields what happens."""
        conducts = revision.config.conductor and not call.name
        part = Invoke(
            namespace=invoke.owner or invoke.namespace,
            function=call.name,
            owner=invoke.owner or invoke.namespace,
            body=call.body,
            cause=invoke.invocation,
            depth=invoke.depth + 1,
            client=invoke.client,
        )
        parts = self._parts(revision.profile)
        try:
            if conducts:
                part.namespace, part.function = invoke.namespace, invoke.function
            elif not revision.config.conductor:
                part.namespace, _, part.function = call.name.partition("/")
            if parts is not None:
                parts.address(part)
            if conducts:
                part.note = invoke.note
            part.invocation = begun or new_id()
            target = self._resolve(part.namespace, part.function, "")
        except DayflyError as error:
            yield Ended(
                "",
                How.FAILED,
                error_body(_unreachable(error, invoke.owner or invoke.namespace, call.name, revision.config.conductor)),
            )
            return
        nests = not conducts and bool(target.config.steps or target.config.conductor)
        if not conducts and not nests:
            budget.left -= 1
        if budget.left < 0 or part.depth > LIMIT:
            yield Ended("", How.FAILED, error_body(TOO_LONG if revision.config.conductor else SEQUENCE_TOO_LONG))
            return
        if nests and not begun:
            yield Begun(part.invocation)
        came: Result | DayflyError
        try:
            came = await (self._run(part, target, budget, top=False) if nests else self._call(part))
        except DayflyError as error:
            came = error
        whole, body = parts.outcome(part, came) if parts is not None else _outcome(came)
        yield Ended(
            part.invocation,
            How.BROKEN if not whole else How.FAILED if _says_error(body) else How.OK,
            body,
            round((came.timings.run + came.timings.init * came.cold) * 1000) if isinstance(came, Result) else 0,
            target.config.memory_mb,
        )

    def _finish(self, invoke: Invoke, revision: Revision, state: State, finish: Finish, *, top: bool) -> Result:
        timings = Timings(run=state.ms / 1000)
        note = msgspec.json.decode(invoke.note) if invoke.note[:1] == "{" else {}
        note |= {"logs": state.parts, "duration": state.ms, "memory": state.memory_mb, "conductor": revision.config.conductor}
        broken = finish.how is How.BROKEN
        told = msgspec.json.encode(note).decode()
        if invoke.mode is Mode.SYNC:
            self._keep(invoke, Status.ERROR if broken else Status.OK, revision.config.keep_inputs, True)
        self._record(
            Invocation(
                id=invoke.invocation,
                namespace=invoke.owner or invoke.namespace,
                function=invoke.function,
                revision=revision.number,
                mode=invoke.mode,
                status=Status.ERROR if broken else Status.OK,
                cold=False,
                started=id_time(invoke.invocation),
                timings=timings,
                billed_ms=0,  # its parts are billed
                memory_mb=0,
                cause=invoke.cause,
                attempt=invoke.attempt,
                http_status=500 if broken else 200,
                error_type="developer" if broken else "",
                error_message=finish.body.decode("utf-8", "replace")[:1024] if broken else "",
                answer=finish.body.decode("utf-8", "replace"),
                note=told,
            )
        )
        if top:  # else the one around it forgets it, when it has written down the answer
            self._journal.end(invoke.invocation)
        result = Result(invocation=invoke.invocation, revision=revision.number, body=finish.body, timings=timings, note=told)
        if broken:
            value = msgspec.json.decode(finish.body)
            message = value.get("error") if isinstance(value, dict) else None
            result.error = FunctionError(type="developer", message=message if isinstance(message, str) else str(value))
        return result


class _Nobody:
    """Who waited has gone with the server before this one."""

    def on_result(self, result: Result) -> None: ...

    def on_failure(self, error: DayflyError) -> None: ...


def _says_error(body: bytes) -> bool:
    if b'"error"' not in body:
        return False
    value = msgspec.json.decode(body)
    return isinstance(value, dict) and "error" in value


def _outcome(came: Result | DayflyError) -> tuple[bool, bytes]:
    """Of functions whose profile has no words of its own."""
    if isinstance(came, DayflyError):
        return False, error_body(came.detail)
    return (False, error_body(came.error.message)) if came.error is not None else (True, came.body)


def _unreachable(error: DayflyError, namespace: str, name: str, conducted: bool) -> str:
    if not conducted:
        return "Sequence component does not exist." if isinstance(error, NotFound) else error.detail
    name = name.removeprefix("/") if name.startswith("/") or name.count("/") > 1 else f"{namespace}/{name}"
    if isinstance(error, NotFound):
        return f"Failed to resolve action with name '{name}' during composition."
    return f"Failed entitlement check for action with name '{name}' during composition."
