"""What becomes of a delivery after an attempt: pure decisions, no clock and no dice of its own.

* It worked: done.
* User code failed (raised, answered 5xx, timed out, killed its instance, did not load): the attempt counts. The policy says how
  many attempts there are and how long to wait before each. An answer with Retry-After is waited for at least that long.
* Dayfly could not run it (throttled, no instance, a fault of its own): the attempt does not count. Back off, doubling from one second
  to five minutes, until the call is too old.
* It can never work (the function is gone, the request is invalid, not allowed): dead at once.

A retry that would come after the maximum age makes it dead now: nobody learns anything from waiting.
"""

from __future__ import annotations

import enum
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from .. import errors
from ..model.call import Result
from ..model.delivery import Backoff, Condition, Policy
from ..model.profile import Profile

BACKOFF_FIRST: Final = 1.0  # seconds
BACKOFF_LAST: Final = 300.0  # seconds
RETRY_AFTER_LAST: Final = 3600.0  # seconds a target may ask us to wait
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
    BLOCKED = "blocked"  # waits for the one before it with the same key
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
    condition: Condition = Condition.SUCCESS


def of_profile(profile: Profile) -> Policy:
    """How asynchronous calls of a function are delivered, unless something else is set for it."""
    return Policy(
        max_attempts=profile.async_retries + 1,
        delays_s=profile.async_delays or (0.0,),
        jitter=SPREAD,
        max_age_s=profile.async_max_age,
    )


def decide(outcome: Result | errors.DayflyError, progress: Progress, policy: Policy, now: float, jitter: float) -> Retry | End:
    """`jitter` is a random number from [0, 1)."""
    if isinstance(outcome, errors.Cancelled):
        return End(State.CANCELLED, progress.attempt, explain(outcome), Condition.CANCELLED)
    if isinstance(outcome, HOPELESS):
        return End(State.DEAD, progress.attempt, explain(outcome), Condition.NOT_POSSIBLE)
    attempt, deferrals = progress.attempt + 1, 0
    if isinstance(outcome, Result):
        if outcome.error is None and outcome.status < 500:
            return End(State.DONE, attempt)
        counts = True
    else:
        counts = isinstance(outcome, COUNTS)
    reason = explain(outcome)
    if counts:
        if attempt >= policy.max_attempts:
            return End(State.DEAD, attempt, reason, Condition.RETRIES_EXHAUSTED)
        delay = max(pause(attempt, policy), asked(outcome, now))
        spread = policy.jitter
    else:
        attempt, deferrals = progress.attempt, progress.deferrals + 1
        delay = backoff(deferrals)
        if isinstance(outcome, errors.DayflyError) and outcome.retry_after is not None:
            delay = min(max(delay, outcome.retry_after), BACKOFF_LAST)
        spread = SPREAD
    due = now + delay * (1.0 + spread * jitter)
    if due > progress.accepted + policy.max_age_s:
        why = clip(f"too old for another attempt; the last one: {reason}")
        return End(State.DEAD, attempt, why, Condition.EVENT_AGE_EXCEEDED)
    return Retry(due, attempt, deferrals, reason)


def expired(progress: Progress, policy: Policy, now: float) -> End | None:
    """The end of an item that is too old to be tried at all, else None."""
    age = now - progress.accepted
    if age <= policy.max_age_s:
        return None
    reason = f"too old: accepted {age:.0f} s ago, the limit is {policy.max_age_s:.0f} s"
    return End(State.DEAD, progress.attempt, reason, Condition.EVENT_AGE_EXCEEDED)


def pause(attempt: int, policy: Policy) -> float:
    """Seconds to wait after so many attempts (from 1), before jitter."""
    if policy.delays_s:
        return policy.delays_s[min(attempt, len(policy.delays_s)) - 1]
    if policy.backoff is Backoff.FIXED:
        return policy.delay_s
    factor = attempt if policy.backoff is Backoff.LINEAR else 2 ** min(attempt - 1, 32)
    return float(min(policy.delay_s * factor, policy.max_delay_s))


def asked(outcome: Result | errors.DayflyError, now: float) -> float:
    """Seconds that the answer asks to wait (Retry-After: seconds or a date, RFC 9110), at most RETRY_AFTER_LAST; 0 if it does not."""
    if not isinstance(outcome, Result):
        return 0.0
    text = next((value for name, value in outcome.headers if name == "retry-after"), "").strip()
    try:
        seconds = float(text) if text.isascii() and text.isdigit() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), RETRY_AFTER_LAST)


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
