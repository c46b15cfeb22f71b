"""Triggers and the rules that lead from them to actions.

A trigger is a broker of the core that keeps a record of each event (see actions.PublishEvents), a rule a trigger of the core on it, which
calls the rule's action asynchronously. What clients see of them are documents beside; a trigger and its rules are of one namespace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ... import actions as a
from ...errors import NotFound
from ...model.call import Mode
from ...model.delivery import Delivered, Destination, Input
from ...model.document import Document
from ...model.event import Event
from ...model.function import Flavour
from ...model.ids import new_id
from ...model.trigger import WhilePaused
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .actions import elsewhere, ensure, page, put_document
from .alarms import Alarms
from .catalog import on_demand
from .faults import EXISTS, MALFORMED, MISSING, Rejected, answer
from .invoke import Calls
from .packages import merged, named
from .profile import LIMITS
from .users import User, namespace_of, space, user

ACTIVE, INACTIVE = "active", "inactive"
SHAPE = "openwhisk"


class Triggers:
    def __init__(self, view: View, calls: Calls, alarms: Alarms) -> None:
        self._view = view
        self._calls = calls
        self._alarms = alarms

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        given = en.content(head, body)
        before = self._view.document(space(namespace), en.TRIGGER, name)
        made = merged(given, before.body if before else None)
        if before is not None and not en.flag(en.query(head), "overwrite"):
            raise Rejected(409, EXISTS)
        elsewhere(self._view, namespace, name, en.TRIGGER)
        if before is None and not _is_feed(en.value_of(made["annotations"], "feed")):
            raise Rejected(400, "Feed name is not valid")
        await ensure(namespace, do)
        await do(a.PutBroker(namespace=space(namespace), name=en.TOPIC + name, records=True, dedup_s=0.0))
        if before is not None and "alarm" in before.body:
            made["alarm"] = before.body["alarm"]
        return answer(head, self._shown(await put_document(do, namespace, en.TRIGGER, name, made, before)))

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        return answer(head, self._shown(self._trigger(namespace, name)))

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        document = self._trigger(namespace, name)
        shown = self._shown(document)
        await self._alarms.follow(do, document.namespace, name, None)
        for rule in rules_of(self._view, document):
            await forget(do, rule)
            await _put(do, rule, status=INACTIVE)
        with contextlib.suppress(NotFound):
            await do(a.DeleteBroker(namespace=document.namespace, name=en.TOPIC + name))
        await do(a.DeleteDocument(namespace=document.namespace, kind=en.TRIGGER, name=name))
        return answer(head, shown)

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace = own_namespace(head, params)
        return page(head, "triggers", self._view.documents(space(namespace), en.TRIGGER), en.base)

    async def fire(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        if len(body) > LIMITS.payload:
            raise en.too_big(len(body))
        payload = en.content(head, body)
        trigger = self._trigger(namespace, name)
        event = Event(
            id=new_id(),
            source=f"/{namespace}/triggers/{quote(name)}",
            type="openwhisk.trigger",
            datacontenttype="application/json",
            data=msgspec.json.encode(payload),
        )
        [published] = await do(a.PublishEvents(namespace=trigger.namespace, broker=en.TOPIC + name, events=(event,)))
        if not published.record:  # no rule is active
            return Reply(204, answer(head, b"").headers)
        return answer(head, {"activationId": published.record}, 202, [("x-openwhisk-activation-id", published.record)])

    def shape(self, to: Destination, events: Sequence[Delivered], batch: bool, flavour: Flavour) -> Input:
        """The call of a rule's action, `to.name`, when its trigger was fired. Raises Rejected where it may not be called.

        `events[0].namespace` is whose trigger it is; what `to` says was perhaps written by somebody else.
        """
        who = User(namespace_of(events[0].namespace))
        trigger = self._view.document(who.space, en.TRIGGER, to.extra.get("trigger", ""))
        own = en.parameters(trigger.body["parameters"]) if trigger is not None else {}
        payload = msgspec.json.decode(events[0].event.data or b"{}")
        args = own | (payload if isinstance(payload, dict) else {"payload": payload})
        namespace, _, name = to.name.removeprefix("/").partition("/")
        try:
            bound = self._calls.find(who, namespace, name)
        except NotFound:
            raise Rejected(404, MISSING) from None
        call = self._calls.invoke(
            bound, who, self._calls.payload(bound, msgspec.json.encode(args), inside=True), mode=Mode.ASYNC
        )
        note = msgspec.json.decode(call.note) if call.note else {}
        return Input(
            body=call.body,
            client=call.client,
            namespace=call.namespace,
            function=call.function,
            owner=call.owner,
            note=msgspec.json.encode(note | {"fired": True}).decode(),
        )

    def _trigger(self, namespace: str, name: str) -> Document:
        document = self._view.document(space(namespace), en.TRIGGER, name)
        if document is None:
            elsewhere(self._view, namespace, name, en.TRIGGER)
            raise NotFound(name)
        return document

    def _shown(self, document: Document) -> dict[str, Any]:
        shown = en.base(document) | {"parameters": document.body["parameters"], "limits": {}}
        rules = {
            en.named(rule): {"action": rule.body["action"], "status": rule.body["status"]}
            for rule in rules_of(self._view, document)
        }
        return shown | ({"rules": rules} if rules else {})


class Rules:
    def __init__(self, view: View) -> None:
        self._view = view

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = named(head, params)
        given = en.content(head, body)
        await on_demand(self._view, do, body.decode("utf-8", "replace"))
        before = self._view.document(space(namespace), en.RULE, name)
        made = merged(given, before.body if before else None)
        if before is not None and not en.flag(en.query(head), "overwrite"):
            raise Rejected(409, EXISTS)
        elsewhere(self._view, namespace, name, en.RULE)
        links: dict[str, Any] = {}
        for field in ("trigger", "action"):
            if given.get(field) is not None:
                where, rest = en.qualified(given[field], who)
                path, _, short = f"{where}/{rest}".rpartition("/")
                links[field] = {"path": path, "name": short}
            elif before is not None:
                links[field] = before.body[field]
            else:
                raise Rejected(400, "rule requires a valid trigger and a valid action")
        if links["trigger"]["path"] != namespace:
            raise en.forbidden(_full(links["trigger"])[1:])
        if self._view.document(space(namespace), en.TRIGGER, links["trigger"]["name"]) is None:
            raise Rejected(400, f"trigger {_full(links['trigger'])} does not exist")
        try:
            where, _, rest = _full(links["action"])[1:].partition("/")
            en.find_action(self._view, who, where, rest)
        except NotFound:
            raise Rejected(400, f"action {_full(links['action'])} does not exist") from None
        status = before.body["status"] if before is not None else ACTIVE
        made |= links | {"status": status}
        document = await put_document(do, namespace, en.RULE, name, made, before)
        await _lead(do, document)
        return answer(head, _shown(document))

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        return answer(head, _shown(self._rule(namespace, name)))

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        document = self._rule(namespace, name)
        await forget(do, document)
        await do(a.DeleteDocument(namespace=document.namespace, kind=en.RULE, name=name))
        return answer(head, _shown(document) | {"status": INACTIVE})

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace = own_namespace(head, params)
        return page(head, "rules", self._view.documents(space(namespace), en.RULE), _shown)

    async def toggle(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        status = en.content(head, body).get("status")
        if status not in (ACTIVE, INACTIVE):
            raise Rejected(400, f"{MALFORMED}'{status}' is not a recognized rule state")
        document = self._rule(namespace, name)
        if self._view.document(document.namespace, en.TRIGGER, document.body["trigger"]["name"]) is None:
            raise Rejected(404, "Only rules with existing triggers can be activated")
        await _lead(do, await _put(do, document, status=status))
        return answer(head, b"")

    def _rule(self, namespace: str, name: str) -> Document:
        document = self._view.document(space(namespace), en.RULE, name)
        if document is None:
            elsewhere(self._view, namespace, name, en.RULE)
            raise NotFound(name)
        return document


def rules_of(view: View, trigger: Document) -> list[Document]:
    """The rules that lead from it."""
    return [r for r in view.documents(trigger.namespace, en.RULE) if r.body["trigger"]["name"] == trigger.name]


async def _put(do: Do, rule: Document, *, status: str) -> Document:
    body = rule.body | {"status": status}
    made: Document = await do(a.PutDocument(namespace=rule.namespace, kind=en.RULE, name=rule.name, body=body))
    return made


async def _lead(do: Do, rule: Document) -> None:
    """Have the core do what the rule says."""
    trigger, action = rule.body["trigger"]["name"], rule.body["action"]
    await do(
        a.PutTrigger(
            namespace=rule.namespace,
            name=en.TOPIC + rule.name,
            broker=en.TOPIC + trigger,
            target=Destination(kind="function", name=_full(action), shape=SHAPE, extra={"trigger": trigger}),
            paused=rule.body["status"] != ACTIVE,
            while_paused=WhilePaused.SKIP,
            calls_async=True,
            description=f"a rule of the OpenWhisk trigger {trigger}",
        )
    )


async def forget(do: Do, rule: Document) -> None:
    with contextlib.suppress(NotFound):
        await do(a.DeleteTrigger(namespace=rule.namespace, name=en.TOPIC + rule.name))


def own_namespace(head: Head, params: Params) -> tuple[User, str]:
    who = user(head)
    namespace = en.resolve_namespace(params["ns"], who)
    if not who.may(namespace):
        raise en.forbidden(namespace)
    return who, namespace


def _is_feed(name: Any) -> bool:
    """Whether that may stand in the annotation `feed`, which need not be there."""
    return name is None or (isinstance(name, str) and all(map(en.is_name, name.removeprefix("/").split("/"))))


def _full(link: dict[str, str]) -> str:
    return f"/{link['path']}/{link['name']}"


def _shown(document: Document) -> dict[str, Any]:
    body = document.body
    return en.base(document) | {"status": body["status"], "trigger": body["trigger"], "action": body["action"]}
