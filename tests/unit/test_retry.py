"""Retry decisions as tables."""

from __future__ import annotations

import pytest

from dayfly import errors
from dayfly.events.retry import BACKOFF_LAST, End, Progress, Retry, State, backoff, decide, expired, of_profile, pause
from dayfly.model.call import FunctionError, Result
from dayfly.model.delivery import Backoff, Condition, Policy
from dayfly.model.profile import Profile

NOW = 1000.0
PROFILE = Profile(name="p", async_retries=2, async_delays=(1.0, 5.0), async_max_age=100.0)
POLICY = of_profile(PROFILE)
FRESH = Progress(0, 0, NOW)
OK = Result(invocation="i")
RAISED = Result(invocation="i", error=FunctionError(type="ValueError", message="bad"))


@pytest.mark.parametrize(
    ("outcome", "progress", "verdict"),
    [
        (OK, FRESH, End(State.DONE, 1)),
        (Result(invocation="i", status=404), FRESH, End(State.DONE, 1)),
        (OK, Progress(2, 4, NOW), End(State.DONE, 3)),
        # user code failed: three attempts in all, 1 s and 5 s apart
        (RAISED, FRESH, Retry(NOW + 1, 1, 0, "ValueError: bad")),
        (RAISED, Progress(1, 7, NOW), Retry(NOW + 5, 2, 0, "ValueError: bad")),
        (RAISED, Progress(2, 0, NOW), End(State.DEAD, 3, "ValueError: bad", Condition.RETRIES_EXHAUSTED)),
        (Result(invocation="i", status=500), FRESH, Retry(NOW + 1, 1, 0, "the function answered 500")),
        (errors.TimedOut("slow"), FRESH, Retry(NOW + 1, 1, 0, "timed-out: slow")),
        (
            errors.InstanceDied("oom"),
            Progress(2, 0, NOW),
            End(State.DEAD, 3, "instance-died: oom", Condition.RETRIES_EXHAUSTED),
        ),
        (errors.InitFailed("syntax"), FRESH, Retry(NOW + 1, 1, 0, "init-failed: syntax")),
        (errors.BadResponse("huge"), FRESH, Retry(NOW + 1, 1, 0, "bad-response: huge")),
        # Dayfly could not: not an attempt, doubling backoff
        (errors.Throttled("busy"), FRESH, Retry(NOW + 1, 0, 1, "throttled: busy")),
        (errors.Unavailable("full"), Progress(2, 3, NOW), Retry(NOW + 8, 2, 4, "unavailable: full")),
        (errors.Internal("oops"), FRESH, Retry(NOW + 1, 0, 1, "internal: oops")),
        (errors.Throttled("busy", retry_after=30.0), FRESH, Retry(NOW + 30, 0, 1, "throttled: busy")),
        # never
        (errors.NotFound("gone"), FRESH, End(State.DEAD, 0, "not-found: gone", Condition.NOT_POSSIBLE)),
        (errors.TooLarge("big"), Progress(1, 0, NOW), End(State.DEAD, 1, "too-large: big", Condition.NOT_POSSIBLE)),
        (errors.Forbidden("no"), FRESH, End(State.DEAD, 0, "forbidden: no", Condition.NOT_POSSIBLE)),
        (errors.Cancelled("stop"), FRESH, End(State.CANCELLED, 0, "cancelled: stop", Condition.CANCELLED)),
        # too old for another
        (
            errors.Throttled("busy"),
            Progress(0, 6, NOW - 50),
            End(State.DEAD, 0, "too old for another attempt; the last one: throttled: busy", Condition.EVENT_AGE_EXCEEDED),
        ),
        (
            RAISED,
            Progress(1, 0, NOW - 96),
            End(State.DEAD, 2, "too old for another attempt; the last one: ValueError: bad", Condition.EVENT_AGE_EXCEEDED),
        ),
    ],
)
def test_decide(outcome: Result | errors.DayflyError, progress: Progress, verdict: Retry | End) -> None:
    assert decide(outcome, progress, POLICY, NOW, 0.0) == verdict


def test_the_last_delay_repeats_and_no_delays_mean_at_once() -> None:
    many = of_profile(Profile(name="p", async_retries=9, async_delays=(1.0, 5.0)))
    none = of_profile(Profile(name="p", async_retries=9, async_delays=()))
    never = of_profile(Profile(name="p", async_retries=0))
    assert decide(RAISED, Progress(6, 0, NOW), many, NOW, 0.0) == Retry(NOW + 5, 7, 0, "ValueError: bad")
    assert decide(RAISED, FRESH, none, NOW, 0.5) == Retry(NOW, 1, 0, "ValueError: bad")
    assert decide(RAISED, FRESH, never, NOW, 0.0) == End(State.DEAD, 1, "ValueError: bad", Condition.RETRIES_EXHAUSTED)


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 5.0), (0.5, 5.5), (0.999, 5.999)])
def test_jitter_stretches_a_delay_by_a_fifth_at_most(jitter: float, delay: float) -> None:
    verdict = decide(RAISED, Progress(1, 0, NOW), POLICY, NOW, jitter)
    assert isinstance(verdict, Retry)
    assert verdict.due == pytest.approx(NOW + delay, abs=0.001)


def test_backoff_doubles_to_a_limit_and_never_overflows() -> None:
    assert [backoff(n) for n in (1, 2, 3, 9, 10)] == [1, 2, 4, 256, BACKOFF_LAST]
    assert backoff(10**6) == BACKOFF_LAST
    asked = errors.Throttled("x", retry_after=10**9)
    verdict = decide(asked, FRESH, of_profile(Profile(name="p", async_max_age=1e6)), NOW, 0.0)
    assert isinstance(verdict, Retry)
    assert verdict.due == NOW + BACKOFF_LAST


def test_an_item_too_old_is_not_tried() -> None:
    assert expired(Progress(1, 0, NOW - 100), POLICY, NOW) is None
    end = expired(Progress(1, 0, NOW - 101), POLICY, NOW)
    assert end == End(State.DEAD, 1, "too old: accepted 101 s ago, the limit is 100 s", Condition.EVENT_AGE_EXCEEDED)


def test_a_reason_is_cut() -> None:
    huge = Result(invocation="i", error=FunctionError(type="E", message="x" * 100_000))
    verdict = decide(huge, FRESH, POLICY, NOW, 0.0)
    assert isinstance(verdict, Retry)
    assert len(verdict.reason) < 1100


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Policy(backoff=Backoff.FIXED, delay_s=3.0), [3, 3, 3, 3]),
        (Policy(backoff=Backoff.LINEAR, delay_s=3.0, max_delay_s=8.0), [3, 6, 8, 8]),
        (Policy(backoff=Backoff.EXPONENTIAL, delay_s=3.0, max_delay_s=20.0), [3, 6, 12, 20]),
        (Policy(delays_s=(7.0, 1.0)), [7, 1, 1, 1]),
    ],
)
def test_delays_grow_as_the_policy_says(policy: Policy, delays: list[float]) -> None:
    assert [pause(attempt, policy) for attempt in (1, 2, 3, 4)] == delays


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:17:10 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("9" * 30, 3600),
    ],
)
def test_an_answer_can_ask_for_time(header: str, seconds: float) -> None:
    busy = Result(invocation="i", status=503, headers=(("retry-after", header),))
    verdict = decide(busy, FRESH, Policy(delay_s=1.0, jitter=0.0), NOW, 0.5)
    assert isinstance(verdict, Retry)
    assert verdict.due == NOW + max(seconds, 1.0)
