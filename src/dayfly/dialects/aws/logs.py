"""CloudWatch Logs over the platform's own: a group a function, a stream an instance.

What a function prints is kept by the platform. START, END and REPORT are not: they are made here from the records of the calls, so they are
there for every call, also for one that ran out of time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ...actions import ListInvocations, ReadLogs
from ...model.call import Invocation
from ...model.log import LogLine
from .call import Call, Perform
from .calllog import of_record
from .faults import AwsError
from .invoke import request_id
from .record import KIND, LATEST
from .scope import Name

PAGE = 10_000  # events of an answer
_PREFIX = "/aws/lambda/"
_OTHER_GROUP = "aws/log-group"


async def describe_groups(call: Call) -> dict[str, Any]:
    prefix = call.args.get("logGroupNamePrefix", "")
    pattern = call.args.get("logGroupNamePattern", "")
    found = []
    for function in call.view.functions(call.scope.namespace):
        name = _group(call, function.name)
        if name.startswith(prefix) and pattern in name:
            found.append(_described(call, name, function.created))
    for document in call.view.documents(call.scope.namespace, _OTHER_GROUP, prefix):
        if pattern in document.name and all(group["logGroupName"] != document.name for group in found):
            found.append(_described(call, document.name, document.created))
    return {"logGroups": sorted(found, key=lambda group: str(group["logGroupName"]))}


async def create_group(call: Call) -> dict[str, Any]:
    from ...actions import PutDocument

    name = call.args.get("logGroupName", "")
    if _function(call, name) or call.view.document(call.scope.namespace, _OTHER_GROUP, name) is not None:
        raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists", 400)
    await call.prepare()
    await call.do(PutDocument(namespace=call.scope.namespace, kind=_OTHER_GROUP, name=name, body={}))
    return {}


async def delete_group(call: Call) -> dict[str, Any]:
    from ...actions import DeleteDocument

    name = call.args.get("logGroupName", "")
    if call.view.document(call.scope.namespace, _OTHER_GROUP, name) is not None:
        await call.do(DeleteDocument(namespace=call.scope.namespace, kind=_OTHER_GROUP, name=name))
    elif not _function(call, name):
        raise _missing()
    return {}


async def describe_streams(call: Call) -> dict[str, Any]:
    events = await _events(call, 0.0)
    prefix = call.args.get("logStreamNamePrefix", "")
    streams: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        streams.setdefault(event["logStreamName"], []).append(event)
    found = [
        {
            "logStreamName": name,
            "creationTime": inside[0]["timestamp"],
            "firstEventTimestamp": inside[0]["timestamp"],
            "lastEventTimestamp": inside[-1]["timestamp"],
            "lastIngestionTime": inside[-1]["ingestionTime"],
            "arn": call.scope.arn(f"log-group:{_named(call)}:log-stream:{name}", "logs"),
            "storedBytes": 0,
        }
        for name, inside in streams.items()
        if name.startswith(prefix)
    ]
    key = "lastEventTimestamp" if call.args.get("orderBy") == "LastEventTime" else "logStreamName"
    found.sort(key=lambda stream: stream[key], reverse=bool(call.args.get("descending")))
    return {"logStreams": found[: call.args.get("limit") or 50]}


async def get_events(call: Call) -> dict[str, Any]:
    stream = call.args.get("logStreamName", "")
    events = [event for event in await _events(call) if event["logStreamName"] == stream]
    if not events and not call.args.get("nextToken"):
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.", 400)
    token = str(call.args.get("nextToken", ""))
    start = int(token[2:]) if token[:2] == "f/" and token[2:].isdecimal() else 0
    chosen = events[start : start + (call.args.get("limit") or PAGE)]
    kept = ("timestamp", "message", "ingestionTime")
    return {
        "events": [{name: event[name] for name in kept} for event in chosen],
        "nextForwardToken": f"f/{start + len(chosen)}",
        "nextBackwardToken": "b/0",
    }


async def filter_events(call: Call) -> dict[str, Any]:
    args = call.args
    events = await _events(call)
    streams, prefix = args.get("logStreamNames"), args.get("logStreamNamePrefix", "")
    words = _pattern(args.get("filterPattern") or "")
    chosen = [
        event
        for event in events
        if (not streams or event["logStreamName"] in streams)
        and event["logStreamName"].startswith(prefix)
        and all((word in event["message"]) is wanted for word, wanted in words)
    ]
    token = str(args.get("nextToken", ""))
    start = int(token) if token.isdecimal() else 0
    size = args.get("limit") or PAGE
    result: dict[str, Any] = {"events": chosen[start : start + size], "searchedLogStreams": []}
    if start + size < len(chosen):
        result["nextToken"] = str(start + size)
    return result


async def nothing(call: Call) -> dict[str, Any]:
    """Retention, tags: accepted where the group exists."""
    _require(call)
    return {}


def _pattern(text: str) -> list[tuple[str, bool]]:
    """The words that a message must hold (or must not): terms, quoted or not, `-` before those to leave out."""
    found = re.findall(r'(-?)(?:"([^"]*)"|(\S+))', text)
    return [(quoted or bare, not minus) for minus, quoted, bare in found if quoted or bare]


async def _events(call: Call, since: float | None = None) -> list[dict[str, Any]]:
    """All events of the group, oldest first: what was printed, and each call's own lines around it."""
    function = _require(call)
    if not function:
        return []
    space = call.scope.namespace
    start = (call.args.get("startTime") or 0) / 1000 if since is None else since
    end = (call.args.get("endTime") or 0) / 1000 if since is None else 0.0
    lines: list[LogLine] = []
    cursor = ""
    while True:
        page = await call.do(ReadLogs(namespace=space, function=function, since=start or 0.001, limit=PAGE, cursor=cursor))
        lines += page.items
        cursor = page.cursor
        if len(page.items) < PAGE or len(lines) >= 10 * PAGE:
            break
    records = (await call.do(ListInvocations(namespace=space, function=function, since=start, limit=1000))).items
    found = _merged(call, function, lines, [record for record in records if record.instance])
    if end:
        found = [event for event in found if event["timestamp"] < end * 1000]
    return found


