"""Triggers and the rules that lead from them to actions.

As in OpenWhisk a trigger's document holds what its rules do, so firing one looks at nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ... import actions as a
from ...errors import DayflyError, NotFound
from ...model.call import Mode, Result
from ...model.document import Document
from ...model.ids import new_id
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .actions import elsewhere, ensure, page, put_document
from .alarms import Alarms
from .catalog import on_demand
from .faults import EXISTS, MALFORMED, MISSING, Rejected, answer
from .invoke import Calls
from .packages import merged, named
from .users import User, space, user

ACTIVE, INACTIVE = "active", "inactive"


class Triggers:
    def __init__(self, view: View, calls: Calls, alarms: Alarms) -> None:
        self._view = view
        self._calls = calls
        self._alarms = alarms

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        given = en.content(head, body)
        before = self._view.document(space(namespace), en.TRIGGER, name)
        if before is not None and not en.flag(en.query(head), "overwrite"):
            raise Rejected(409, EXISTS)
        elsewhere(self._view, namespace, name, en.TRIGGER)
        made = merged(given, before.body if before else None)
        if before is None and not _is_feed(en.value_of(made["annotations"], "feed")):
            raise Rejected(400, "Feed name is not valid")
        await ensure(namespace, do)
        made |= {key: before.body[key] for key in ("rules", "alarm") if before and key in before.body} or {"rules": {}}
        document = await put_document(do, namespace, en.TRIGGER, name, made, before)
        return answer(head, _trigger(document))

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        return answer(head, _trigger(self._trigger(namespace, name)))

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        document = self._trigger(namespace, name)
        if "alarm" in document.body:
            for rule in document.body["rules"]:
                await self._alarms.follow(do, document, rule, None)
        await do(a.DeleteDocument(namespace=space(namespace), kind=en.TRIGGER, name=name))
        return answer(head, _trigger(document))

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace = own_namespace(head, params)
        return page(head, "triggers", self._view.documents(space(namespace), en.TRIGGER), _listed)

    async def fire(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = named(head, params)
        payload = en.content(head, body)
        trigger = self._trigger(namespace, name)
        rules = trigger.body["rules"]
        if not any(rule["status"] == ACTIVE for rule in rules.values()):
            return Reply(204, answer(head, b"").headers)
        identifier = new_id()
        args = msgspec.json.encode(en.parameters(trigger.body["parameters"]) | payload)
        logs = await asyncio.gather(*(self._follow(who, rule, link, args, identifier, do) for rule, link in rules.items()))
        await do(
            a.Record(
                namespace=space(namespace),
                id=identifier,
                name=name,
                answer=msgspec.json.encode(payload).decode(),
                note=msgspec.json.encode({"trigger": trigger.body["version"], "logs": logs, "duration": 0}).decode(),
            )
        )
        return answer(head, {"activationId": identifier}, 202, [("x-openwhisk-activation-id", identifier)])

    async def _follow(self, who: User, rule: str, link: dict[str, Any], args: bytes, cause: str, do: Do) -> str:
        """Call the action of a rule; the line of the trigger's log that tells of it."""
        action = link["action"]
        told: dict[str, Any] = {"rule": rule, "action": f"{action['path']}/{action['name']}"}
        if link["status"] != ACTIVE:
            message = f"Rule '{rule}' is inactive, action '{told['action']}' was not activated."
            return _entry(told, 1, error=message)
        try:
            namespace, _, package = action["path"].partition("/")
            bound = self._calls.find(who, namespace, f"{package}/{action['name']}" if package else action["name"])
            invoke = self._calls.invoke(bound, who, self._calls.payload(bound, args, inside=True), mode=Mode.ASYNC)
            invoke.cause = cause
            note = msgspec.json.decode(invoke.note) if invoke.note else {}
            invoke.note = msgspec.json.encode(note | {"fired": True}).decode()
            result: Result = await do(invoke)
        except NotFound:
            return _entry(told, 1, error=MISSING)
        except DayflyError as error:
            return _entry(told, 3 if error.status >= 500 else 1, error=error.detail)
        return _entry(told, 0, activationId=result.invocation)

    def _trigger(self, namespace: str, name: str) -> Document:
        document = self._view.document(space(namespace), en.TRIGGER, name)
        if document is None:
            elsewhere(self._view, namespace, name, en.TRIGGER)
            raise NotFound(name)
        return document


