"""STS: who am I, and credentials for a role, which here are good for whatever the caller's are."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from .call import Call, Perform
from .record import find
from .scope import Scope, now, partition


def caller(call: Call) -> str:
    """The ARN of whoever calls."""
    return _caller(call)[0]


async def get_caller_identity(call: Call) -> dict[str, Any]:
    arn, identifier = _caller(call)
    return {"Arn": arn, "UserId": identifier, "Account": call.scope.account}


async def assume_role(call: Call) -> dict[str, Any]:
    role, session = call.args.get("RoleArn", ""), call.args.get("RoleSessionName", "session")
    expires = datetime.fromtimestamp(now() + float(call.args.get("DurationSeconds", 3600)), UTC)
    arn, identifier = _assumed(call.scope, role, session)
    return {
        "Credentials": {
            "AccessKeyId": "ASIA" + secrets.token_hex(8).upper(),
            "SecretAccessKey": secrets.token_hex(20),
            "SessionToken": secrets.token_hex(32),
            "Expiration": expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
        "AssumedRoleUser": {"AssumedRoleId": identifier, "Arn": arn},
    }


def _caller(call: Call) -> tuple[str, str]:
    """ARN and id: a function's are those of its role."""
    scope, identity = call.scope, call.head.identity
    if identity is None or not identity.instance:
        name = identity.name if identity is not None else "local"
        return f"arn:aws:iam::{scope.account}:user/{name}", "AIDA" + "DAYFLY".ljust(17, "0")
    function = identity.name.rpartition("/")[2]
    record = find(call.view, scope, function)
    return _assumed(scope, record.body["latest"].get("Role", "") if record is not None else "", function)


def _assumed(scope: Scope, role: str, session: str) -> tuple[str, str]:
    """ARN and id of who is in a role (an ARN)."""
    arn = f"arn:{partition(scope.region)}:sts::{scope.account}:assumed-role/{role.rpartition('/')[2]}/{session}"
    return arn, f"AROA{'DAYFLY'.ljust(17, '0')}:{session}"


PERFORMED: dict[str, Perform] = {"GetCallerIdentity": get_caller_identity, "AssumeRole": assume_role}
