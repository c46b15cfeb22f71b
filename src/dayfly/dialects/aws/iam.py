"""IAM, as far as tools need it to make a role for a function. Roles are kept; what their policies say is not enforced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ...actions import DeleteDocument, PutDocument
from ...errors import NotFound
from .call import Call, Perform
from .faults import AwsError
from .scope import now

KIND = "aws/role"


async def create_role(call: Call) -> dict[str, Any]:
    name = call.args.get("RoleName", "")
    if call.view.document(call.scope.namespace, KIND, name) is not None:
        raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
    path = call.args.get("Path", "/")
    role = {
        "Path": path,
        "RoleName": name,
        "RoleId": "AROA" + name.upper()[:16].ljust(17, "0"),
        "Arn": f"arn:aws:iam::{call.scope.account}:role{path}{name}",
        "CreateDate": datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "AssumeRolePolicyDocument": quote(call.args.get("AssumeRolePolicyDocument", "{}")),
        "Description": call.args.get("Description"),
        "MaxSessionDuration": 3600,
    }
    await call.prepare()
    body = {name: value for name, value in role.items() if value is not None}
    await call.do(PutDocument(namespace=call.scope.namespace, kind=KIND, name=name, body=body))
    return {"Role": body}


async def get_role(call: Call) -> dict[str, Any]:
    return {"Role": _role(call)}


async def list_roles(call: Call) -> dict[str, Any]:
    return {"Roles": [document.body for document in call.view.documents(call.scope.namespace, KIND)], "IsTruncated": False}


async def delete_role(call: Call) -> dict[str, Any]:
    try:
        await call.do(DeleteDocument(namespace=call.scope.namespace, kind=KIND, name=call.args.get("RoleName", "")))
    except NotFound:
        raise _missing(call) from None
    return {}


async def of_role(call: Call) -> dict[str, Any]:
    """Attach and detach policies: the role must be there, and that is all."""
    _role(call)
    return {}


async def list_attached(call: Call) -> dict[str, Any]:
    _role(call)
    return {"AttachedPolicies": [], "IsTruncated": False}


async def list_policies(call: Call) -> dict[str, Any]:
    _role(call)
    return {"PolicyNames": [], "IsTruncated": False}


def _role(call: Call) -> dict[str, Any]:
    document = call.view.document(call.scope.namespace, KIND, call.args.get("RoleName", ""))
    if document is None:
        raise _missing(call)
    return document.body


def _missing(call: Call) -> AwsError:
    return AwsError("NoSuchEntity", f"The role with name {call.args.get('RoleName', '')} cannot be found.", 404)


PERFORMED: dict[str, Perform] = {
    "CreateRole": create_role,
    "GetRole": get_role,
    "ListRoles": list_roles,
    "DeleteRole": delete_role,
    "AttachRolePolicy": of_role,
    "DetachRolePolicy": of_role,
    "PutRolePolicy": of_role,
    "DeleteRolePolicy": of_role,
    "ListAttachedRolePolicies": list_attached,
    "ListRolePolicies": list_policies,
}