class Rules:
    def __init__(self, view: View, alarms: Alarms) -> None:
        self._view = view
        self._alarms = alarms

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = named(head, params)
        given = en.content(head, body)
        await on_demand(self._view, do, body.decode("utf-8", "replace"))
        before = self._view.document(space(namespace), en.RULE, name)
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
        trigger = self._trigger_of(links["trigger"])
        if trigger is None:
            raise Rejected(400, f"trigger {_full(links['trigger'])} does not exist")
        try:
            where, _, rest = _full(links["action"])[1:].partition("/")
            en.find_action(self._view, who, where, rest)
        except NotFound:
            raise Rejected(400, f"action {_full(links['action'])} does not exist") from None
        status = self._status(before) if before is not None else ACTIVE
        if before is not None and before.body["trigger"] != links["trigger"]:
            await self._link(do, before.body["trigger"], f"{namespace}/{name}", None)
        made = merged(given, before.body if before else None)
        document = await put_document(do, namespace, en.RULE, name, made | links, before)
        await self._link(do, links["trigger"], f"{namespace}/{name}", {"action": links["action"], "status": status})
        return answer(head, self._shown(document))

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        return answer(head, self._shown(self._rule(namespace, name)))

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        document = self._rule(namespace, name)
        await self._link(do, document.body["trigger"], f"{namespace}/{name}", None)
        await do(a.DeleteDocument(namespace=space(namespace), kind=en.RULE, name=name))
        return answer(head, self._shown(document) | {"status": INACTIVE})

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace = own_namespace(head, params)
        return page(head, "rules", self._view.documents(space(namespace), en.RULE), self._shown)

    async def toggle(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        status = en.content(head, body).get("status")
        if status not in (ACTIVE, INACTIVE):
            raise Rejected(400, f"{MALFORMED}'{status}' is not a recognized rule state")
        document = self._rule(namespace, name)
        if self._trigger_of(document.body["trigger"]) is None:
            raise Rejected(404, "Only rules with existing triggers can be activated")
        if self._status(document) != status:
            link = {"action": document.body["action"], "status": status}
            await self._link(do, document.body["trigger"], f"{namespace}/{name}", link)
        return answer(head, b"")

    def _rule(self, namespace: str, name: str) -> Document:
        document = self._view.document(space(namespace), en.RULE, name)
        if document is None:
            elsewhere(self._view, namespace, name, en.RULE)
            raise NotFound(name)
        return document

    def _trigger_of(self, link: dict[str, str]) -> Document | None:
        return self._view.document(space(link["path"]), en.TRIGGER, link["name"])

    def _status(self, rule: Document) -> str:
        trigger = self._trigger_of(rule.body["trigger"])
        links = trigger.body["rules"] if trigger is not None else {}
        return str(links.get(en.named(rule), {}).get("status", INACTIVE))

    async def _link(self, do: Do, trigger: dict[str, str], rule: str, link: dict[str, Any] | None) -> None:
        """Tell the trigger what the rule does now; None: nothing any more."""
        document = self._trigger_of(trigger)
        if document is None:
            return
        rules = {name: known for name, known in document.body["rules"].items() if name != rule}
        if link is not None:
            rules[rule] = link
        body = document.body | {"rules": rules}
        document = await put_document(do, trigger["path"], en.TRIGGER, trigger["name"], body, document)
        if "alarm" in body:
            await self._alarms.follow(do, document, rule, link)

    def _shown(self, document: Document) -> dict[str, Any]:
        body = document.body
        return en.base(document) | {
            "status": self._status(document),
            "trigger": body["trigger"],
            "action": body["action"],
        }


def own_namespace(head: Head, params: Params) -> tuple[User, str]:
    who = user(head)
    namespace = en.resolve_namespace(params["ns"], who)
    if not who.may(namespace):
        raise en.forbidden(namespace)
    return who, namespace


def _is_feed(name: Any) -> bool:
    """Whether that may stand in the annotation `feed`, which need not be there."""
    return name is None or (isinstance(name, str) and all(map(en.is_name, name.removeprefix("/").split("/"))))


def _entry(told: dict[str, Any], code: int, **more: str) -> str:
    return msgspec.json.encode({"statusCode": code, "success": code == 0} | more | told).decode()


def _full(link: dict[str, str]) -> str:
    return f"/{link['path']}/{link['name']}"


def _trigger(document: Document) -> dict[str, Any]:
    shown = _listed(document) | {"parameters": document.body["parameters"], "limits": {}}
    return shown | ({"rules": document.body["rules"]} if document.body["rules"] else {})


def _listed(document: Document) -> dict[str, Any]:
    return en.base(document)
