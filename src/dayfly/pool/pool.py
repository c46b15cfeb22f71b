"""All instances of this cell, by revision; cold starts bounded, memory bounded.

Starts are single-flight per waiting call (see group.py) and at most `concurrent_starts` are under way at a time: beyond that, kernel
locks and the cores make every start slower. What waits for a start is served in order of arrival, across functions.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..clock import Clock
from ..errors import DayflyError, Throttled
from ..model.function import Isolation, Revision
from ..model.ids import new_id
from ..model.instance import InstanceInfo, State
from ..model.quota import Quota
from ..sandbox.port import BoxEvents, BoxSpec, Sandbox
from .evict import Candidate, GreedyDual
from .frost import Frost
from .group import Group
from .instance import Instance


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds of one cell."""

    instances: int = 2000
    memory_mb: int = 0  # of all instances together, as measured; 0: no bound
    instance_mb: float = 8.0  # assumed of an instance that was not measured yet
    concurrent_starts: int = 8
    queue_per_function: int = 1000  # calls that wait for an instance
    queue_timeout_s: float = 30.0  # how long one waits at most
    processors: int = msgspec.field(default_factory=lambda: len(os.sched_getaffinity(0)))  # that instances compute on


class Pool:
    """Groups by revision key, and the bounds over all of them."""

    def __init__(
        self,
        sandbox: Sandbox,
        clock: Clock,
        environment: Callable[[Revision], dict[str, str]],
        limits: Limits,
        *,
        token: Callable[[Revision, str], str] = lambda revision, instance: "",
    ) -> None:
        """`token`: by which an instance, given by its id, shows the platform who it is."""
        self.sandbox = sandbox
        self.clock = clock
        self.limits = limits
        self.groups: dict[str, Group] = {}
        self.instances = 0
        self.cold_starts = 0
        self._environment = environment
        self._token = token
        self._starting = 0
        self._start_queue: deque[tuple[Group, Instance]] = deque()
        self.evictor = GreedyDual()
        self.frost = Frost(clock)
        self.quotas: Mapping[str, Quota] = {}  # by namespace
        self.refusal: DayflyError | None = None  # why the last instance that was wanted could not be had, if a quota is why
        self._ending: set[asyncio.Task[None]] = set()

    def group(self, revision: Revision) -> Group:
        """The group of this revision, made on first use."""
        key = revision.key
        group = self.groups.get(key)
        if group is None or group.revision.digest != revision.digest:  # a number is given again if its deploy failed
            group = self.groups[key] = Group(self, revision)
        return group

    # --- starting ------------------------------------------------------------------------------------------------

    def start(self, group: Group, *, load_s: float = 0.0) -> Instance | None:
        """Start one more instance of the group, when its turn comes; with `load_s`, the seconds that it may take to load, now. None:
        the group has its maximum, those that end with their last call included, or there is no room."""
        if len(group.instances) >= group.config.max_instances or not self._make_room(group):
            return None
        now = self.clock
        instance = Instance(new_id(), group, group.config.concurrency, now.now(), now.monotonic())
        group.instances[instance.id] = instance
        group.starting += 1
        self.instances += 1
        wait = 0.0 if load_s else group.crashes.wait(instance.created_mono)
        if wait:
            self.clock.call_later(wait, lambda: self._turn(group, instance))
        elif load_s or self._starting < self.limits.concurrent_starts:
            self._launch(group, instance, load_s)
        else:
            self._start_queue.append((group, instance))
        return instance

    def _turn(self, group: Group, instance: Instance) -> None:
        self._start_queue.append((group, instance))
        self._start_next()

    def _launch(self, group: Group, instance: Instance, load_s: float = 0.0) -> None:
        self._starting += 1
        self.cold_starts += 1
        instance.fresh = True
        instance.created_mono = self.clock.monotonic()
        spec = self.spec(group.revision, instance.id)
        instance.box = self.sandbox.create(replace(spec, init_timeout_s=load_s) if load_s else spec, instance)

    def started(self, instance: Instance) -> None:
        """A start has ended, well or not: the next in line begins."""
        if not hasattr(instance, "box"):
            return  # it was still waiting for its turn
        self._starting -= 1
        self._start_next()

    def _start_next(self) -> None:
        while self._start_queue and self._starting < self.limits.concurrent_starts:
            group, following = self._start_queue.popleft()
            if following.state is not State.STARTING:
                continue
            if len(group.waiting) > group.gave_up or len(group.instances) <= group.config.min_instances:
                self._launch(group, following)
            else:
                group.kill(following)  # those it was meant for were served meanwhile

    def spec(self, revision: Revision, identifier: str) -> BoxSpec:
        """What the sandbox must know to run one instance of this revision."""
        config = revision.config
        return BoxSpec(
            id=identifier,
            namespace=revision.namespace,
            function=revision.function,
            revision=revision.number,
            runtime=config.runtime,
            handler=config.handler,
            flavour=config.flavour.value,
            contract=config.contract,
            options=config.options,
            mounts=revision.artifact.mounts,
            env=self._environment(revision),
            memory_mb=config.memory_mb,
            cpu=config.cpu,
            tmp_mb=config.tmp_mb,
            pids=config.pids,
            concurrency=config.concurrency,
            init_timeout_s=config.init_timeout_s,
            timeout_s=config.timeout_s,
            freeze_s=config.freeze_s,
            network=config.network.value,
            allow=config.allow,
            bandwidth_mbit=config.bandwidth_mbit,
            token=self._token(revision, identifier),
        )

    async def adopt(self, find: Callable[[BoxSpec], Revision | None]) -> int:
        """Take over instances that outlived the last server; those of unknown revisions are destroyed by the sandbox."""
        found: dict[str, Instance] = {}

        def claim(spec: BoxSpec) -> BoxEvents | None:
            revision = find(spec)
            if revision is None or self._environment(revision) != spec.env:
                return None
            if revision.config.isolation is Isolation.PER_INVOCATION:
                return None  # it may have had its call
            group = self.group(revision)
            instance = Instance(spec.id, group, spec.concurrency, self.clock.now(), self.clock.monotonic())
            instance.fresh = False
            group.instances[instance.id] = instance
            group.starting += 1
            self._starting += 1
            self.instances += 1
            found[spec.id] = instance
            return instance

        for box in await self.sandbox.adopt(claim):
            found[box.spec.id].box = box
        return len(found)

    # --- room --------------------------------------------------------------------------------------------------------

    def memory_mb(self) -> float:
        """What all instances use, as far as it was measured."""
        assumed = self.limits.instance_mb
        return sum(
            instance.memory_kb / 1024 if instance.memory_kb else assumed
            for group in self.groups.values()
            for instance in group.instances.values()
        )

    def fit(self, namespace: str, group: Group | None = None) -> bool:
        """Whether the namespace is within its quota, with one more instance of the group if that is given. While it is not, its
        idle instances go, the longest idle one first."""
        quota = self.quotas.get(namespace)
        if quota is None:
            return True
        mine = [other for other in self.groups.values() if other.revision.namespace == namespace]
        while True:
            instances = sum(len(other.instances) for other in mine)
            memory = sum(len(other.instances) * other.config.memory_mb for other in mine)
            few = not quota.instances or instances + (group is not None) <= quota.instances
            small = not quota.memory_mb or memory + (group.config.memory_mb if group is not None else 0) <= quota.memory_mb
            if few and small:
                return True
            idle = [instance for other in mine if other is not group for instance in other.idle]
            if not idle:
                self.refusal = _over_quota(namespace, quota, instances, memory, few)
                return False
            oldest = min(idle, key=lambda instance: instance.idle_since)
            oldest.group.retire(oldest)

    def _make_room(self, group: Group) -> bool:
        self.refusal = None
        if self.quotas and not self.fit(group.revision.namespace, group):
            return False
        limits = self.limits
        full = self.instances >= limits.instances
        if not full and limits.memory_mb and self.instances * limits.instance_mb > 0.5 * limits.memory_mb:
            full = self.memory_mb() + limits.instance_mb > limits.memory_mb
        if not full:
            return True
        candidates = [
            Candidate(
                id=instance,
                frequency=sum(i.calls for i in other.instances.values()),
                cost=other.cold_cost_s or 0.01,
                size=instance.memory_kb / 1024 or limits.instance_mb,
                used=instance.used,
            )
            for other in self.groups.values()
            if len(other.instances) > other.config.min_instances
            for instance in other.idle
        ]
        victim = self.evictor.evict(candidates)
        if victim is None:
            return False
        victim.group.retire(victim)
        return True

    # --- ending ------------------------------------------------------------------------------------------------------

    def stop(self, instance: Instance) -> None:
        """Destroy the instance in the background; its group forgets it at once."""
        group = instance.group
        instance.state = State.STOPPED
        group.instances.pop(instance.id, None)
        self.gone(instance)
        if hasattr(instance, "box"):
            task = asyncio.ensure_future(instance.box.destroy())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def gone(self, instance: Instance) -> None:
        """An instance is out of the books."""
        self.instances -= 1
        self.forget(instance.group)

    def forget(self, group: Group) -> None:
        """Drop a group that nothing leads to and that is empty."""
        key = group.revision.key
        if not group.reachable and not group.instances and not group.waiting and self.groups.get(key) is group:
            del self.groups[key]

    def infos(self) -> Iterator[InstanceInfo]:
        """All instances as the API shows them."""
        for group in self.groups.values():
            for instance in group.instances.values():
                yield instance.info()

    async def settle(self) -> None:
        """Wait until everything that is being destroyed is gone."""
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)


def _over_quota(namespace: str, quota: Quota, instances: int, memory: int, few: bool) -> Throttled:
    name, limit, what = ("memory_mb", quota.memory_mb, "MiB of memory") if few else ("instances", quota.instances, "instances")
    return Throttled(
        f"the namespace {namespace} may have {limit} {what} in use, and it has {memory if few else instances}: its quota {name}",
        hint="Try again later, or ask the operator of this server for more.",
        retry_after=1.0,
        quota=name,
        limit=limit,
    )
