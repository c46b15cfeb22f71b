"""Code signing configurations: kept and bound to functions. There is no signer here: all code counts as not signed."""

from __future__ import annotations

import copy
import secrets
from typing import Any

from ...actions import DeleteDocument, PutDocument
from .call import Call, page
from .faults import AwsError, conflict, missing
from .record import KIND as FUNCTION
from .scope import now, stamp

KIND = "lambda/code-signing"


async def create(call: Call) -> dict[str, Any]:
    identifier = "csc-" + secrets.token_hex(9)[:17]
    made = {
        "CodeSigningConfigId": identifier,
        "CodeSigningConfigArn": call.scope.arn(f"code-signing-config:{identifier}"),
        "AllowedPublishers": call.args["AllowedPublishers"],
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"} | call.args.get("CodeSigningPolicies", {}),
        "LastModified": stamp(now()),
        "_tags": call.args.get("Tags", {}),
    }
    if "Description" in call.args:
        made["Description"] = call.args["Description"]
    await call.prepare()
    await _save(call, made)
    return {"CodeSigningConfig": made}


async def get(call: Call) -> dict[str, Any]:
    return {"CodeSigningConfig": _find(call)}


async def update(call: Call) -> dict[str, Any]:
    found = _find(call)
    changes: dict[str, Any] = {name: call.args[name] for name in ("Description", "AllowedPublishers") if name in call.args}
    if "CodeSigningPolicies" in call.args:
        changes["CodeSigningPolicies"] = found["CodeSigningPolicies"] | call.args["CodeSigningPolicies"]
    if changes:
        found |= changes | {"LastModified": stamp(now())}
        await _save(call, found)
    return {"CodeSigningConfig": found}


async def delete(call: Call) -> dict[str, Any]:
    found = _find(call)
    if _users(call, found["CodeSigningConfigArn"]):
        arn = found["CodeSigningConfigArn"]
        raise conflict(f"The code signing configuration {arn} is used by functions: take it from them first.")
    await call.do(DeleteDocument(namespace=call.scope.namespace, kind=KIND, name=found["CodeSigningConfigId"]))
    return {}


async def list_all(call: Call) -> dict[str, Any]:
    found = [document.body for document in call.view.documents(call.scope.namespace, KIND)]
    return page(found, call.args, "CodeSigningConfigs")


async def list_functions(call: Call) -> dict[str, Any]:
    return page(_users(call, _find(call)["CodeSigningConfigArn"]), call.args, "FunctionArns")


async def put_function(call: Call) -> dict[str, Any]:
    require(call, call.args["CodeSigningConfigArn"])
    record = call.record()
    record.body["signing"] = call.args["CodeSigningConfigArn"]
    await record.save(call.do)
    return {"CodeSigningConfigArn": record.body["signing"], "FunctionName": record.name}


async def get_function(call: Call) -> dict[str, Any]:
    record = call.record()
    arn = record.body.get("signing")
    return {"CodeSigningConfigArn": arn, "FunctionName": record.name} if arn else {}


async def delete_function(call: Call) -> dict[str, Any]:
    record = call.record()
    if record.body.pop("signing", None) is not None:
        await record.save(call.do)
    return {}


def _users(call: Call, arn: str) -> list[str]:
    """The functions that are bound to a configuration."""
    documents = call.view.documents(call.scope.namespace, FUNCTION)
    return [call.scope.function_arn(document.name) for document in documents if document.body.get("signing") == arn]


def require(call: Call, arn: str) -> None:
    """Raises CodeSigningConfigNotFoundException."""
    if call.view.document(call.scope.namespace, KIND, arn.rpartition(":")[2]) is None:
        message = (
            f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
        )
        raise AwsError("CodeSigningConfigNotFoundException", message)


def admit(call: Call, arn: str, function: str) -> None:
    """Whether code may be deployed: nothing here has a signature, so nothing passes a configuration that enforces one."""
    document = call.view.document(call.scope.namespace, KIND, arn.rpartition(":")[2])
    if document is not None and document.body["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] == "Enforce":
        raise AwsError(
            "CodeVerificationFailedException",
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not "
            f"configured to accept. Check the provided signature for {function}.",
        )


def _find(call: Call) -> dict[str, Any]:
    arn = call.args["CodeSigningConfigArn"]
    document = call.view.document(call.scope.namespace, KIND, arn.rpartition(":")[2])
    if document is None:
        raise missing(f"The Lambda code signing configuration {arn} can not be found.", untyped=True)
    return copy.deepcopy(document.body)


async def _save(call: Call, body: dict[str, Any]) -> None:
    put = PutDocument(namespace=call.scope.namespace, kind=KIND, name=body["CodeSigningConfigId"], body=body)
    await call.do(put)
