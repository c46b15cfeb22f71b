"""CloudFormation: what `sam remote invoke` asks it for the name of a function or a queue. There are no stacks here."""

from __future__ import annotations

from typing import Any

from ...actions import GetQueue
from ...errors import NotFound
from .call import Call, Perform
from .faults import AwsError
from .scope import function_name


async def describe_stack_resources(call: Call) -> dict[str, Any]:
    name = call.args.get("PhysicalResourceId", "")
    kind = await _kind(call, name) if name else None
    if kind is None:
        named = name or call.args.get("StackName", "")
        raise AwsError("ValidationError", f"Stack for {named} does not exist: Dayfly has no stacks", 400)
    resource = {
        "PhysicalResourceId": name,
        "LogicalResourceId": name,
        "ResourceType": kind,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    return {"StackResources": [resource]}


async def _kind(call: Call, name: str) -> str | None:
    if name.startswith(("http://", "https://")):  # a queue's physical id is its URL
        try:
            await call.do(GetQueue(namespace=call.scope.namespace, name=name.rpartition("/")[2]))
        except NotFound:
            return None
        return "AWS::SQS::Queue"
    return "AWS::Lambda::Function" if call.find(function_name(name)) is not None else None


PERFORMED: dict[str, Perform] = {"DescribeStackResources": describe_stack_resources}
