"""What a lane is: whom it serves, and how."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from ..model.delivery import Destination, Policy
from ..model.trigger import Queue, Trigger
from .catalog import Catalog

PER_FUNCTION: Final = 16  # asynchronous calls of one function at the same time
PER_HOST: Final = 8  # posts to one host
UNLIMITED: Final = 10_000  # attempts: the queue's maximum age ends it


class Subscription(NamedTuple):
    namespace: str
    lane: str
    policy: Policy
    target: Destination | None = None  # None: every item says where it goes
    trigger: Trigger | None = None
    queue: Queue | None = None


class Subscriptions:
    """Finds the subscription of a lane, by what the catalogue has now."""

    def __init__(self, catalog: Catalog, *, per_function: int = PER_FUNCTION) -> None:
        self._catalog = catalog
        self._calls = Policy(concurrency=per_function)
        self._posts = Policy(concurrency=PER_HOST)

    def find(self, namespace: str, lane: str) -> Subscription | None:
        """None: nobody serves this lane (now)."""
        kind, name = lane[:2], lane[2:]
        if kind == "f:":
            return Subscription(namespace, lane, self._calls)
        if kind == "h:":
            return Subscription(namespace, lane, self._posts)
        queue = None
        if kind == "q:":
            queue = self._catalog.find_queue(namespace, name)
            trigger = self._catalog.consumer(namespace, name)
        else:
            trigger = self._catalog.find_trigger(namespace, name)
        if trigger is None or trigger.paused:
            return None
        policy = trigger.delivery
        if queue is not None:  # a queue says itself when a message is dead
            policy = replace(policy, max_attempts=queue.max_receives or UNLIMITED, max_age_s=queue.retention_s)
        return Subscription(namespace, lane, policy, trigger.target, trigger, queue)

    def limit(self, key: tuple[str, str]) -> int:
        """Deliveries of a lane at the same time; 0: it is not served."""
        found = self.find(*key)
        return found.policy.concurrency if found is not None else 0
