"""Who may call a function: resource policies, statement by statement. Tags, too."""

from __future__ import annotations

import json
import re
from typing import Any

from .call import Call
from .faults import STALE, AwsError, conflict, invalid, missing
from .record import LATEST, Record
from .scope import Name, function_name, new_uuid

TAGS = 50  # of a resource
SIZE = 20480  # bytes of a policy
_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:aws[a-zA-Z-]*:iam::\d{12}:(root|(user|role)/.+)|[a-z0-9.-]+\.amazonaws\.com(\.cn)?|[a-z0-9-]+\.alexa\.\S+"
)


async def get_policy(call: Call) -> dict[str, Any]:
    named = call.name()
    record = call.record(Name(named.name, "", named.account, named.region))
    policy = record.body["policies"].get(_key(named))
    if policy is None:
        raise missing()
    text = {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    return {"Policy": json.dumps(text, separators=(",", ":")), "RevisionId": policy["revision"]}


async def add_permission(call: Call) -> dict[str, Any]:
    args, named = call.args, call.name()
    if named.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    record = call.record(Name(named.name, "", named.account, named.region))
    if not record.exists(named.qualifier):
        raise missing(f"Function not found: {record.arn(named.qualifier)}")
    policy = record.body["policies"].setdefault(_key(named), {"statements": [], "revision": record.latest["RevisionId"]})
    _expect(args, policy)
    if not _PRINCIPAL.fullmatch(args["Principal"]):
        raise invalid("The provided principal was invalid. Please check the principal and try again.")
    statement = _statement(args, record, named.qualifier)
    add_statement(policy["statements"], statement)
    if len(json.dumps(policy["statements"])) > SIZE:
        raise AwsError("PolicyLengthExceededException", "The final policy size is bigger than the limit (20480).")
    policy["revision"] = new_uuid()
    await record.save(call.do)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def remove_permission(call: Call) -> dict[str, Any]:
    args, named = call.args, call.name()
    record = call.record(
        Name(named.name, "", named.account, named.region), message="No policy found for: " + call.scope.function_arn(named.name)
    )
    if not record.exists(named.qualifier):
        raise missing(f"Function not found: {record.arn(named.qualifier)}")
    policy = record.body["policies"].get(_key(named))
    if policy is None:
        raise missing("No policy is associated with the given resource.")
    _expect(args, policy)
    remove_statement(policy["statements"], args["StatementId"])
    policy["revision"] = new_uuid()
    if not policy["statements"]:
        del record.body["policies"][_key(named)]
    await record.save(call.do)
    return {}


async def tag(call: Call) -> dict[str, Any]:
    record = _tagged(call)
    if not call.args["Tags"]:
        raise invalid("An error occurred and the request cannot be processed.")
    merged = record.body["tags"] | call.args["Tags"]
    if len(merged) > TAGS:
        raise invalid("Number of tags exceeds resource tag limit.")
    record.body["tags"] = merged
    await record.save(call.do)
    return {}


async def untag(call: Call) -> dict[str, Any]:
    record = _tagged(call)
    if not call.args.get("TagKeys"):
        message = "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"
        raise AwsError("ValidationException", message, 400)
    for key in call.args["TagKeys"]:
        record.body["tags"].pop(key, None)
    await record.save(call.do)
    return {}


async def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": _tagged(call).body["tags"]}


def add_statement(statements: list[dict[str, Any]], statement: dict[str, Any]) -> None:
    if any(known["Sid"] == statement["Sid"] for known in statements):
        raise conflict(
            f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or remove the "
            "existing statement."
        )
    statements.append(statement)


def remove_statement(statements: list[dict[str, Any]], identifier: str) -> None:
    kept = [statement for statement in statements if statement["Sid"] != identifier]
    if len(kept) == len(statements):
        raise missing(f"Statement {identifier} is not found in resource policy.")
    statements[:] = kept


def allows_urls(record: Record, qualifier: str) -> bool:
    """Whether everybody may call the function's URL."""
    policy = record.body["policies"].get(qualifier, {"statements": []})
    return any(
        statement["Principal"] in ("*", {"AWS": "*"}) and statement["Action"] in ("lambda:InvokeFunctionUrl", "lambda:*")
        for statement in policy["statements"]
    )


def _statement(args: dict[str, Any], record: Record, qualifier: str) -> dict[str, Any]:
    principal = args["Principal"]
    who: Any = principal
    if principal.endswith((".amazonaws.com", ".amazonaws.com.cn")) or ".alexa." in principal:
        who = {"Service": principal}
    elif re.fullmatch(r"\d{12}", principal):
        who = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal != "*":
        who = {"AWS": principal}
    statement = {
        "Sid": args["StatementId"],
        "Effect": "Allow",
        "Principal": who,
        "Action": args["Action"],
        "Resource": record.arn(qualifier),
    }
    conditions: dict[str, dict[str, str]] = {}
    equal = {
        "PrincipalOrgID": "aws:PrincipalOrgID",
        "SourceAccount": "AWS:SourceAccount",
        "EventSourceToken": "lambda:EventSourceToken",
        "FunctionUrlAuthType": "lambda:FunctionUrlAuthType",
    }
    for member, name in equal.items():
        if member in args:
            conditions.setdefault("StringEquals", {})[name] = args[member]
    if "SourceArn" in args:
        conditions["ArnLike"] = {"AWS:SourceArn": args["SourceArn"]}
    if args.get("InvokedViaFunctionUrl") is not None:
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": str(args["InvokedViaFunctionUrl"]).lower()}
    if conditions:
        statement["Condition"] = conditions
    return statement


def _expect(args: dict[str, Any], policy: dict[str, Any]) -> None:
    if args.get("RevisionId") and args["RevisionId"] != policy["revision"]:
        raise AwsError("PreconditionFailedException", STALE.replace("GetFunction/GetAlias", "GetPolicy"))


def _key(named: Name) -> str:
    return named.qualifier


def _tagged(call: Call) -> Record:
    arn: str = call.args["Resource"]
    if ":function:" not in arn:
        raise missing()
    named = function_name(arn)
    if named.qualifier:
        raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
    return call.record(named)
