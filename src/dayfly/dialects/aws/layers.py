"""Layers: packages that functions share, each in numbered versions, and who may use them."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from ...actions import PutDocument, PutPackage
from ...errors import Conflict
from ...model.document import Document
from . import code
from .call import Call, page
from .faults import AwsError, conflict, invalid, missing
from .policies import add_statement, remove_statement
from .scope import new_uuid, now

KIND = "lambda/layer"
MOST = 5  # layers of a function
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)
_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[a-zA-Z0-9-_]+)(?::(?P<number>\d+))?"
)


async def publish(call: Call) -> dict[str, Any]:
    from .functions import package

    args, name = call.args, _name(call)
    data = await package(call, args["Content"])
    await call.prepare()
    kept = await call.do(PutPackage(namespace=call.scope.namespace, data=data, filename="layer.zip", keep=True))
    body, expect = _read(call, name)
    number = body["next"]
    arn = call.scope.arn(f"layer:{name}")
    version = {
        "LayerArn": arn,
        "LayerVersionArn": f"{arn}:{number}",
        "Version": number,
        "Description": args.get("Description", ""),
        "CreatedDate": datetime.fromtimestamp(now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000"),
        "Content": {
            "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "CodeSize": len(data),
        },
        "_package": kept.digest,
    }
    for member in ("CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"):
        if member in args:
            version[member] = args[member]
    body["versions"][str(number)] = version
    body["next"] += 1
    await _save(call, name, body, expect)
    return _located(call, version)


async def get(call: Call) -> dict[str, Any]:
    name, number = _numbered(call)
    version: dict[str, Any] | None = _read(call, name)[0]["versions"].get(str(number))
    if version is None:
        raise missing()
    return _located(call, version)


async def get_by_arn(call: Call) -> dict[str, Any]:
    found = _find(call, call.args["Arn"])
    if found is None:
        raise missing()
    return _located(call, found)


async def list_versions(call: Call) -> dict[str, Any]:
    versions = list(_read(call, _name(call))[0]["versions"].values())[::-1]
    return page([v for v in versions if _fits(v, call.args)], call.args, "LayerVersions")


async def list_all(call: Call) -> dict[str, Any]:
    found = []
    for document in call.view.documents(call.scope.namespace, KIND):
        fitting = [version for version in document.body["versions"].values() if _fits(version, call.args)]
        if fitting:
            latest = {member: value for member, value in fitting[-1].items() if member not in ("Content", "LayerArn")}
            arn = call.scope.arn(f"layer:{document.name}")
            found.append({"LayerName": document.name, "LayerArn": arn, "LatestMatchingVersion": latest})
    return page(found, call.args, "Layers")


async def delete(call: Call) -> dict[str, Any]:
    name, number = _numbered(call)
    body, expect = _read(call, name)
    if body["versions"].pop(str(number), None) is not None:
        body["policies"].pop(str(number), None)
        await _save(call, name, body, expect)
    return {}


async def get_policy(call: Call) -> dict[str, Any]:
    _, body, _, number = _version(call)
    policy = body["policies"].get(number)
    if policy is None:
        raise missing("No policy is associated with the given resource.")
    text = {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    return {"Policy": json.dumps(text, separators=(",", ":")), "RevisionId": policy["revision"]}


async def add_permission(call: Call) -> dict[str, Any]:
    args = call.args
    name, body, expect, number = _version(call)
    policy = body["policies"].setdefault(number, {"statements": [], "revision": new_uuid()})
    _expect(args, policy)
    principal = args["Principal"]
    account = re.fullmatch(r"\d{12}", principal)
    statement: dict[str, Any] = {
        "Sid": args["StatementId"],
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{principal}:root"} if account else principal,
        "Action": args["Action"],
        "Resource": body["versions"][number]["LayerVersionArn"],
    }
    if args.get("OrganizationId"):
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": args["OrganizationId"]}}
    add_statement(policy["statements"], statement)
    policy["revision"] = new_uuid()
    await _save(call, name, body, expect)
    return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": policy["revision"]}


async def remove_permission(call: Call) -> dict[str, Any]:
    name, body, expect, number = _version(call)
    policy = body["policies"].get(number, {"statements": [], "revision": ""})
    _expect(call.args, policy)
    remove_statement(policy["statements"], call.args["StatementId"])
    policy["revision"] = new_uuid()
    if not policy["statements"]:
        body["policies"].pop(number, None)
    await _save(call, name, body, expect)
    return {}


def _located(call: Call, version: dict[str, Any]) -> dict[str, Any]:
    """A version with where its code can be fetched."""
    content = version["Content"]
    return version | {"Content": content | {"Location": code.location(call, content, version["_package"])}}


def packages(layer: Document) -> list[str]:
    """What its versions hold: a function may ask for one at any time."""
    return [version["_package"] for version in layer.body["versions"].values()]


def referenced(call: Call, arns: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The layers of a function as its configuration shows them, and their packages. Raises AwsError."""
    if len(arns) > MOST:
        raise invalid(f"Cannot reference more than {MOST} layers.")
    shown, packages = [], []
    seen: dict[str, str] = {}
    for arn in arns:
        parsed = _ARN.fullmatch(arn)
        if parsed is None:
            raise invalid(f"Layer version {arn} does not exist.")
        if parsed["region"] != call.scope.region:
            raise invalid(
                f"Layers are not in the same region as the function. Layers are expected to be in region {call.scope.region}."
            )
        base = arn.rpartition(":")[0]
        if base in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[base]} and {arn} are versions of the same layer."
            )
        seen[base] = arn
        version = _find(call, arn)
        if version is None:
            raise invalid(f"Layer version {arn} does not exist.")
        shown.append({"Arn": arn, "CodeSize": version["Content"]["CodeSize"]})
        packages.append(version["_package"])
    return shown, packages


