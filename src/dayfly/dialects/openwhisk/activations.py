"""Activations: the records of calls, as OpenWhisk shows them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from ... import actions as a
from ...errors import Forbidden, NotFound
from ...model.call import Invocation, Status, Timings
from ...model.log import LogLine
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from . import outcome as oc
from .faults import BAD_ID, MISSING, Rejected, answer
from .profile import LIMITS
from .users import namespace_of, space, user

_OPEN = (Status.QUEUED, Status.RUNNING)
PAGE = 1000  # records that are read at a time


class Activations:
    def __init__(self, view: View) -> None:
        self._view = view

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        namespace = self._namespace(head, params)
        asked = en.query(head)
        limit, skip = en.number(asked, "limit", "activations"), en.number(asked, "skip", "activations")
        count, docs = en.flag(asked, "count"), en.flag(asked, "docs")
        if count and docs:
            raise Rejected(400, "The parameter 'docs' is not permitted with 'count'.")
        name = asked.get("name", "")
        parts = name.split("/")
        if name and (len(parts) > 2 or not all(map(en.is_name, parts))):
            raise Rejected(
                400,
                "The query parameter 'name' was malformed:\n"
                f"Parameter may be a 'simple' name or 'package-name/simple' name: {name}",
            )
        found = await self._found(
            do, namespace, name, _epoch(asked, "since"), _epoch(asked, "upto"), None if count else skip + limit
        )
        if count:
            return answer(head, {"activations": max(0, len(found) - skip)})
        chosen = found[skip : skip + limit]
        if docs:
            return answer(head, [await self._whole(do, record) for record in chosen])
        return answer(head, [self._summary(record) for record in chosen])

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        namespace = self._namespace(head, params)
        record = await self._record(do, namespace, params["id"])
        what = params["what"].strip("/")
        if what == "logs":
            return answer(head, {"logs": await self._logs(do, record)})
        if what == "result":
            return answer(head, self._outcome(record).response())
        if what:
            raise Rejected(404, MISSING)
        return answer(head, await self._whole(do, record))

    def _namespace(self, head: Head, params: Params) -> str:
        who = user(head)
        namespace = en.resolve_namespace(params["ns"], who)
        if not who.may(namespace):
            raise en.forbidden(f"{namespace}")
        return namespace

    async def _record(self, do: Do, namespace: str, identifier: str) -> Invocation:
        if len(identifier) != 32:
            raise Rejected(400, f"Activation id length is {len(identifier)} but must be 32.")
        if not re.fullmatch(r"[0-9a-f]{32}", identifier):
            raise Rejected(400, BAD_ID)
        record: Invocation = await do(a.GetInvocation(namespace=space(namespace), id=identifier))
        if record.status in _OPEN:
            raise NotFound(identifier)
        return record

    async def _found(self, do: Do, namespace: str, name: str, since: float, upto: float, need: int | None) -> list[Invocation]:
        found: list[Invocation] = []
        cursor = ""
        while need is None or len(found) < need:
            page = await do(
                a.ListInvocations(
                    namespace=space(namespace), since=since, until=upto and upto + 0.001, limit=PAGE, cursor=cursor
                )
            )
            found += [r for r in page.items if r.status not in _OPEN and (not name or _called(r, name))]
            cursor = page.cursor
            if not cursor:
                break
        return found

    def _describe(self, record: Invocation) -> dict[str, Any]:
        note = _note(record)
        where = note.get("space") or record.namespace
        document = self._view.document(where, en.ACTION, record.function)
        revision = self._view.revision(where, record.function, str(record.revision)) if record.revision else None
        default = "0.0.1"
        if record.function.startswith(en.FIRED):
            return self._fired(record)
        return activation(
            record.id,
            namespace=namespace_of(record.namespace),
            path=note.get("path") or f"{namespace_of(where)}/{record.function}",
            body=document.body if document is not None else en.foreign(self._view, where, record.function, 1),
            version=revision.config.env.get("__OW_ACTION_VERSION", default) if revision is not None else default,
            start=record.started,
            timings=record.timings,
            cold=record.cold,
            cause="" if note.get("fired") else record.cause,
            timed_out=record.status is Status.TIMED_OUT,
            note=note,
        )

    def _fired(self, record: Invocation) -> dict[str, Any]:
        """The record of a trigger that was fired."""
        namespace, name = namespace_of(record.namespace), record.function.removeprefix(en.FIRED)
        trigger = self._view.document(record.namespace, en.TRIGGER, name)
        return {
            "activationId": record.id,
            "annotations": [],
            "name": name,
            "namespace": namespace,
            "publish": False,
            "start": round(record.started * 1000),
            "subject": namespace,
            "version": trigger.body["version"] if trigger is not None else "0.0.1",
        }

    def _followed(self, record: Invocation, rule: str, activation: str, error: str) -> str:
        """What the log of a firing tells of one rule."""
        document = self._view.document(record.namespace, en.RULE, rule)
        link = document.body["action"] if document is not None else None
        action = f"{link['path']}/{link['name']}" if link is not None else ""
        full = f"{namespace_of(record.namespace)}/{rule}"
        if not activation and not error:
            error = f"Rule '{full}' is inactive, action '{action}' was not activated."
        outcome = {"statusCode": 1, "success": False, "error": error}
        if activation:
            outcome = {"statusCode": 0, "success": True, "activationId": activation}
        return msgspec.json.encode(outcome | {"rule": full} | ({"action": action} if action else {})).decode()

    def _outcome(self, record: Invocation) -> oc.Outcome:
        return oc.of_record(record, self._timeout(record), LIMITS.result)

    def _timeout(self, record: Invocation) -> int:
        where = _note(record).get("space") or record.namespace
        revision = self._view.revision(where, record.function, str(record.revision)) if record.revision else None
        return round(revision.config.timeout_s * 1000) if revision is not None else LIMITS.timeout[1]

    def _summary(self, record: Invocation) -> dict[str, Any]:
        described = self._describe(record)
        described.pop("logs", None)
        return described | {"statusCode": self._outcome(record).code}

    async def _whole(self, do: Do, record: Invocation) -> dict[str, Any]:
        return self._describe(record) | {
            "logs": await self._logs(do, record),
            "response": self._outcome(record).response(),
        }

    async def _logs(self, do: Do, record: Invocation) -> list[str]:
        note = _note(record)
        if "logs" in note:
            return list(note["logs"])
        if record.function.startswith(en.FIRED):
            rules = ((one["trigger"].removeprefix(en.TOPIC), one["id"], one.get("error", "")) for one in note["deliveries"])
            return [self._followed(record, *rule) for rule in rules]
        where = note.get("space") or record.namespace
        lines: list[str] = []
        cursor = ""
        while True:
            try:
                page = await do(
                    a.ReadLogs(namespace=where, function=record.function, invocation=record.id, limit=1000, cursor=cursor)
                )
            except Forbidden:  # somebody else's action: what it prints is for its owner
                return []
            lines += [log_line(line) for line in page.items]
            if len(page.items) < 1000:
                return lines
            cursor = page.cursor


def _note(record: Invocation) -> dict[str, Any]:
    return msgspec.json.decode(record.note) if record.note[:1] == "{" else {}


def _called(record: Invocation, name: str) -> bool:
    """Whether the record is of what its caller would call so, with the package as the caller names it."""
    if record.function.startswith(en.FIRED):
        return record.function.removeprefix(en.FIRED) == name
    path = str(_note(record).get("path") or "")
    return (path.partition("/")[2] if path else record.function) == name


def _epoch(asked: dict[str, str], name: str) -> float:
    text = asked.get(name, "")
    if not text:
        return 0.0
    if not text.isdecimal() or len(text) > 14:
        raise Rejected(
            400, f"The query parameter '{name}' was malformed:\nParameter is not a valid value for epoch seconds: {text[:80]}"
        )
    return int(text) / 1000


def log_line(line: LogLine) -> str:
    """`2016-02-11T16:46:56.842065025Z  stdout: hello`"""
    moment = datetime.fromtimestamp(line.time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
    stream = line.stream if line.stream in ("stdout", "stderr") else "stderr"
    return f"{moment:<30} {stream}: {line.text}"


def activation(
    identifier: str,
    *,
    namespace: str,
    path: str,
    body: dict[str, Any],
    version: str,
    start: float,
    timings: Timings,
    cold: bool,
    cause: str = "",
    timed_out: bool = False,
    note: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a call without logs and response. `body` is what is said of the action; times in seconds."""
    wait, init, run, started = spans(timings, cold, start)
    made, annotations = _described(
        identifier,
        namespace,
        path,
        body,
        version,
        wait=wait,
        init=init,
        run=run,
        end=started + run,
        started=started,
        cold=cold,
        timed_out=timed_out,
    )
    if note and "bound" in note:
        annotations.append(_binding(path))
    if cause:
        made["cause"] = cause
        annotations.append({"key": "causedBy", "value": "sequence"})
    if note and "logs" in note:  # a composition: its log are its parts
        made |= {"duration": note["duration"], "annotations": _composed(annotations, note, cause), "logs": note["logs"]}
    return made


