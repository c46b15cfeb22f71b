"""Dead letters and replays: what could not be delivered, what was delivered, and giving it another chance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from .. import actions as a
from ..actions import Invoke
from ..errors import BadInput, NotFound
from ..model.call import Mode
from ..model.deadletter import Dead
from ..model.delivery import Condition, Destination
from ..model.event import Event
from ..model.ids import new_id
from .broker import Brokers
from .catalog import Catalog
from .items import decode_call, decode_message, decode_post, function_lane, queue_lane, trigger_lane
from .queue import AsyncQueue, Entry
from .retry import State
from .routing import Router

BITE: Final = 500  # items redriven or purged in one go


class Letters:
    """Performs the actions on dead items, GetInput and Replay."""

    def __init__(self, queue: AsyncQueue, brokers: Brokers, router: Router) -> None:
        self._queue = queue
        self._store = queue.store
        self._brokers = brokers
        self._router = router
        self._catalog: Catalog = router.catalog
        self.given: Callable[[str, str], Awaitable[Invoke]] = _nothing  # what a synchronous call was given: namespace, id

    async def page(self, action: a.ListDead) -> a.Page[Dead]:
        try:
            before = float(action.cursor) if action.cursor else 0.0
        except ValueError:
            raise BadInput("This is no cursor of a list of dead letters.", field="cursor") from None
        entries = await self._queue.dead(action.namespace, _lane(action), limit=action.limit, before=before)
        cursor = repr(entries[-1].ended) if len(entries) == action.limit else ""
        return a.Page(items=tuple(dead(entry) for entry in entries), cursor=cursor)

    async def get(self, action: a.GetDead) -> Dead:
        entry = await self._entry(action.namespace, action.id)
        letter = dead(entry)
        if entry.event is not None:
            event = await self._brokers.at(entry.event)
            return replace(letter, event=event.event if event is not None else None)
        rows = await self._store.fetch("queue_call", id=entry.id)
        if not rows:
            return letter
        kind, body = entry.lane[:2], rows[0][0]
        if kind == "h:":
            return replace(letter, event=decode_post(body).event)
        return replace(letter, input=decode_call(body).body if kind == "f:" else decode_message(body).body)

    async def _entry(self, namespace: str, identifier: str) -> Entry:
        entry = await self._queue.status(identifier)
        if entry is None or entry.namespace != namespace or entry.state is not State.DEAD:
            raise NotFound(f"there is no dead letter {identifier[:80]!r} in {namespace}", hint="See: dayfly dlq ls")
        return entry

    async def redrive(self, action: a.Redrive) -> int:
        count = 0
        for identifier in await self._chosen(action):
            entry = await self._queue.status(identifier)
            if entry is not None and entry.namespace == action.namespace and await self._queue.redrive(identifier) is not None:
                count += 1
        return count

    async def purge(self, action: a.PurgeDead) -> int:
        ids = await self._chosen(action)
        count = 0
        for start in range(0, len(ids), BITE):
            rows = [{"id": identifier, "namespace": action.namespace} for identifier in ids[start : start + BITE]]
            count += (await self._store.commit(("queue_purge_dead", rows)))[0].written
        return count

    async def _chosen(self, action: a.Redrive | a.PurgeDead) -> list[str]:
        if action.ids:
            return list(action.ids)
        found: list[str] = []
        before = 0.0
        while True:
            entries = await self._queue.dead(action.namespace, _lane(action), limit=BITE, before=before)
            found += [entry.id for entry in entries]
            if len(entries) < BITE:
                return found
            before = entries[-1].ended

    # --- replay -----------------------------------------------------------------------------------------------------

    async def input(self, action: a.GetInput) -> a.Recording:
        """What a call was given, or the event of that id. Raises NotFound for what was not recorded or is kept no more."""
        entry = await self._queue.status(action.id)
        if entry is not None and entry.namespace == action.namespace and entry.event is not None:
            event = await self._brokers.at(entry.event)
            if event is not None:
                return a.Recording(event=event.event)
        call = await self._queue.call(action.id) if entry is not None and entry.lane.startswith("f:") else None
        if call is not None and call.namespace == action.namespace:
            return a.Recording(call=call)
        try:
            found = await self._brokers.get(a.GetEvent(namespace=action.namespace, id=action.id))
        except NotFound:
            return a.Recording(call=await self.given(action.namespace, action.id))
        return a.Recording(event=found.event)

    async def replay(self, action: a.Replay) -> tuple[str, ...]:
        entry = await self._queue.status(action.id)
        recording = await self.input(a.GetInput(namespace=action.namespace, id=action.id))
        if recording.call is not None:
            call = replace(
                recording.call,
                function=action.function or recording.call.function,
                qualifier=action.qualifier or recording.call.qualifier if not action.function else action.qualifier,
                invocation=new_id(),
                mode=Mode.ASYNC,
                cause=action.id,
                attempt=1,
                delay_s=0.0,
                idempotency_key="",
            )
            return (await self._queue.enqueue(call),)
        assert recording.event is not None
        event = recording.event
        if action.function or (entry is not None and entry.function and action.qualifier):
            function = action.function or (entry.function if entry is not None else "")
            return (await self._call(action, function, event),)
        if entry is not None and entry.lane.startswith("t:"):
            names = [entry.lane[2:]]
        else:
            found = await self._brokers.get(a.GetEvent(namespace=action.namespace, id=action.id))
            names = (
                [found.trigger]
                if found.trigger
                else [trigger.name for trigger in self._catalog.matching(action.namespace, found.broker, event)]
            )
        ids: list[str] = []
        for name in names:
            fired = await self._brokers.fire(a.FireTrigger(namespace=action.namespace, name=name, events=(event,)))
            ids += [delivery.id for published in fired for delivery in published.deliveries]
        return tuple(ids)

    async def _call(self, action: a.Replay, function: str, event: Event) -> str:
        to = Destination(kind="function", name=function, qualifier=action.qualifier)
        plan = self._router.to(action.namespace, to, event, cause=action.id)
        await self._queue.put((), plan.items)
        return plan.items[0].id


async def _nothing(namespace: str, id: str) -> Invoke:
    raise NotFound(f"no input is kept of {id[:80]!r} in {namespace}")


def _lane(action: a.ListDead | a.Redrive | a.PurgeDead) -> str:
    chosen = [
        make(name)
        for make, name in (
            (function_lane, action.function),
            (trigger_lane, action.trigger),
            (queue_lane, action.queue),
        )
        if name
    ]
    if len(chosen) > 1:
        raise BadInput("Name a function, a trigger or a queue, not several.")
    return chosen[0] if chosen else ""


def dead(entry: Entry) -> Dead:
    """A dead item without what it carries."""
    kind, name = entry.lane[:2], entry.lane[2:]
    return Dead(
        id=entry.id,
        namespace=entry.namespace,
        trigger=name if kind == "t:" else "",
        function=entry.function,
        queue=name if kind == "q:" else "",
        condition=entry.condition or Condition.RETRIES_EXHAUSTED,
        reason=entry.last_error,
        attempts=entry.attempt,
        created=entry.created,
        ended=entry.ended,
    )
