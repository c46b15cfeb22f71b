"""Having an instance before there is a call for it."""

from __future__ import annotations

import asyncio

from ..errors import DayflyError
from ..model.function import Revision
from .group import Waiter
from .instance import Instance
from .pool import Pool


class _Trial(Waiter):
    """Waits in the queue like a call, and only wants to know whether there is an instance."""

    def __init__(self) -> None:
        self.done = False
        self.future: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()

    def assigned(self, instance: Instance) -> None:
        if not self.future.done():
            self.future.set_result(instance)

    def refused(self, error: DayflyError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


async def warm(pool: Pool, revision: Revision) -> None:
    """Return once an instance of the revision is ready; raises why it cannot be (InitFailed, InstanceDied, Unavailable...)."""
    group = pool.group(revision)
    trial = _Trial()
    instance = group.acquire(trial)
    if instance is None:
        try:
            instance = await trial.future
        except asyncio.CancelledError:
            trial.done = True
            group.forsake()
            raise
    group.release(instance)
    group.reserve(revision.config.min_instances)
