"""One attempt to deliver an item: what is run, what came of it, and what that changes in the store."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from ..actions import Invoke
from ..clock import Clock
from ..errors import DayflyError, Internal
from ..model.call import Result
from ..model.profile import NATIVE, Profile
from ..store.port import Statement
from .queue import decode_call, encode_result
from .retry import End, Progress, Retry, State, decide, expired

log = logging.getLogger("dayfly.delivery")

Run = Callable[[Invoke], Awaitable[Result]]
ProfileOf = Callable[[Invoke], Profile]


class Item(NamedTuple):
    """A leased item."""

    id: str
    epoch: int
    attempt: int
    deferrals: int
    created: float
    body: bytes


class Outcome(NamedTuple):
    """What became of an attempt. `invoke` is None where the stored call could not be read."""

    invoke: Invoke | None
    result: Result | None
    verdict: Retry | End


async def attempt(item: Item, run: Run, profile_of: ProfileOf, clock: Clock, jitter: Callable[[], float]) -> Outcome:
    """Run the call, unless it is too old, and decide what follows. Raises nothing but CancelledError."""
    try:
        invoke = decode_call(item.body)
    except msgspec.DecodeError as error:
        return Outcome(None, None, End(State.DEAD, item.attempt, f"the stored call cannot be read: {error}"))
    progress = Progress(item.attempt, item.deferrals, item.created + invoke.delay_s)
    answer: Result | DayflyError
    profile = NATIVE  # where the function's own cannot be had
    try:
        profile = profile_of(invoke)
        over = expired(progress, profile, clock.now())
        if over is not None:
            return Outcome(invoke, None, over)
        answer = await run(msgspec.structs.replace(invoke, attempt=item.attempt + 1, delay_s=0.0))
    except DayflyError as error:
        answer = error
    except Exception:
        log.exception("a fault of Dayfly while it ran %s", item.id)
        answer = Internal("The call could not be run.")
    verdict = decide(answer, progress, profile, clock.now(), jitter())
    return Outcome(invoke, answer if isinstance(answer, Result) else None, verdict)


def changes(item: Item, outcome: Outcome, now: float) -> list[Statement]:
    """What to write, in one transaction; nothing of it takes effect if the lease was lost."""
    fenced = {"id": item.id, "epoch": item.epoch}
    verdict = outcome.verdict
    change = fenced | {"attempt": verdict.attempt, "last_error": verdict.reason}
    if isinstance(verdict, Retry):
        return [("queue_retry", change | {"deferrals": verdict.deferrals, "due": verdict.due})]
    statements: list[Statement] = [("queue_end", change | {"state": verdict.state.value, "ended": now})]
    if outcome.result is not None:
        try:
            statements.append(("queue_keep_result", fenced | {"body": encode_result(outcome.result)}))
        except UnicodeEncodeError:
            log.warning("the answer of %s is not kept: it holds text that is not Unicode", item.id)
    return statements
