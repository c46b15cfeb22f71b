"""Carries items to where they go, and decides what follows: calls a function, posts to an address, puts into a queue or broker.

What kind of item it is stands in its lane (see `items`). A batch is one delivery with one answer; with `partial` the answer may name
those that failed, and the others are done. With `bisect` a batch that fails whole is halved within the same attempt: nothing of that is
written down, so a crash in the middle delivers the whole of it again, as any crash does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ..actions import Invoke
from ..clock import Clock
from ..errors import BadInput, BadResponse, DayflyError, Internal
from ..model.call import Headers, Mode, Result
from ..model.delivery import AsyncConfig, Delivered, Destination, Policy
from ..model.event import Event
from ..model.function import Flavour
from ..model.ids import new_id
from ..model.trigger import Message, Trigger
from . import cloudevents
from .attempt import Outcome
from .items import Item, Plan, decode_call, decode_event, decode_message, decode_post
from .report import report, why_dead
from .retry import COUNTS, End, Progress, Retry, State, decide, expired
from .routing import Router, hop, written
from .subscription import Subscription

log = logging.getLogger("dayfly.delivery")

Run = Callable[[Invoke], Awaitable[Result]]
PolicyOf = Callable[[Invoke], Policy]  # of an asynchronous call, by the function's profile; may raise DayflyError
FlavourOf = Callable[[str, str, str], Flavour]  # namespace, function, qualifier; raises NotFound
Fetch = Callable[[str, Headers, bytes, float], Awaitable[Result]]  # URL, headers, body, seconds

HTTP_TIMEOUT: Final = 30.0  # seconds, where the policy names none
TRANSIENT: Final = {404, 408, 409, 425, 429}  # answers of an address, beside 5xx, that another attempt may change


class Courier:
    """`run` calls a function to its end and raises DayflyError where the platform gave up; cancelling it stops the call."""

    def __init__(
        self,
        router: Router,
        run: Run,
        policy_of: PolicyOf,
        flavour_of: FlavourOf,
        fetch: Fetch,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._router = router
        self._catalog = router.catalog
        self._run = run
        self._policy_of = policy_of
        self._flavour_of = flavour_of
        self._fetch = fetch
        self._clock = clock
        self._jitter = jitter

    async def attempt(self, sub: Subscription, items: list[Item]) -> list[Outcome]:
        """Deliver items of one lane, in one delivery. One outcome for each; raises nothing but CancelledError."""
        kind = sub.lane[:2]
        if kind == "f:":
            return [await self._call(sub, items[0])]
        if kind == "h:":
            return [await self._post(sub, items[0])]
        return await self._events(sub, items)

    # --- asynchronous calls -----------------------------------------------------------------------------------------

    async def _call(self, sub: Subscription, item: Item) -> Outcome:
        try:
            call = decode_call(item.body)
        except msgspec.DecodeError as error:
            return Outcome(End(State.DEAD, item.attempt, f"the stored call cannot be read: {error}"))
        progress = Progress(item.attempt, item.deferrals, item.created + call.delay_s)
        policy = sub.policy  # where the function's own cannot be had
        config = self._config(call)
        answer: Result | DayflyError
        try:
            policy = merged(self._policy_of(call), config)
            over = expired(progress, policy, self._clock.now())
            if over is not None:
                return Outcome(over, None, call, self._after_call(call, config, over, None))
            answer = await self._run(replace(call, attempt=item.attempt + 1, delay_s=0.0))
        except DayflyError as error:
            answer = error
        except Exception:
            log.exception("a fault of Dayfly while it ran %s", item.id)
            answer = Internal("The call could not be run.")
        verdict = decide(answer, progress, policy, self._clock.now(), self._jitter())
        result = answer if isinstance(answer, Result) else None
        return Outcome(verdict, result, call, self._after_call(call, config, verdict, result))

    def _config(self, call: Invoke) -> AsyncConfig | None:
        find = self._catalog.async_config
        found = find(call.namespace, call.function, call.qualifier)
        return found if found is not None or not call.qualifier else find(call.namespace, call.function, "")

    def _after_call(self, call: Invoke, config: AsyncConfig | None, verdict: Retry | End, result: Result | None) -> Plan | None:
        if config is None or isinstance(verdict, Retry) or verdict.state is State.CANCELLED:
            return None
        plan = Plan()
        done = verdict.state is State.DONE
        to = config.on_success if done else config.on_failure
        if to is not None:
            record = report(call, [], verdict, result, namespace=call.namespace, trigger="")
            self._follow(plan, call.namespace, data(to), record.within(call.depth, call.root), call.invocation)
        if config.dead_letter is not None and not done:
            event = Event(
                id=call.invocation,
                source=f"/namespaces/{call.namespace}/functions/{call.function}",
                type="dev.dayfly.call.dead",
                datacontenttype=call.content_type,
                extensions={"error": why_dead(verdict, result)},
                data=call.body,
            )
            self._follow(plan, call.namespace, data(config.dead_letter), event.within(call.depth, call.root), call.invocation)
        return plan

    def _follow(self, plan: Plan, namespace: str, to: Destination, event: Event, cause: str) -> None:
        """What cannot be passed on is said in the log; it does not keep an end from being written."""
        try:
            plan.add(self._router.to(namespace, to, event, cause=cause))
        except DayflyError as error:
            log.warning("%s: %s does not get the event %s: %s", namespace, to, event.id, error)

    # --- posts to an address ----------------------------------------------------------------------------------------

    async def _post(self, sub: Subscription, item: Item) -> Outcome:
        post = decode_post(item.body)
        progress = Progress(item.attempt, item.deferrals, item.created)
        over = expired(progress, sub.policy, self._clock.now())
        if over is not None:
            return Outcome(over)
        delivered = Delivered(id=item.id, event=post.event, namespace=sub.namespace, sent=item.created)
        answer = await self._send(sub.namespace, post.to, [delivered], False, sub.policy)
        return Outcome(decide(answer, progress, sub.policy, self._clock.now(), self._jitter()))

    async def _send(
        self, namespace: str, to: Destination, events: list[Delivered], batch: bool, policy: Policy
    ) -> Result | DayflyError:
        try:
            made = self._router.shape(to)(to, events, batch, Flavour.HTTP)
            headers = made.http.headers if made.http is not None else (("content-type", made.content_type),)
            origin = [("webhook-request-origin", to.origin)] if to.origin else []
            answer = await self._fetch(
                to.name, (*headers, *to.headers.items(), *origin), made.body, policy.timeout_s or HTTP_TIMEOUT
            )
        except DayflyError as error:
            return error
        except Exception:
            log.exception("a fault of Dayfly while it posted to %s", to.name)
            return Internal("The event could not be posted.")
        if answer.status < 300 or answer.status >= 500:
            return answer
        if answer.status in TRANSIENT:
            return replace(answer, status=500 + answer.status % 100)  # counts as an attempt like 5xx; headers kept
        return BadInput(f"{to.name} answered {answer.status}")

    # --- triggers and queues ----------------------------------------------------------------------------------------

    async def _events(self, sub: Subscription, items: list[Item]) -> list[Outcome]:
        trigger, policy = sub.trigger, sub.policy
        assert trigger is not None
        now = self._clock.now()
        outcomes: dict[str, Outcome] = {}
        fresh: list[tuple[Item, Delivered]] = []
        for item in items:
            try:
                delivered = self._delivered(sub, item)
            except (msgspec.DecodeError, BadInput) as error:
                outcomes[item.id] = Outcome(End(State.DEAD, item.attempt, f"it cannot be read: {error}"))
                continue
            over = expired(Progress(item.attempt, item.deferrals, item.created), policy, now)
            if over is not None:
                outcomes[item.id] = self._after_event(sub, delivered, over, None, None)
            elif sub.queue is not None and not self._catalog.passes(trigger, delivered.event):
                outcomes[item.id] = Outcome(End(State.DONE, item.attempt))  # of a queue's messages, others are nobody's
            else:
                fresh.append((item, delivered))
        if fresh:
            for (item, _), outcome in zip(fresh, await self._deliver(sub, trigger, fresh), strict=True):
                outcomes[item.id] = outcome
        return [outcomes[item.id] for item in items]

    def _delivered(self, sub: Subscription, item: Item) -> Delivered:
        trigger = sub.trigger
        assert trigger is not None
        dedup = ""
        if sub.queue is not None:
            message = decode_message(item.body)
            event = as_event(message, item.id, sub.namespace, sub.queue.name, item.created)
            attempt, dedup = item.epoch, message.dedup
        else:
            event = decode_event(item.body)
            attempt = item.attempt + 1
        return Delivered(
            id=item.id,
            event=event,
            namespace=sub.namespace,
            receipt=f"{item.id}.{item.epoch}",
            attempt=attempt,
            sent=item.created,
            first=item.first,
            key=item.key,
            dedup=dedup,
            trigger=trigger.name,
        )

    async def _deliver(self, sub: Subscription, trigger: Trigger, fresh: list[tuple[Item, Delivered]]) -> list[Outcome]:
        to, policy, namespace = trigger.target, sub.policy, sub.namespace
        events = [delivered for _, delivered in fresh]
        batch = policy.batch > 1
        call: Invoke | None = None
        answer: Result | DayflyError
        if to.kind == "function":
            try:
                call = self._invoke(trigger, events, batch, fresh[0][0])
                answer = await self._run(call)
            except DayflyError as error:
                answer = error
            except Exception:
                log.exception("a fault of Dayfly while the trigger %s/%s delivered", namespace, trigger.name)
                answer = Internal("The event could not be delivered.")
        elif to.kind == "http":
            answer = await self._send(namespace, to, events, batch, policy)
        else:
            return [self._transfer(sub, item, delivered) for item, delivered in fresh]
        failed = failures(answer, {delivered.id for delivered in events}) if policy.partial and batch else set()
        if policy.bisect and len(fresh) > 1 and (failed is None or blames(answer)):
            return await self._halve(sub, trigger, fresh)
        replies = self._replies(policy, answer, namespace, events[0].event)
        outcomes = []
        for index, (item, delivered) in enumerate(fresh):
            mine: Result | DayflyError = answer
            if failed is None:
                mine = BadResponse("the answer names a failure that was not in the batch")
            elif delivered.id in failed:
                mine = BadResponse("the function named it among the batch's failures")
            elif failed and isinstance(answer, Result):
                mine = replace(answer, error=None, status=200)
            progress = Progress(item.attempt, item.deferrals, item.created)
            verdict = decide(mine, progress, policy, self._clock.now(), self._jitter())
            result = mine if isinstance(mine, Result) else None
            outcome = self._after_event(sub, delivered, verdict, call, result)
            if index == 0 and replies is not None and isinstance(verdict, End) and outcome.follows is not None:
                outcome.follows.add(replies)
            outcomes.append(outcome)
        return outcomes

    async def _halve(self, sub: Subscription, trigger: Trigger, fresh: list[tuple[Item, Delivered]]) -> list[Outcome]:
        """A batch as two. What has the key of one in the first that will be tried again is not tried before that."""
        middle = len(fresh) // 2
        outcomes = await self._deliver(sub, trigger, fresh[:middle])
        held = {
            item.key
            for (item, _), outcome in zip(fresh, outcomes, strict=False)
            if item.key and isinstance(outcome.verdict, Retry)
        }
        going = [one for one in fresh[middle:] if one[0].key not in held]
        tried = iter(await self._deliver(sub, trigger, going) if going else ())
        now = self._clock.now()
        for item, _ in fresh[middle:]:
            if item.key in held:
                waits = Retry(now, item.attempt, item.deferrals, "one before it with the same key is tried again")
                outcomes.append(Outcome(waits))
            else:
                outcomes.append(next(tried))
        return outcomes

    def _invoke(self, trigger: Trigger, events: list[Delivered], batch: bool, first: Item) -> Invoke:
        to = trigger.target
        flavour = self._flavour_of(trigger.namespace, to.name, to.qualifier)
        made = self._router.shape(to)(to, events, batch, flavour)
        return Invoke(
            namespace=trigger.namespace,
            function=to.name,
            qualifier=to.qualifier,
            mode=Mode.EVENT,
            http=made.http if flavour is Flavour.HTTP else None,
            body=made.body,
            content_type=made.content_type,
            invocation=new_id() if batch else first.id,
            timeout_s=trigger.delivery.timeout_s,
            cause=events[0].event.id,
            depth=events[0].event.hops,
            root=events[0].event.root,
            attempt=first.attempt + 1,
            client=made.client,
        )

    def _transfer(self, sub: Subscription, item: Item, delivered: Delivered) -> Outcome:
        """Into a queue or broker: a matter of rows, so it works or can never work."""
        assert sub.target is not None
        try:
            plan = self._router.to(sub.namespace, sub.target, delivered.event, cause=item.id)
        except DayflyError as error:
            progress = Progress(item.attempt, item.deferrals, item.created)
            verdict = decide(error, progress, sub.policy, self._clock.now(), self._jitter())
            return self._after_event(sub, delivered, verdict, None, None)
        return Outcome(End(State.DONE, item.attempt + 1), follows=plan)

    def _after_event(
        self, sub: Subscription, delivered: Delivered, verdict: Retry | End, call: Invoke | None, result: Result | None
    ) -> Outcome:
        if isinstance(verdict, Retry):
            return Outcome(verdict, result, call)
        policy, plan = sub.policy, Plan()
        done = verdict.state is State.DONE
        to = policy.on_success if done else policy.on_failure
        assert sub.trigger is not None
        if to is not None and verdict.state is not State.CANCELLED:
            record = report(call, [delivered.event], verdict, result, namespace=sub.namespace, trigger=sub.trigger.name)
            self._follow(plan, sub.namespace, data(to), record.within(delivered.event.hops, delivered.event.root), delivered.id)
        if verdict.state is State.DEAD:
            for letter in (policy.dead_letter, sub.queue.dead_letter if sub.queue is not None else None):
                if letter is not None:
                    self._follow(plan, sub.namespace, letter, delivered.event, delivered.id)
        return Outcome(verdict, result, call, plan)

    def _replies(self, policy: Policy, answer: Result | DayflyError, namespace: str, cause: Event) -> Plan | None:
        """The events in an answer, on their way back into a broker. What is none is ignored; what goes in circles is dropped."""
        if not policy.reply or not isinstance(answer, Result) or answer.error is not None or not 200 <= answer.status < 300:
            return None
        plan = Plan()
        try:
            for event in answered(answer):
                plan.add(written(self._router.accept(namespace, policy.reply, hop(event.within(cause.hops, cause.root)))))
        except DayflyError as error:
            log.warning("%s: an answer to the event %s is not published: %s", namespace, cause.id, error)
        return plan


def merged(policy: Policy, config: AsyncConfig | None) -> Policy:
    """The policy with what is set for the function."""
    if config is None:
        return policy
    return replace(
        policy,
        max_attempts=policy.max_attempts if config.max_attempts is None else config.max_attempts,
        max_age_s=policy.max_age_s if config.max_age_s is None else config.max_age_s,
    )


def data(to: Destination) -> Destination:
    """Where nothing is said, a function gets the data of a record and not the event around it."""
    return replace(to, shape="data") if not to.shape and to.kind == "function" else to


def answered(answer: Result) -> list[Event]:
    """The events that an answer consists of, in any mode of the HTTP binding, or as a JSON value that is one."""
    names = {name for name, _ in answer.headers}
    media = next((value for name, value in answer.headers if name == "content-type"), "")
    if "ce-specversion" in names or media.startswith("application/cloudevents"):
        return cloudevents.from_http(answer.headers, answer.body)
    if b'"specversion"' not in answer.body:
        return []
    return (
        cloudevents.batch_from_json(answer.body) if answer.body.lstrip()[:1] == b"[" else [cloudevents.from_json(answer.body)]
    )


def blames(answer: Result | DayflyError) -> bool:
    """Whether a batch failed of what is in it, so that parts of it may fare better."""
    if isinstance(answer, Result):
        return answer.error is not None or answer.status >= 500
    return isinstance(answer, (*COUNTS, BadInput))


def failures(answer: Result | DayflyError, known: set[str]) -> set[str] | None:
    """The ids that an answer names as failed: none, if it does not say so; None, if it names what was not in the batch, which
    makes all of it fail (as AWS Lambda has it)."""
    if not isinstance(answer, Result) or answer.error is not None or answer.status >= 500 or not answer.body:
        return set()
    try:
        named: Any = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    listed = named.get("batchItemFailures") if isinstance(named, dict) else None
    if not listed:
        return set()
    found: set[str] = set()
    for one in listed if isinstance(listed, list) else [listed]:
        identifier = one.get("itemIdentifier") if isinstance(one, dict) else None
        if isinstance(identifier, str) and identifier not in known:
            identifier = identifier.replace("-", "")  # as a UUID, which is how shapes may write ids
        if identifier not in known:
            return None
        found.add(identifier)
    return found


def as_event(message: Message, identifier: str, namespace: str, queue: str, sent: float) -> Event:
    """A message as an event; one that was an event before it came into the queue is that again. Raises BadInput."""
    if message.content_type == cloudevents.STRUCTURED:
        event = cloudevents.from_json(message.body)
        return event.within(message.hops or event.hops, message.root)
    extensions: dict[str, str | int | bool] = {}
    if message.group:
        extensions["partitionkey"] = message.group
    if message.attributes:
        extensions["messageattributes"] = msgspec.json.encode(message.attributes).decode()
    return Event(
        id=identifier,
        source=f"/namespaces/{namespace}/queues/{queue}",
        type="dev.dayfly.message",
        datacontenttype=message.content_type,
        extensions=extensions,
        data=message.body,
    ).within(message.hops, message.root)
