"""Quotas of namespaces: what may be admitted is decided before anything is done, in memory, in one step.

What takes time (a deploy, an accepted event) is counted from the moment it is admitted until it is stored, so that many at once cannot
all see the same free place. Nothing is asked of namespaces without a quota.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from ..actions import GetQuota, Invoke, Performers, PublishEvents, SendMessages, SetQuota
from ..clock import Clock
from ..errors import DayflyError, QuotaExceeded, Throttled
from ..model.call import Mode
from ..model.function import Artifact, MiB
from ..model.identity import Identity
from ..model.quota import Quota, QuotaInfo
from ..store.port import Store
from .registry import Registry

T = TypeVar("T")
_decode = msgspec.json.Decoder(Quota).decode


class Quotas:
    """Performs the actions on quotas, and admits. `limits` is shared with who bounds calls and instances."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        running: Callable[[str], tuple[int, int, int]],
        changed: Callable[[str], object],
    ) -> None:
        """`running(namespace)` tells its instances, their memory in MiB, and its calls under way; `changed(namespace)` is told
        when it has got another quota."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._running = running
        self._changed = changed
        self.limits: dict[str, Quota] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # requests left, and when that was
        self._deploying: dict[str, Counter[str]] = {}  # names of functions that are being made, by namespace
        self._storing: Counter[str] = Counter()  # bytes, by namespace
        self.objects: Counter[str] = Counter()  # bytes, by namespace; whoever keeps them counts
        self._queueing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by namespace with such a quota

    def performers(self) -> Performers:
        """Who performs which action."""
        return {
            SetQuota: self.set,
            GetQuota: self.get,
        }

    async def load(self) -> None:
        for namespace, body in await self._store.fetch("quotas_all"):
            self.limits[namespace] = _decode(body)

    async def set(self, action: SetQuota) -> QuotaInfo:
        """Raises NotFound."""
        self._registry.require_namespace(action.namespace)
        row = {"namespace": action.namespace, "body": msgspec.json.encode(action.quota)}
        await self._store.commit(("quota_put", row), notes=[("quota", action.namespace)])
        self.limits.pop(action.namespace, None)
        if action.quota != Quota():
            self.limits[action.namespace] = action.quota
        self._buckets.pop(action.namespace, None)
        self._changed(action.namespace)
        return await self.get(GetQuota(namespace=action.namespace))

    async def get(self, action: GetQuota) -> QuotaInfo:
        namespace = action.namespace
        self._registry.require_namespace(namespace)
        instances, memory, calls = self._running(namespace)
        [(queued,)] = await self._store.fetch("quota_queued", namespace=namespace)
        quota = self.limits.get(namespace, Quota())
        used = Quota(
            functions=len(self._registry.functions(namespace)),
            instances=instances,
            memory_mb=memory,
            requests_per_s=int(self._left(namespace, quota.requests_per_s)),
            concurrent_calls=calls,
            queued_events=queued,
            storage_mb=-(-self._stored(namespace) // MiB),
        )
        return QuotaInfo(namespace=namespace, quota=quota, used=used)

    def forget(self, namespace: str) -> None:
        """The namespace is gone."""
        if self.limits.pop(namespace, None) is not None:
            self._store.write_behind(("quota_delete", {"namespace": namespace}))
        self._buckets.pop(namespace, None)
        self._queueing.pop(namespace, None)

    # --- requests ------------------------------------------------------------------------------------------------------

    def admit_request(self, namespace: str) -> None:
        """Count one request. Raises Throttled."""
        quota = self.limits.get(namespace)
        if quota is None or not quota.requests_per_s:
            return
        left = self._left(namespace, quota.requests_per_s)
        if left < 1:
            raise throttled(
                namespace, "requests_per_s", quota.requests_per_s, "requests a second", (1 - left) / quota.requests_per_s
            )
        self._buckets[namespace] = (left - 1, self._clock.monotonic())

    def _left(self, namespace: str, rate: int) -> float:
        now = self._clock.monotonic()
        left, then = self._buckets.get(namespace, (float(rate), now))
        return min(float(rate), left + (now - then) * rate)

    # --- deploys -------------------------------------------------------------------------------------------------------

    @contextmanager
    def deploying(self, namespace: str, name: str) -> Iterator[None]:
        """The function may be made in this block. Raises QuotaExceeded."""
        quota = self.limits.get(namespace)
        making = self._deploying.setdefault(namespace, Counter())
        if quota is not None and quota.functions and self._registry.find(namespace, name) is None and name not in making:
            there = {function.name for function in self._registry.functions(namespace)} | set(making)
            if len(there) >= quota.functions:
                raise exceeded(namespace, "functions", quota.functions, f"it has {len(there)} functions")
        making[name] += 1
        try:
            yield
        finally:
            making[name] -= 1
            if not making[name]:
                del making[name]
            if not making:
                self._deploying.pop(namespace, None)

    @contextmanager
    def storing(self, namespace: str, artifact: Artifact) -> Iterator[None]:
        """The revision may be stored in this block. Raises QuotaExceeded."""
        with self.claiming(namespace) as take:
            take(0 if artifact.digest in self._artifacts(namespace) else artifact.size)
            yield

    @contextmanager
    def claiming(self, namespace: str) -> Iterator[Callable[[int], None]]:
        """Gives a function that claims bytes for what is stored in this block. It raises QuotaExceeded."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            quota = self.limits.get(namespace)
            if quota is not None and quota.storage_mb and size:
                stored = self._stored(namespace) + self._storing[namespace]
                if stored + size > quota.storage_mb * MiB:
                    has = f"it has {stored / MiB:.1f} MiB, and this would be {size / MiB:.1f} more"
                    raise exceeded(namespace, "storage_mb", quota.storage_mb, has)
            self._storing[namespace] += size
            taken += size

        try:
            yield take
        finally:
            self._storing[namespace] -= taken
            if not self._storing[namespace]:
                del self._storing[namespace]

    def _artifacts(self, namespace: str) -> dict[str, int]:
        """Sizes by digest: what revisions share is stored once."""
        return {artifact.digest: artifact.size for artifact in self._registry.artifacts(namespace)}

    def _stored(self, namespace: str) -> int:
        return sum(self._artifacts(namespace).values()) + self.objects[namespace]

    # --- the queue -----------------------------------------------------------------------------------------------------

    async def queueing(self, namespace: str, count: int, accept: Callable[[], Awaitable[T]]) -> T:
        """Accept so many events. Raises Throttled."""
        quota = self.limits.get(namespace)
        if quota is None or not quota.queued_events:
            return await accept()
        async with self._queueing[namespace]:  # one after the other: who counts sees all that were accepted before
            [(queued,)] = await self._store.fetch("quota_queued", namespace=namespace)
            if queued + count > quota.queued_events:
                raise throttled(namespace, "queued_events", quota.queued_events, f"waiting events, and {queued} wait", 30.0)
            return await accept()

    def guard(self, handler: Callable[[Any, Identity], Awaitable[Any]]) -> Callable[[Any, Identity], Awaitable[Any]]:
        """Middleware of the façade, for what is accepted there."""

        async def bounded(action: Any, identity: Identity) -> Any:
            kind = type(action)
            if not self.limits or kind not in (Invoke, PublishEvents, SendMessages):
                return await handler(action, identity)
            if kind is Invoke:
                self.admit_request(action.namespace)
                count = int(action.mode is not Mode.SYNC)
            else:
                count = len(action.events if kind is PublishEvents else action.messages)
            if not count:
                return await handler(action, identity)
            return await self.queueing(action.namespace, count, lambda: handler(action, identity))

        return bounded


def throttled(namespace: str, name: str, limit: int, what: str, retry_after: float) -> Throttled:
    return Throttled(
        f"the namespace {namespace} may have {limit} {what}: its quota {name}",
        hint="Try again later, or ask the operator of this server for more.",
        retry_after=max(0.1, retry_after),
        quota=name,
        limit=limit,
    )


def exceeded(namespace: str, name: str, limit: int, has: str) -> DayflyError:
    return QuotaExceeded(
        f"the quota {name} of the namespace {namespace} is {limit}: {has}",
        hint="Delete something, or ask the operator of this server for more (dayfly namespace quota).",
        quota=name,
        limit=limit,
    )
