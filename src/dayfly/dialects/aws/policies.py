"""Who may call a function: resource policies, statement by statement, or as a whole."""

from __future__ import annotations

import json
import re
from typing import Any

from .call import Call
from .faults import STALE, AwsError, conflict, invalid, missing
from .record import LATEST, Record
from .scope import Name, function_name

SIZE = 20480  # bytes of a policy
_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:aws[a-zA-Z-]*:iam::\d{12}:(root|(user|role)/.+)|[a-z0-9.-]+\.amazonaws\.com(\.cn)?|[a-z0-9-]+\.alexa\.\S+"
)


async def get_policy(call: Call) -> dict[str, Any]:
    named = call.name()
    record = call.record(Name(named.name, "", named.account, named.region))
    return _shown(record, named.qualifier)


async def add_permission(call: Call) -> dict[str, Any]:
    args, named = call.args, call.name()
    if named.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    record = call.record(Name(named.name, "", named.account, named.region))
    record.require(named.qualifier)
    policy = record.body["policies"].setdefault(named.qualifier, {"statements": []})
    _expect(args, record, named.qualifier)
    if not _PRINCIPAL.fullmatch(args["Principal"]):
        raise invalid("The provided principal was invalid. Please check the principal and try again.")
    if "FunctionUrlAuthType" in args and args["Action"] != "lambda:InvokeFunctionUrl":
        raise invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    statement = _statement(args, record, named.qualifier)
    add_statement(policy["statements"], statement)
    if len(json.dumps(policy["statements"])) > SIZE:
        raise AwsError("PolicyLengthExceededException", "The final policy size is bigger than the limit (20480).")
    record.touch(named.qualifier)
    await record.save(call.do)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def remove_permission(call: Call) -> dict[str, Any]:
    args, named = call.args, call.name()
    record = call.record(
        Name(named.name, "", named.account, named.region), message="No policy found for: " + call.scope.function_arn(named.name)
    )
    record.require(named.qualifier)
    policy = record.body["policies"].get(named.qualifier)
    if policy is None:
        raise missing("No policy is associated with the given resource.")
    _expect(args, record, named.qualifier)
    remove_statement(policy["statements"], args["StatementId"])
    record.touch(named.qualifier)
    if not policy["statements"]:
        del record.body["policies"][named.qualifier]
    await record.save(call.do)
    return {}


async def put_resource_policy(call: Call) -> dict[str, Any]:
    record, qualifier = _resource(call)
    _expect(call.args, record, qualifier)
    try:
        given = json.loads(call.args["Policy"])["Statement"]
    except (ValueError, TypeError, KeyError):
        raise invalid("The policy is not a JSON document with a Statement.") from None
    statements = given if isinstance(given, list) else [given]
    if not all(isinstance(each, dict) and {"Effect", "Principal", "Action"} <= each.keys() for each in statements):
        raise invalid("Each statement of a policy needs an Effect, a Principal and an Action.")
    record.body["policies"][qualifier] = {"statements": statements}
    record.touch(qualifier)
    await record.save(call.do)
    return _shown(record, qualifier)


async def get_resource_policy(call: Call) -> dict[str, Any]:
    record, qualifier = _resource(call)
    return _shown(record, qualifier)


async def delete_resource_policy(call: Call) -> dict[str, Any]:
    record, qualifier = _resource(call)
    if record.body["policies"].pop(qualifier, None) is None:
        raise missing()
    _expect(call.args, record, qualifier)
    record.touch(qualifier)
    await record.save(call.do)
    return {}


def add_statement(statements: list[dict[str, Any]], statement: dict[str, Any]) -> None:
    if any(known.get("Sid") == statement["Sid"] for known in statements):
        raise conflict(
            f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or remove the "
            "existing statement."
        )
    statements.append(statement)


def remove_statement(statements: list[dict[str, Any]], identifier: str) -> None:
    kept = [statement for statement in statements if statement.get("Sid") != identifier]
    if len(kept) == len(statements):
        raise missing(f"Statement {identifier} is not found in resource policy.")
    statements[:] = kept


def allows_urls(record: Record, qualifier: str) -> bool:
    """Whether everybody may call the function's URL: nobody is known, so conditions on who calls cannot be met."""
    statements = record.body["policies"].get(qualifier, {"statements": []})["statements"]
    return {each["Effect"] for each in statements if _opens(each)} == {"Allow"}


def _opens(statement: dict[str, Any]) -> bool:
    """Whether the statement is about an unsigned call of a URL."""
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    conditions = statement.get("Condition", {})
    return (
        statement["Principal"] in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        and not {"lambda:InvokeFunctionUrl", "lambda:*", "*"}.isdisjoint(actions)
        and conditions in ({}, {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})
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


def _expect(args: dict[str, Any], record: Record, qualifier: str) -> None:
    """A policy has the revision id of what it is about."""
    if args.get("RevisionId") and args["RevisionId"] != record.holder(qualifier)["RevisionId"]:
        raise AwsError("PreconditionFailedException", STALE.replace("GetFunction/GetAlias", "GetPolicy"))


def _resource(call: Call) -> tuple[Record, str]:
    """The function that a whole ARN names, and its qualifier. Raises AwsError."""
    arn: str = call.args["ResourceArn"]
    if ":function:" not in arn:
        raise missing()
    named = function_name(arn)
    record = call.record(Name(named.name, "", named.account, named.region))
    if not record.exists(named.qualifier):
        raise missing(f"Function not found: {arn}")
    return record, named.qualifier


def _shown(record: Record, qualifier: str) -> dict[str, Any]:
    policy = record.body["policies"].get(qualifier)
    if policy is None:
        raise missing()
    text = {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    return {"Policy": json.dumps(text, separators=(",", ":")), "RevisionId": record.holder(qualifier)["RevisionId"]}
