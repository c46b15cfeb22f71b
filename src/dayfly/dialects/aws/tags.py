"""Tags of functions, event source mappings and code signing configurations."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from ...actions import PutDocument
from . import mappings, signing
from .call import Call
from .faults import invalid, missing
from .scope import function_name

MOST = 50  # of a resource
_KEPT = re.compile(r"arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:\d{12}:(event-source-mapping|code-signing-config):([a-zA-Z0-9-]+)")
_KINDS = {"event-source-mapping": mappings.KIND, "code-signing-config": signing.KIND}


async def tag(call: Call) -> dict[str, Any]:
    tags, save = _tagged(call)
    if not call.args["Tags"]:
        raise invalid("An error occurred and the request cannot be processed.")
    tags |= call.args["Tags"]
    if len(tags) > MOST:
        raise invalid("Number of tags exceeds resource tag limit.")
    await save()
    return {}


async def untag(call: Call) -> dict[str, Any]:
    tags, save = _tagged(call)
    for key in call.args["TagKeys"]:
        tags.pop(key, None)
    await save()
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    return {"Tags": _tagged(call)[0]}


def _tagged(call: Call) -> tuple[dict[str, str], Callable[[], Awaitable[Any]]]:
    """The tags of the resource, to be changed in place, and what keeps them. Raises AwsError."""
    arn: str = call.args["Resource"]
    kept = _KEPT.fullmatch(arn)
    if kept is not None:
        kind, name, space = _KINDS[kept[1]], kept[2], call.scope.namespace
        document = call.view.document(space, kind, name)
        if document is None:
            raise missing()
        tags = dict(document.body.get("_tags", {}))
        body = document.body | {"_tags": tags}
        put = PutDocument(namespace=space, kind=kind, name=name, body=body, expect=document.version)
        return tags, lambda: call.do(put)
    if ":function:" not in arn:
        raise missing()
    named = function_name(arn)
    if named.qualifier:
        raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
    record = call.record(named)

    async def save() -> None:
        record.touch()
        await record.save(call.do)

    return record.body["tags"], save
