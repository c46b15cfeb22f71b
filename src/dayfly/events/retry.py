"""What becomes of an asynchronous call after an attempt: pure decisions, no clock and no dice of its own.

* It worked: done.
* User code failed (raised, answered 5xx, timed out, killed its instance, did not load): the attempt counts. The profile says how
  many retries there are and how long to wait before each.
* Dayfly could not run it (throttled, no instance, a fault of its own): the attempt does not count. Back off, doubling from one second
  to five minutes, until the call is too old.
* It can never work (the function is gone, the request is invalid, not allowed): dead at once.

A retry that would come after the call's maximum age makes it dead now: nobody learns anything from waiting.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from .. import errors
from ..model.call import Result
from ..model.profile import Profile

BACKOFF_FIRST: Final = 1.0  # seconds
BACKOFF_LAST: Final = 300.0  # seconds
SPREAD: Final = 0.2  # a delay is stretched by up to this share, so that what failed together does not return together
REASON_LIMIT: Final = 1000  # characters

# What user code did, as errors of the platform; InstanceDied and BadResponse included.
COUNTS: Final = (errors.TimedOut, errors.InstanceDied, errors.BadResponse, errors.InitFailed)
HOPELESS: Final = (
    errors.BadInput,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.NotFound,
    errors.Conflict,
    errors.BuildFailed,
)


class State(enum.StrEnum):
    """Of an item in the queue. The last three are final (though a dead one can be redriven)."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Progress(NamedTuple):
    """How far an item has come."""

    attempt: int  # attempts that counted so far
    deferrals: int  # attempts in a row that did not
    accepted: float  # seconds since the epoch from which its age counts


class Retry(NamedTuple):
    due: float  # seconds since the epoch
    attempt: int
    deferrals: int
    reason: str


class End(NamedTuple):
    state: State
    attempt: int
    reason: str = ""


def decide(
    outcome: Result | errors.DayflyError, progress: Progress, profile: Profile, now: float, jitter: float
) -> Retry | End:
    """`jitter` is a random number from [0, 1)."""
    if isinstance(outcome, errors.Cancelled):
        return End(State.CANCELLED, progress.attempt, explain(outcome))
    if isinstance(outcome, HOPELESS):
        return End(State.DEAD, progress.attempt, explain(outcome))
    attempt, deferrals = progress.attempt + 1, 0
    if isinstance(outcome, Result):
        if outcome.error is None and outcome.status < 500:
            return End(State.DONE, attempt)
        counts = True
    else:
        counts = isinstance(outcome, COUNTS)
    reason = explain(outcome)
    if counts:
        if attempt > profile.async_retries:
            return End(State.DEAD, attempt, reason)
        delays = profile.async_delays or (0.0,)
        delay = delays[min(attempt, len(delays)) - 1]
    else:
        attempt, deferrals = progress.attempt, progress.deferrals + 1
        delay = backoff(deferrals)
        if isinstance(outcome, errors.DayflyError) and outcome.retry_after is not None:
            delay = min(max(delay, outcome.retry_after), BACKOFF_LAST)
    due = now + delay * (1.0 + SPREAD * jitter)
    if due > progress.accepted + profile.async_max_age:
        return End(State.DEAD, attempt, clip(f"too old for another attempt; the last one: {reason}"))
    return Retry(due, attempt, deferrals, reason)


def expired(progress: Progress, profile: Profile, now: float) -> End | None:
    """The end of an item that is too old to be tried at all, else None."""
    age = now - progress.accepted
    if age <= profile.async_max_age:
        return None
    return End(State.DEAD, progress.attempt, f"too old: accepted {age:.0f} s ago, the limit is {profile.async_max_age:.0f} s")


def backoff(deferrals: int) -> float:
    """Seconds to wait after the n-th deferral in a row (from 1)."""
    return float(min(BACKOFF_FIRST * 2.0 ** min(deferrals - 1, 32), BACKOFF_LAST))


def explain(outcome: Result | errors.DayflyError) -> str:
    """Why an attempt failed, in one line."""
    if isinstance(outcome, errors.DayflyError):
        return clip(f"{outcome.kind}: {outcome.detail}")
    if outcome.error is not None:
        return clip(f"{outcome.error.type}: {outcome.error.message}")
    return f"the function answered {outcome.status}"


def clip(text: str) -> str:
    """The text as it can be stored: not too long, and Unicode."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= REASON_LIMIT else text[:REASON_LIMIT] + " [cut]"
