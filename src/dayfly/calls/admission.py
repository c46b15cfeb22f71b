"""The gateway's way in: who may call, and which calls go to the disk first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..actions import Invoke
from ..clock import Clock
from ..errors import DayflyError
from ..model.call import Mode, Result
from ..model.function import Flavour
from ..model.identity import LOCAL, Identity
from ..workflows.engine import Run
from .body import event_body
from .call import Call, Client
from .dispatcher import Dispatcher

WINDOW = 600.0  # seconds a synchronous call's answer is kept for its idempotency key
KEPT = 4096  # answers
KEPT_BYTES = 64 << 20  # of all kept answers together


class Admission:
    """What `gateway.edge.Dispatch` asks for. `check` raises Forbidden, or whatever else keeps a caller out."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        accept: Callable[[Invoke], Awaitable[str]],
        check: Callable[[Invoke, Identity], None],
        clock: Clock,
        rate: Callable[[str], None] = lambda namespace: None,
    ) -> None:
        """`rate(namespace)` counts a request of a namespace with a quota, and raises Throttled."""
        self._dispatcher = dispatcher
        self._accept = accept
        self.check = check
        self._clock = clock
        self._rate = rate
        self._once: OrderedDict[tuple[str, str, str], tuple[float, asyncio.Future[Result]]] = OrderedDict()
        self._once_bytes = 0

    def begin(self, invoke: Invoke, client: Client, identity: Identity, body_done: bool) -> Call | Run:
        """Start a synchronous call (see Dispatcher.begin)."""
        if identity is not LOCAL:  # who may do everything
            self.check(invoke, identity)
        if self._dispatcher.quotas:
            self._rate(invoke.namespace)
        return self._dispatcher.begin(invoke, client, body_done=body_done)

    def streams(self, invoke: Invoke) -> bool:
        revision = self._dispatcher.routes.resolve(invoke.namespace, invoke.function, invoke.qualifier)
        return revision.config.flavour is Flavour.HTTP

    async def enqueue(self, invoke: Invoke, identity: Identity) -> str:
        """Accept an asynchronous call: on disk when this returns its id. What is wrong with it is said now, not later."""
        self.check(invoke, identity)
        if self._dispatcher.quotas:
            self._rate(invoke.namespace)
        revision = self._dispatcher.routes.resolve(invoke.namespace, invoke.function, invoke.qualifier)
        if revision.config.flavour is Flavour.EVENT:
            event_body(invoke)
        return await self._accept(invoke)

    async def once(self, invoke: Invoke, identity: Identity) -> Result:
        """A synchronous call with an idempotency key: the second one with the same key gets the answer of the first, also
        while that is still under way. Answers are kept in memory for WINDOW seconds; failures of the platform are not."""
        self.check(invoke, identity)
        if self._dispatcher.quotas:
            self._rate(invoke.namespace)
        self._forget()
        key = (invoke.namespace, invoke.function, invoke.idempotency_key)
        kept = self._once.get(key)
        if kept is not None:
            return await asyncio.shield(kept[1])
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._once[key] = (self._clock.monotonic(), future)
        invoke.mode = Mode.SYNC
        try:
            result = await self._dispatcher.invoke(invoke)
        except BaseException as error:
            self._once.pop(key, None)
            if isinstance(error, DayflyError):
                future.set_exception(error)
                future.exception()  # whoever waits has it; nobody waiting is fine
            else:
                future.cancel()
            raise
        future.set_result(result)
        self._once_bytes += len(result.body)
        return result

    def _forget(self) -> None:
        before = self._clock.monotonic() - WINDOW
        while self._once:
            key, (made, future) = next(iter(self._once.items()))
            over = len(self._once) >= KEPT or self._once_bytes > KEPT_BYTES
            if not future.done() or (made > before and not over):
                return
            del self._once[key]
            if not future.cancelled() and future.exception() is None:
                self._once_bytes -= len(future.result().body)
