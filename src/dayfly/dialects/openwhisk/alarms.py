"""The feeds of `/whisk.system/alarms`: `alarm` (cron), `interval` and `once`, on the platform's timers.

A feed action is called by the client, with what is to be done (`lifecycleEvent`) and for which trigger. A timer of the platform then fires
that trigger.

Protocol and parameters: docs/feeds.md of the project and the README of openwhisk-package-alarms.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from ... import actions as a
from ...errors import BadInput, NotFound
from ...model.call import Timings
from ...model.delivery import Destination
from ...model.ids import id_time, new_id
from ...model.trigger import Source
from ..hook import Do, Head, Reply, View
from . import entities as en
from . import outcome as oc
from .activations import activation
from .faults import Rejected, answer
from .profile import SYSTEM
from .users import SYSTEM_SPACE, User, space, user

FEEDS = ("alarm", "interval", "once")
FEED = "alarms"  # the package


class Alarms:
    def __init__(self, view: View) -> None:
        self._view = view

    async def feed(self, kind: str, head: Head, body: bytes, do: Do) -> Reply:
        """A call of a feed action; what came of it is its answer, an error as well."""
        who = user(head)
        given = en.content(head, body)
        try:
            result = await self._perform(who, kind, given, do)
        except (Rejected, NotFound, BadInput) as error:
            result = {"error": error.detail}
        identifier = new_id()
        failed = "error" in result
        text = msgspec.json.encode(result).decode()
        note = msgspec.json.encode({"path": f"{SYSTEM}/{FEED}/{kind}", "space": SYSTEM_SPACE}).decode()
        await do(a.Record(namespace=who.space, id=identifier, name=f"{FEED}/{kind}", answer=text, note=note))
        asked = en.query(head)
        headers = [("x-openwhisk-activation-id", identifier)]
        if not en.flag(asked, "blocking"):
            return answer(head, {"activationId": identifier}, 202, headers)
        if en.flag(asked, "result"):
            return answer(head, result, 502 if failed else 200, headers)
        document = self._view.document(SYSTEM_SPACE, en.ACTION, f"{FEED}/{kind}")
        shown = activation(
            identifier,
            namespace=who.namespace,
            path=f"{SYSTEM}/{FEED}/{kind}",
            body=document.body if document is not None else en.foreign(self._view, SYSTEM_SPACE, f"{FEED}/{kind}", 1),
            version="0.0.1",
            start=id_time(identifier),
            timings=Timings(),
            cold=False,
        )
        outcome = oc.Outcome(oc.APPLICATION if failed else oc.SUCCESS, text.encode())
        return answer(head, shown | {"response": outcome.response(), "logs": []}, 502 if failed else 200, headers)

    async def _perform(self, who: User, kind: str, given: dict[str, Any], do: Do) -> dict[str, Any]:
        namespace, name = en.qualified(given.get("triggerName"), who)
        if not who.may(namespace):
            raise en.forbidden(f"{namespace}/{name}")
        trigger = self._view.document(space(namespace), en.TRIGGER, name)
        event = given.get("lifecycleEvent")
        if trigger is None:
            if event == "DELETE":
                return {"status": "deleted"}
            raise Rejected(404, f"trigger /{namespace}/{name} does not exist")
        alarm = trigger.body.get("alarm")
        if event in ("CREATE", "UPDATE"):
            alarm = {"feed": kind, "config": _config(given), "source": _source(kind, given), "paused": False}
        elif event in ("PAUSE", "UNPAUSE", "DELETE", "READ"):
            if alarm is None:
                raise Rejected(404, f"trigger /{namespace}/{name} has no alarm")
            if event == "READ":
                return {"config": alarm["config"], "status": {"active": not alarm["paused"]}}
            alarm = None if event == "DELETE" else alarm | {"paused": event == "PAUSE"}
        else:
            raise Rejected(400, f"there is no lifecycleEvent {event!r}")
        await self.follow(do, trigger.namespace, name, alarm)
        body = {key: value for key, value in trigger.body.items() if key != "alarm"}
        await do(
            a.PutDocument(
                namespace=space(namespace),
                kind=en.TRIGGER,
                name=name,
                body=body | ({"alarm": alarm} if alarm else {}),
                expect=trigger.version,
            )
        )
        return {"status": "deleted" if alarm is None else "paused" if alarm["paused"] else "active"}

    async def follow(self, do: Do, where: str, name: str, alarm: dict[str, Any] | None) -> None:
        """Make the timer of the trigger `name` what its alarm says now; None: it has none any more."""
        timer = f"{en.TOPIC}{FEED}/{name}"
        if alarm is None:
            with contextlib.suppress(NotFound):
                await do(a.DeleteTrigger(namespace=where, name=timer))
            return
        await do(
            a.PutTrigger(
                namespace=where,
                name=timer,
                target=Destination(kind="broker", name=en.TOPIC + name),
                source=Source(kind="timer", settings=alarm["source"]),
                paused=alarm["paused"],
                description=f"alarm of the OpenWhisk trigger {name}",
            )
        )


def _config(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("authKey", "lifecycleEvent", "triggerName")}


def _source(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Settings of the timer. Raises Rejected in the words of the alarms package."""
    settings: dict[str, Any] = {"data": given.get("trigger_payload", {}), "missed": "skip"}
    for theirs, ours in (("startDate", "start"), ("stopDate", "end")):
        if given.get(theirs) not in (None, ""):
            settings[ours] = _moment(theirs, given[theirs])
    if kind == "alarm":
        if not isinstance(given.get("cron"), str) or not given["cron"].strip():
            raise Rejected(400, "alarms trigger feed requires a cron expression")
        return settings | {"schedule": given["cron"], "dialect": "cron", "timezone": given.get("timezone") or "UTC"}
    if kind == "interval":
        minutes = given.get("minutes")
        if not str(minutes).isdecimal() or int(str(minutes)) < 1:
            raise Rejected(400, "interval trigger feed requires the minutes parameter, a whole number of at least 1")
        count = int(str(minutes))
        return settings | {"schedule": f"rate({count} minute{'s' if count > 1 else ''})"}
    if given.get("date") in (None, ""):
        raise Rejected(400, "once trigger feed requires a date parameter")
    return settings | {"schedule": f"at({_moment('date', given['date'])})"}


def _moment(name: str, given: Any) -> str:
    """A date as clients give it, ISO 8601 or milliseconds since the epoch, in the timer's form (UTC)."""
    try:
        if isinstance(given, str) and not given.isdecimal():
            moment = datetime.fromisoformat(given)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = datetime.fromtimestamp(int(given) / 1000, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        raise Rejected(400, f"{name} parameter '{given}' is not a valid Date") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
