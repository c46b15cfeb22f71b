"""STS: who am I, and credentials for a role, which here are good for whatever the caller's are."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from .call import Call, Perform
from .scope import now


def caller(call: Call) -> str:
    """The ARN of whoever calls."""
    identity = call.head.identity
    return f"arn:aws:iam::{call.scope.account}:user/{identity.name if identity is not None else 'local'}"


async def get_caller_identity(call: Call) -> dict[str, Any]:
    return {"Arn": caller(call), "UserId": "AIDA" + "DAYFLY".ljust(17, "0"), "Account": call.scope.account}


async def assume_role(call: Call) -> dict[str, Any]:
    role, session = call.args.get("RoleArn", ""), call.args.get("RoleSessionName", "session")
    expires = datetime.fromtimestamp(now() + float(call.args.get("DurationSeconds", 3600)), UTC)
    name = role.rpartition("/")[2]
    return {
        "Credentials": {
            "AccessKeyId": "ASIA" + secrets.token_hex(8).upper(),
            "SecretAccessKey": secrets.token_hex(20),
            "SessionToken": secrets.token_hex(32),
            "Expiration": expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
        "AssumedRoleUser": {
            "AssumedRoleId": f"AROA{'DAYFLY'.ljust(17, '0')}:{session}",
            "Arn": f"arn:aws:sts::{call.scope.account}:assumed-role/{name}/{session}",
        },
    }


PERFORMED: dict[str, Perform] = {"GetCallerIdentity": get_caller_identity, "AssumeRole": assume_role}
