"""One attempt to deliver: what is run, what came of it, and what that changes in the store."""

from __future__ import annotations

import logging
from typing import NamedTuple

from ..actions import Invoke
from ..model.call import Result
from ..store.port import Statement
from .items import Item, Plan, encode
from .retry import End, Retry, State

log = logging.getLogger("dayfly.delivery")


class Outcome(NamedTuple):
    """What became of an item in an attempt. `follows` is written with its end; `call` is None where no function was called."""

    verdict: Retry | End
    result: Result | None = None
    call: Invoke | None = None
    follows: Plan | None = None


def changes(lane: str, item: Item, outcome: Outcome, now: float) -> list[Statement]:
    """What to write, in one transaction. The first is fenced: if the lease was lost, it writes nothing and nothing follows."""
    fenced = {"id": item.id, "epoch": item.epoch}
    verdict = outcome.verdict
    change = fenced | {"attempt": verdict.attempt, "last_error": verdict.reason}
    if isinstance(verdict, Retry):
        return [("queue_retry", change | {"deferrals": verdict.deferrals, "due": verdict.due})]
    if lane.startswith("q:") and verdict.state is State.DONE:
        statements: list[Statement] = [("queue_ack", fenced)]
    else:
        statements = [("queue_end", change | {"state": verdict.state.value, "ended": now, "condition": verdict.condition})]
    if outcome.result is not None and lane.startswith("f:"):
        try:
            statements.append(("queue_keep_result", fenced | {"body": encode(outcome.result)}))
        except UnicodeEncodeError:
            log.warning("the answer of %s is not kept: it holds text that is not Unicode", item.id)
    if outcome.follows is not None:
        statements += outcome.follows.statements
    return statements