def _binding(path: str) -> dict[str, str]:
    return {"key": "binding", "value": path.rpartition("/")[0]}


def spans(timings: Timings, cold: bool, start: float) -> tuple[int, int, int, int]:
    """Of a call that was made at `start`, in milliseconds: waited, initialized, ran (with that), and when it began to."""
    wait = round((timings.queue + max(0.0, timings.cold - timings.init)) * 1000)
    init = round(timings.init * 1000) if cold else 0
    return wait, init, init + max(0, round(timings.run * 1000)), round(start * 1000) + wait


def template(*, namespace: str, path: str, body: dict[str, Any], version: str, cold: bool, bound: bool) -> bytes:
    """The record of a call as the answer to it: bytes to be filled with `%`, all but what differs from call to call.

    The holes are the id, wait, init (of a cold one only), duration, end and start in milliseconds, and the response in two
    pieces: see `outcome.OPENINGS`, and the result.
    """
    number = msgspec.Raw(b"\0d")  # a byte that JSON never holds
    made, annotations = _described(
        msgspec.Raw(b'"\0b"'),
        namespace,
        path,
        body,
        version,
        wait=number,
        init=number,
        run=number,
        end=number,
        started=number,
        cold=cold,
        timed_out=False,
    )
    if bound:
        annotations.append(_binding(path))
    made |= {"response": msgspec.Raw(b"\0b\0b}"), "logs": []}
    return msgspec.json.encode(made).replace(b"%", b"%%").replace(b"\0", b"%")