def _merged(call: Call, function: str, lines: list[LogLine], records: list[Invocation]) -> list[dict[str, Any]]:
    printed: dict[str, list[LogLine]] = {}
    events: list[tuple[float, int, dict[str, Any]]] = []
    known = {record.id for record in records}
    for line in lines:
        if line.invocation in known:
            printed.setdefault(line.invocation, []).append(line)
        else:
            events.append((line.time, 1, _event(call, function, line.instance, line.revision, line.time, line.text)))
    for record in records:
        mine = printed.get(record.id, [])
        options = _options(call, function, record.revision)
        one = of_record(request_id(record.id), record, options)
        first = min([one.began, *(line.time for line in mine)])
        last = max([one.end, *(line.time for line in mine)])
        told = [(record.started, -1, text) for text in (one.birth(record.instance) if record.cold or one.load_s else [])]
        told += [(first, 0, text) for text in one.start()]
        told += [(line.time, 1, line.text) for line in mine]
        told += [(last, 2, text) for text in one.finish()]
        events += [
            (moment, order, _event(call, function, record.instance, record.revision, moment, text))
            for moment, order, text in told
        ]
    events.sort(key=lambda event: event[:2])
    for at, (_, _, event) in enumerate(events):
        event["eventId"] = f"{event['timestamp']:020d}{at:036d}"
    return [event for _, _, event in events]


def _event(call: Call, function: str, instance: str, revision: int, moment: float, text: str) -> dict[str, Any]:
    day = datetime.fromtimestamp(moment, UTC).strftime("%Y/%m/%d")
    message = text.replace("\r", "\n")
    return {
        "logStreamName": f"{day}/[{_version(call, function, revision)}]{instance}",
        "timestamp": int(moment * 1000),
        "ingestionTime": int(moment * 1000),
        "message": message if message.endswith("\n") else message + "\n",
    }


def _version(call: Call, function: str, revision: int) -> str:
    return _options(call, function, revision).get("version", LATEST)


def _options(call: Call, function: str, revision: int) -> dict[str, str]:
    found = call.view.revision(call.scope.namespace, function, str(revision))
    return found.config.options if found is not None else {}


def _named(call: Call) -> str:
    name = call.args.get("logGroupName") or str(call.args.get("logGroupIdentifier", "")).partition(":log-group:")[2]
    return str(name or call.args.get("logGroupIdentifier", "")).removesuffix(":*")


def _require(call: Call) -> str:
    """The function whose group it is; empty for a group that is no function's. Raises ResourceNotFoundException."""
    name = _named(call)
    function = _function(call, name)
    if not function and call.view.document(call.scope.namespace, _OTHER_GROUP, name) is None:
        raise _missing()
    return function


def _function(call: Call, group: str) -> str:
    name = group.removeprefix(_PREFIX)
    if group.startswith(_PREFIX) and call.view.function(call.scope.namespace, name) is not None:
        return name
    for document in call.view.documents(call.scope.namespace, KIND):
        if document.body["latest"]["LoggingConfig"]["LogGroup"] == group and call.find(Name(document.name)) is not None:
            return document.name
    return ""


def _group(call: Call, function: str) -> str:
    document = call.view.document(call.scope.namespace, KIND, function)
    return str(document.body["latest"]["LoggingConfig"]["LogGroup"]) if document is not None else _PREFIX + function


def _described(call: Call, name: str, created: float) -> dict[str, Any]:
    arn = call.scope.arn(f"log-group:{name}", "logs")
    return {
        "logGroupName": name,
        "creationTime": int(created * 1000),
        "metricFilterCount": 0,
        "arn": arn + ":*",
        "logGroupArn": arn,
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
    }


def _missing() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log group does not exist.", 400)


PERFORMED: dict[str, Perform] = {
    "DescribeLogGroups": describe_groups,
    "CreateLogGroup": create_group,
    "DeleteLogGroup": delete_group,
    "DescribeLogStreams": describe_streams,
    "GetLogEvents": get_events,
    "FilterLogEvents": filter_events,
    "PutRetentionPolicy": nothing,
    "DeleteRetentionPolicy": nothing,
}
