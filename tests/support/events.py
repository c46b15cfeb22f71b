"""The parts of events put together for tests, over any store and clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dayfly.actions import Invoke
from dayfly.events.catalog import Catalog
from dayfly.events.courier import Courier
from dayfly.events.delivery import OVERALL, Delivery
from dayfly.events.queue import AsyncQueue
from dayfly.events.retry import End, of_profile
from dayfly.events.routing import Router
from dayfly.events.subscription import PER_FUNCTION, Subscription, Subscriptions
from dayfly.model.call import Result
from dayfly.model.function import Flavour
from dayfly.model.profile import NATIVE, Profile


async def nowhere(*_: Any) -> Result:
    raise AssertionError("nothing is posted here")


def delivery_of_calls(
    queue: AsyncQueue,
    run: Callable[[Invoke], Awaitable[Result]],
    profile_of: Callable[[Invoke], Profile] = lambda _: NATIVE,
    *,
    on_end: Callable[[Invoke, End], None] = lambda *_: None,
    per_function: int = PER_FUNCTION,
    overall: int = OVERALL,
) -> Delivery:
    """A delivery of asynchronous calls, without jitter. `on_end` is told of ends, not of retries."""
    catalog = Catalog(
        queue.store,
        queue.clock,
        exists=lambda _: True,
        require_function=lambda *_: None,
    )
    courier = Courier(
        Router(catalog, queue.clock),
        run,
        lambda invoke: of_profile(profile_of(invoke)),
        lambda *_: Flavour.EVENT,
        nowhere,
        queue.clock,
        lambda: 0.0,
    )

    def told(_: Subscription, outcome: Any) -> None:
        if isinstance(outcome.verdict, End) and outcome.call is not None:
            on_end(outcome.call, outcome.verdict)

    subscriptions = Subscriptions(catalog, per_function=per_function)
    return Delivery(queue, courier.attempt, subscriptions.find, on_end=told, overall=overall)