def _find(call: Call, arn: str) -> dict[str, Any] | None:
    parsed = _ARN.fullmatch(arn)
    if parsed is None or parsed["number"] is None or parsed["account"] != call.scope.account:
        return None
    document = call.view.document(call.scope.namespace, KIND, parsed["name"])
    found: dict[str, Any] | None = document.body["versions"].get(parsed["number"]) if document is not None else None
    return found


def _name(call: Call) -> str:
    given = call.args["LayerName"]
    parsed = _ARN.match(given)
    return str(parsed["name"]) if parsed else str(given)


def _numbered(call: Call) -> tuple[str, int]:
    number: int = call.args["VersionNumber"]
    if number < 1:
        raise invalid("Layer Version Cannot be less than 1")
    return _name(call), number


def _version(call: Call) -> tuple[str, dict[str, Any], int, str]:
    name, number = _name(call), str(call.args["VersionNumber"])
    body, expect = _read(call, name)
    if number not in body["versions"]:
        raise missing(f"Layer version {call.scope.arn(f'layer:{name}:{number}')} does not exist.")
    return name, body, expect, number


def _expect(args: dict[str, Any], policy: dict[str, Any]) -> None:
    if args.get("RevisionId") and args["RevisionId"] != policy["revision"]:
        raise AwsError("PreconditionFailedException", STALE)


def _read(call: Call, name: str) -> tuple[dict[str, Any], int]:
    document = call.view.document(call.scope.namespace, KIND, name)
    if document is None:
        return {"versions": {}, "next": 1, "policies": {}}, 0
    return copy.deepcopy(document.body), document.version


async def _save(call: Call, name: str, body: dict[str, Any], expect: int) -> None:
    try:
        await call.do(PutDocument(namespace=call.scope.namespace, kind=KIND, name=name, body=body, expect=expect))
    except Conflict:
        raise conflict("The layer was changed by another request at the same time.") from None


def _fits(version: dict[str, Any], args: dict[str, Any]) -> bool:
    runtime, architecture = args.get("CompatibleRuntime"), args.get("CompatibleArchitecture")
    return (runtime is None or runtime in version.get("CompatibleRuntimes", ())) and (
        architecture is None or architecture in version.get("CompatibleArchitectures", ("x86_64",))
    )
