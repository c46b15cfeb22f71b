"""Functions: create, read, change, delete, list."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from ...actions import DeleteDocument, DeleteFunction, PutPackage
from ...errors import DayflyError, NotFound
from . import asynchronous, code, layers, signing, sts, versions
from .call import Call, page
from .faults import STALE, AwsError, conflict, invalid
from .record import KIND, LATEST, Record, defaults, fresh, listed
from .s3 import objects
from .s3.request import worded as s3_worded
from .scope import Name, new_uuid, now, place, stamp
from .service import model

UNZIPPED = 262_144_000  # bytes of a package, layers included
ENVIRONMENT = 4096  # bytes of all variables as JSON
NAME = 64  # characters
# Reserved: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
_RESERVED = frozenset(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_MEMORY_SIZE "
    "AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY "
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR "
    "AWS_LAMBDA_METADATA_API AWS_LAMBDA_METADATA_TOKEN".split()
)
# Members of a configuration that requests set and answers show as they are.
_PLAIN = (
    "Role", "Handler", "Description", "Timeout", "MemorySize", "KMSKeyArn", "FileSystemConfigs", "EphemeralStorage", "TenancyConfig",
    "DurableConfig", "CapacityProviderConfig", "Architectures", "Runtime", "PackageType",
)  # fmt: skip

_LEVELS = ("ApplicationLogLevel", "SystemLogLevel")  # members of a LoggingConfig that JSON alone has


async def create(call: Call) -> dict[str, Any]:
    args, scope = call.args, call.scope
    named = call.name()
    scope = place(scope, named)
    if scope.account != call.scope.account:
        arn = scope.function_arn(named.name)
        raise AwsError(
            "AccessDeniedException",
            f"User: {sts.caller(call)} is not authorized to perform: lambda:CreateFunction on resource: {arn} because no "
            "resource-based policy allows the lambda:CreateFunction action",
            403,
        )
    if len(named.name) > NAME:
        raise invalid(
            f"1 validation error detected: Value '{args['FunctionName']}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {NAME}"
        )
    if args.get("PackageType") == "Image" or "ImageUri" in args["Code"]:
        raise invalid("Functions defined with container images are not supported here. Use a deployment package.")
    if not args.get("Runtime") or not args.get("Handler"):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    _check(call, args)
    if call.view.function(scope.namespace, named.name) is not None:
        raise conflict(f"Function already exist: {named.name}")
    await call.prepare()
    latest = defaults(scope, named.name)
    _apply(call, latest, args)
    if "CodeSigningConfigArn" in args:
        signing.require(call, args["CodeSigningConfigArn"])
        signing.admit(call, args["CodeSigningConfigArn"], scope.function_arn(named.name))
    await _code(call, latest, args["Code"])
    record = Record(scope, named.name, fresh(latest), 0)
    stale = call.view.document(scope.namespace, KIND, named.name)
    if stale is not None:  # left of a function that was deleted natively
        await call.do(DeleteDocument(namespace=scope.namespace, kind=KIND, name=named.name))
    record.body["tags"] = dict(args.get("Tags") or {})
    if "CodeSigningConfigArn" in args:
        record.body["signing"] = args["CodeSigningConfigArn"]
    await versions.deploy(call, record, latest)
    if args.get("Publish"):
        await versions.publish(call, record, latest.get("Description", ""))
    await record.save(call.do)
    if "DeadLetterConfig" in latest:
        await asynchronous.apply(call, record, LATEST)
    shown = _pending(record.configuration()) | {"RevisionId": new_uuid()}
    if args.get("Publish"):
        shown["Version"] = "1"
    return shown


async def get(call: Call) -> dict[str, Any]:
    named = call.name()
    record = call.record(named)
    configuration = record.configuration(named.qualifier)
    result: dict[str, Any] = {
        "Configuration": configuration,
        "Code": {"RepositoryType": "S3", "Location": code.location(call, configuration, configuration["_package"])},
    }
    if record.body["tags"]:
        result["Tags"] = record.body["tags"]
    if record.body.get("reserved") is not None:
        result["Concurrency"] = {"ReservedConcurrentExecutions": record.body["reserved"]}
    return result


async def get_configuration(call: Call) -> dict[str, Any]:
    named = call.name()
    return call.record(named).configuration(named.qualifier)


async def update_configuration(call: Call) -> dict[str, Any]:
    record = _changing(call)
    _check(call, call.args)
    latest = record.latest
    _apply(call, latest, call.args)
    await _changed(call, record)
    if "DeadLetterConfig" in call.args:
        await asynchronous.apply(call, record, LATEST)
    return _updating(record)


async def update_code(call: Call) -> dict[str, Any]:
    args = call.args
    record = _changing(call)
    if "ImageUri" in args:
        raise invalid("Please don't provide ImageUri when updating a function with packageType Zip.")
    if "Architectures" in args:
        record.latest["Architectures"] = args["Architectures"]
    signing.admit(call, record.body.get("signing", ""), record.arn())
    await _code(call, record.latest, args)
    if args.get("DryRun"):
        return record.configuration()
    await _changed(call, record)
    if args.get("Publish"):
        published = await versions.publish(call, record, record.latest.get("Description", ""))
        await record.save(call.do)
        return _pending(published)
    return _updating(record)


async def delete(call: Call) -> dict[str, Any]:
    named = call.name()
    if named.qualifier == LATEST:
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    record = call.record(Name(named.name, "", named.account, named.region))
    if not named.qualifier:
        await call.do(DeleteFunction(namespace=record.scope.namespace, name=record.name))
        for kind, name in [(KIND, record.name), *(("lambda/url", url["_id"]) for url in record.body["urls"].values())]:
            try:
                space = record.scope.namespace if kind == KIND else "default"
                await call.do(DeleteDocument(namespace=space, kind=kind, name=name))
            except NotFound:
                pass
        return {"StatusCode": 204}
    if named.qualifier in record.body["aliases"]:
        raise invalid("Deletion of aliases is not currently supported.")
    pointing = [
        name
        for name, alias in record.body["aliases"].items()
        if named.qualifier == alias["FunctionVersion"]
        or named.qualifier in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    ]
    if pointing:
        raise conflict(f"Version was not able to be deleted. The following aliases reference it: {', '.join(pointing)}")
    if record.body["versions"].pop(named.qualifier, None) is not None:
        for part in ("policies", "invoke_configs", "provisioned"):
            record.body[part].pop(named.qualifier, None)
        await record.save(call.do)
        await versions.let_go(call, record, named.qualifier)
    return {"StatusCode": 204}


async def list_all(call: Call) -> dict[str, Any]:
    found = []
    for function in call.view.functions(call.scope.namespace):
        record = call.find(Name(function.name))
        if record is None:
            continue
        if call.args.get("FunctionVersion") == "ALL":
            found.append(listed(record.latest, record.arn(LATEST)))
            found += [listed(version, record.arn(number)) for number, version in record.body["versions"].items()]
        else:
            found.append(listed(record.latest, record.arn()))
    return page(found, call.args, "Functions")


def _changing(call: Call) -> Record:
    named = call.name()
    record = call.record(named)
    revision = call.args.get("RevisionId")
    if revision is not None and revision != record.latest["RevisionId"]:
        raise AwsError("PreconditionFailedException", STALE)
    return record


async def _changed(call: Call, record: Record) -> None:
    latest = record.latest
    latest["RevisionId"] = new_uuid()
    latest["LastModified"] = stamp(now())
    await versions.deploy(call, record, latest)
    await versions.repoint(call, record, LATEST)
    await record.save(call.do)


def _pending(configuration: dict[str, Any]) -> dict[str, Any]:
    """What was just made, as the service reports it at once."""
    shown = configuration | {
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
    }
    shown.pop("LastUpdateStatus", None)
    return shown


def _updating(record: Record) -> dict[str, Any]:
    """A change as the service reports it at once; whoever asks later sees that it is done, with another revision id."""
    return record.configuration() | {
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
        "RevisionId": new_uuid(),
    }


def _check(call: Call, args: dict[str, Any]) -> None:
    """What the model does not say."""
    runtime = args.get("Runtime")
    known = model("lambda").shape_for("Runtime").enum
    if runtime is not None and runtime not in known:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(known)}] or be a valid ARN"
        )
    variables = args.get("Environment", {}).get("Variables", {})
    reserved = [name for name in variables if name in _RESERVED]
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided "
            "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: "
            + ", ".join(reserved)
        )
    measured = json.dumps(variables, separators=(",", ":"))
    if len(measured) > ENVIRONMENT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided "
            f"exceeded the 4KB limit. String measured: {measured}"
        )
    snaps = args.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
    if snaps and runtime is not None and not re.match(r"(java(11|17|21|25)|python3\.1[2-9]|dotnet(8|10))", runtime):
        raise invalid(f"{runtime} is not supported for SnapStart enabled functions.")


def _apply(call: Call, latest: dict[str, Any], args: dict[str, Any]) -> None:
    """Change a configuration as a request says."""
    for name in _PLAIN:
        if name in args:
            latest[name] = args[name]
    if "Environment" in args:
        latest["Environment"] = {"Variables": dict(args["Environment"].get("Variables", {}))}
    if "VpcConfig" in args:
        given = args["VpcConfig"]
        latest["VpcConfig"] = {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False} | given
    if "DeadLetterConfig" in args:
        target = args["DeadLetterConfig"].get("TargetArn")
        if target:
            latest["DeadLetterConfig"] = {"TargetArn": target}
        else:
            latest.pop("DeadLetterConfig", None)
    if "TracingConfig" in args:
        latest["TracingConfig"] = {"Mode": args["TracingConfig"].get("Mode", "PassThrough")}
    if "SnapStart" in args:
        latest["SnapStart"] = {"ApplyOn": args["SnapStart"].get("ApplyOn", "None"), "OptimizationStatus": "Off"}
    if "LoggingConfig" in args:
        given = args["LoggingConfig"]
        if given.get("LogFormat", latest["LoggingConfig"]["LogFormat"]) == "Text" and {*given} & {*_LEVELS}:
            raise invalid(
                'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
                'LogFormat to "JSON" and try again.'
            )
        merged = latest["LoggingConfig"] | given
        if merged["LogFormat"] == "JSON":
            merged = dict.fromkeys(_LEVELS, "INFO") | merged
        else:
            merged = {name: value for name, value in merged.items() if name not in _LEVELS}
        latest["LoggingConfig"] = merged
    if "ImageConfig" in args:
        latest["ImageConfigResponse"] = {"ImageConfig": args["ImageConfig"]}
    if "Layers" in args:
        arns = args["Layers"]
        if arns:
            latest["Layers"], latest["_layers"] = layers.referenced(call, arns)
        else:
            latest.pop("Layers", None)
            latest["_layers"] = []
    latest.setdefault("_layers", [])
    latest.setdefault("LastModified", stamp(now()))


async def _code(call: Call, latest: dict[str, Any], given: dict[str, Any]) -> None:
    """Keep the package that a request brings."""
    data = await package(call, given)
    kept = await call.do(PutPackage(namespace=call.scope.namespace, data=data, filename="function.zip", keep=True))
    if kept.size > UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED} bytes")
    latest["_package"] = kept.digest
    latest["CodeSize"] = len(data)
    latest["CodeSha256"] = base64.b64encode(hashlib.sha256(data).digest()).decode()


async def package(call: Call, given: dict[str, Any]) -> bytes:
    """The bytes of a package. Raises AwsError if there are none."""
    if "ZipFile" in given:
        data: bytes = given["ZipFile"]
        if not data:
            raise invalid("Uploaded file must be a non-empty zip")
        return data
    if "S3Bucket" in given:
        return await _stored(call, given)
    raise invalid("Please provide a source for function code.")


async def _stored(call: Call, given: dict[str, Any]) -> bytes:
    """A package in a bucket. Raises AwsError as Lambda words what S3 refuses."""
    bucket, key, version = given["S3Bucket"], given.get("S3Key", ""), given.get("S3ObjectVersion")
    try:
        if version not in (None, "null"):
            raise AwsError("NoSuchVersion", "The specified version does not exist.")
        return await objects.read(call.do, call.scope.namespace, bucket, key, UNZIPPED)
    except DayflyError as error:
        refused = s3_worded(error)
        raise invalid(
            f"Error occurred while GetObject. S3 Error Code: {refused.code}. S3 Error Message: {refused.message}"
        ) from None