def _described(
    identifier: str | msgspec.Raw,
    namespace: str,
    path: str,
    body: dict[str, Any],
    version: str,
    *,
    wait: int | msgspec.Raw,
    init: int | msgspec.Raw,
    run: int | msgspec.Raw,
    end: int | msgspec.Raw,
    started: int | msgspec.Raw,
    cold: bool,
    timed_out: bool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A record, and the annotations in it."""
    limits = body["limits"]
    annotations: list[dict[str, Any]] = [
        {"key": "path", "value": path},
        {"key": "waitTime", "value": wait},
        {"key": "kind", "value": body["exec"]["kind"]},
        {"key": "timeout", "value": timed_out},
        {"key": "limits", "value": {name: limits[name] for name in ("concurrency", "logs", "memory", "timeout")}},
    ]
    if cold:
        annotations.append({"key": "initTime", "value": init})
    made = {
        "activationId": identifier,
        "annotations": annotations,
        "duration": run,
        "end": end,
        "name": path.rpartition("/")[2],
        "namespace": namespace,
        "publish": False,
        "start": started,
        "subject": namespace,
        "version": version,
    }
    return made, annotations


def _composed(annotations: list[dict[str, Any]], note: dict[str, Any], cause: str) -> list[dict[str, Any]]:
    """The annotations of a sequence or composition."""
    kept = [pair for pair in annotations if pair["key"] in ("path", "limits", "causedBy", "waitTime")]
    for pair in kept:
        if pair["key"] == "limits":
            pair["value"] = pair["value"] | {"memory": note["memory"]}
    made = [{"key": "topmost", "value": not cause}, *kept, {"key": "kind", "value": "sequence"}]
    if note.get("conductor"):
        made.append({"key": "conductor", "value": True})
    return made
