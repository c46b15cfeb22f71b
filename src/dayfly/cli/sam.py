"""A SAM template as what Lambda's API is asked for: functions, layers, URLs, schedules and queue events.

Source: the AWS SAM specification (2016-10-31). Intrinsic functions of CloudFormation are put in (`intrinsics`). What is not supported is
named, one by one: a resource, an event, or a property of a function.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import yaml
from msgspec import Struct, field

from .errors import Failure
from .intrinsics import NOTHING, PSEUDO, Resolver, Unresolved

ROLE = "arn:aws:iam::000000000000:role/sam"
_PASSED = (
    "Runtime",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "Environment",
    "Architectures",
    "EphemeralStorage",
    "Tags",
    "LoggingConfig",
)
_TAKEN = {*_PASSED, "FunctionName", "CodeUri", "InlineCode", "Layers", "Role", "FunctionUrlConfig", "Events", "DeadLetterQueue",
          "ReservedConcurrentExecutions", "AutoPublishAlias"}  # fmt: skip
_MEANS_NOTHING = {
    "Policies",
    "PermissionsBoundary",
    "AssumeRolePolicyDocument",
    "PackageType",
}  # nothing is enforced by them here
_NUMBERS = ("Timeout", "MemorySize", "ReservedConcurrentExecutions")
_QUEUE = ("DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "VisibilityTimeout",
          "FifoQueue", "ContentBasedDeduplication")  # fmt: skip
_RESOURCES = {
    "AWS::Serverless::Function": "functions",
    "AWS::Serverless::LayerVersion": "layers",
    "AWS::SQS::Queue": "queues",
    "AWS::S3::Bucket": "buckets",
}


class Schedule(Struct):
    """A timer that calls a function."""

    name: str
    function: str
    expression: str  # rate(...) or cron(...)
    body: str  # JSON; empty: what the timer says


class Plan(Struct):
    """What a template asks for."""

    folder: Path
    functions: dict[str, dict[str, Any]] = field(default_factory=dict)  # logical id -> properties, resolved
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def name(self, logical: str) -> str:
        """What a resource is called."""
        for kind, member in (("functions", "FunctionName"), ("layers", "LayerName"), ("queues", "QueueName")):
            properties = getattr(self, kind).get(logical)
            if properties is not None:
                return str(properties.get(member) or logical)
        if logical in self.buckets:
            return str(self.buckets[logical].get("BucketName") or logical.lower())
        return logical

    def reference(self, name: str) -> Any:
        """What Ref tells of a resource: its name, the address of a queue (which nothing here needs), a layer."""
        return {"layer": name} if name in self.layers else self.name(name)

    def attribute(self, logical: str, attribute: str) -> Any:
        """What Fn::GetAtt tells of a resource."""
        if attribute == "Arn" and logical in self.buckets:
            return f"arn:aws:s3:::{self.name(logical)}"
        if attribute == "Arn" or attribute == "QueueArn":
            service, resource = ("sqs", "") if logical in self.queues else ("lambda", "function:")
            return f"arn:aws:{service}:us-east-1:000000000000:{resource}{self.name(logical)}"
        return self.name(logical) if attribute in ("QueueName", "FunctionName") else f"{logical}.{attribute}"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: !Sub is Fn::Sub."""


def _short(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if tag == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short)


def read(path: Path, parameters: dict[str, str]) -> Plan:
    """The plan of a template. Raises Failure where it is none."""
    try:
        template = yaml.load(path.read_text(), Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise Failure(f"{path} is not YAML: {error}") from None
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise Failure(f"{path} is not a SAM template: it has no Resources")
    plan = Plan(folder=path.parent)
    declared: dict[str, Any] = template.get("Parameters") or {}
    known = {name: spec.get("Default", "") for name, spec in declared.items() if isinstance(spec, dict)} | parameters
    known = PSEUDO | {"AWS::StackName": plan.folder.resolve().name} | known
    globals_ = (template.get("Globals") or {}).get("Function") or {}
    resolve = Resolver(known, template.get("Mappings") or {}, template.get("Conditions") or {}, plan.reference, plan.attribute)
    found = {name: resource for name, resource in template["Resources"].items() if isinstance(resource, dict)}
    for logical, resource in found.items():  # names first: others refer to them
        kind = _RESOURCES.get(str(resource.get("Type")))
        if kind is not None:
            properties = resource.get("Properties") or {}
            with contextlib.suppress(Unresolved):  # told of below
                getattr(plan, kind)[logical] = {}
                getattr(plan, kind)[logical] = resolve({name: properties[name] for name in _NAMES if name in properties})
    for logical, resource in found.items():
        kind = _RESOURCES.get(str(resource.get("Type")))
        if kind is None:
            plan.left_out.append(f"{logical} ({resource.get('Type')})")
            continue
        members = getattr(plan, kind)
        try:
            if "Condition" in resource and not resolve.holds(resource["Condition"]):
                del members[logical]
                continue
            properties = resource.get("Properties") or {}
            if kind == "functions":
                members[logical] = _function(plan, logical, _merged(globals_, properties), resolve)
            else:
                members[logical] = resolve(properties)
        except Unresolved as error:
            del members[logical]
            plan.left_out.append(f"{logical} ({resource.get('Type')}): only a deployment tells {error}")
    for logical in [logical for logical, properties in plan.functions.items() if not properties]:
        del plan.functions[logical]  # which `_function` has told of
    return plan


_NAMES = ("FunctionName", "LayerName", "QueueName", "BucketName")


def _function(plan: Plan, logical: str, properties: dict[str, Any], resolve: Resolver) -> dict[str, Any]:
    """The properties of a function that are taken, resolved one by one; none for a function that cannot be deployed at all."""
    if properties.get("PackageType") == "Image" or "ImageUri" in properties:
        plan.left_out.append(f"{logical} (a function from a container image)")
        return {}
    if isinstance(properties.get("CodeUri"), dict):
        plan.left_out.append(f"{logical} (a function whose code is in S3)")
        return {}
    made: dict[str, Any] = {}
    for name, value in properties.items():
        if name not in _TAKEN:
            if name not in _MEANS_NOTHING:
                plan.left_out.append(f"{name} of {logical}")
        elif name == "Events":
            made[name] = {}
            for event, spec in (value or {}).items():
                try:
                    made[name][event] = resolve(spec)
                except Unresolved as error:
                    plan.left_out.append(f"event {event} of {logical}: only a deployment tells {error}")
        elif name != "Role":
            resolved = resolve(value)
            if resolved is NOTHING:
                continue
            made[name] = int(resolved) if name in _NUMBERS and str(resolved).isdecimal() else resolved
    for name in ("Runtime", "Handler"):
        if name not in made:
            raise Unresolved(f"its {name}")
    return made


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Globals under a function's own: maps are joined, lists put behind each other (as SAM does)."""
    joined = dict(base)
    for name, value in own.items():
        before = joined.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            joined[name] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            joined[name] = [*before, *value]
        else:
            joined[name] = value
    return joined


def apply(plan: Plan, variables: dict[str, str], schedule: Callable[[Schedule], None], tell: Callable[[str], None]) -> None:
    """Deploy the plan over Lambda's own API; functions that exist are updated. `schedule` makes a timer."""

    def client(service: str) -> Any:
        return botocore.session.get_session().create_client(
            service,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            region_name=variables["AWS_DEFAULT_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        )

    lam, sqs, s3 = client("lambda"), client("sqs"), client("s3")
    layers = {}
    for logical, properties in plan.layers.items():
        content = {"ZipFile": packed(plan.folder / properties.get("ContentUri", "."))}
        made = lam.publish_layer_version(LayerName=plan.name(logical), Content=content)
        layers[logical] = made["LayerVersionArn"]
        tell(f"layer {plan.name(logical)} version {made['Version']}")
    for logical, properties in sorted(plan.queues.items(), key=lambda item: "RedrivePolicy" in item[1]):  # their targets first
        attributes = {name: _text(properties[name]) for name in _QUEUE if name in properties}
        if "RedrivePolicy" in properties:
            attributes["RedrivePolicy"] = json.dumps(properties["RedrivePolicy"])
        sqs.create_queue(QueueName=plan.name(logical), Attributes=attributes)
        tell(f"queue {plan.name(logical)}")
    for logical in plan.buckets:
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=plan.name(logical))
        tell(f"bucket {plan.name(logical)}")
    for logical, properties in plan.functions.items():
        name = plan.name(logical)
        options = {member: properties[member] for member in _PASSED if member in properties}
        if "Environment" in options:
            variables_ = options["Environment"].get("Variables", {})
            options["Environment"] = {"Variables": {key: _text(value) for key, value in variables_.items()}}
        if properties.get("DeadLetterQueue"):
            options["DeadLetterConfig"] = {"TargetArn": properties["DeadLetterQueue"].get("TargetArn", "")}
        options["Layers"] = []
        for one in properties.get("Layers") or []:
            if isinstance(one, dict):
                options["Layers"].append(layers[one["layer"]])
            elif ":000000000000:" in str(one):
                options["Layers"].append(one)
            else:
                plan.left_out.append(f"layer {one} of {name}, which is not here: put what it holds into the package")
        code = _inline(properties) or packed(plan.folder / str(properties.get("CodeUri", ".")))
        _put(lam, name, options | {"Role": ROLE}, code)
        tell(f"function {name}")
        if "ReservedConcurrentExecutions" in properties:
            lam.put_function_concurrency(
                FunctionName=name, ReservedConcurrentExecutions=properties["ReservedConcurrentExecutions"]
            )
        if properties.get("AutoPublishAlias"):
            tell(f"alias {_alias(lam, name, str(properties['AutoPublishAlias']))}")
        if properties.get("FunctionUrlConfig"):
            tell(f"url {_url(lam, name, properties['FunctionUrlConfig'])}")
        for event, spec in (properties.get("Events") or {}).items():
            _event(plan, lam, s3, name, event, spec, schedule, tell)


def _put(lam: Any, name: str, options: dict[str, Any], code: bytes) -> None:
    try:
        lam.create_function(FunctionName=name, Code={"ZipFile": code}, **options)
    except lam.exceptions.ResourceConflictException:
        tags = options.pop("Tags", None)
        architectures = options.pop("Architectures", None)
        lam.update_function_configuration(FunctionName=name, **options)
        lam.update_function_code(FunctionName=name, ZipFile=code, **({"Architectures": architectures} if architectures else {}))
        if tags:
            lam.tag_resource(Resource=lam.get_function_configuration(FunctionName=name)["FunctionArn"], Tags=tags)


def _alias(lam: Any, name: str, alias: str) -> str:
    version = lam.publish_version(FunctionName=name)["Version"]
    try:
        lam.create_alias(FunctionName=name, Name=alias, FunctionVersion=version)
    except lam.exceptions.ResourceConflictException:
        lam.update_alias(FunctionName=name, Name=alias, FunctionVersion=version)
    return f"{name}:{alias} of version {version}"


def _inline(properties: dict[str, Any]) -> bytes:
    """The package of code that stands in the template itself, in the file that CloudFormation names; empty if there is none."""
    if "InlineCode" not in properties:
        return b""
    suffix = "js" if str(properties["Runtime"]).startswith("nodejs") else "py"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo(f"index.{suffix}")  # without a date: the same code is the same package
        info.external_attr = 0o644 << 16
        archive.writestr(info, str(properties["InlineCode"]))
    return made.getvalue()


def _text(value: Any) -> str:
    """As CloudFormation writes a value where a text is wanted."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _url(lam: Any, name: str, config: dict[str, Any]) -> str:
    kept = {member: config[member] for member in ("AuthType", "Cors", "InvokeMode") if member in config}
    try:
        made = lam.create_function_url_config(FunctionName=name, **kept)
        if kept.get("AuthType") == "NONE":
            grant = {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
            lam.add_permission(FunctionName=name, StatementId="url", **grant)
    except lam.exceptions.ResourceConflictException:
        made = lam.update_function_url_config(FunctionName=name, **kept)
    return str(made["FunctionUrl"])


def _event(
    plan: Plan,
    lam: Any,
    s3: Any,
    name: str,
    event: str,
    spec: dict[str, Any],
    schedule: Callable[[Schedule], None],
    tell: Callable[[str], None],
) -> None:
    kind, properties = spec.get("Type"), spec.get("Properties") or {}
    if kind in ("Schedule", "ScheduleV2"):
        expression = properties.get("Schedule") or properties.get("ScheduleExpression", "")
        schedule(Schedule(f"{name}-{event}", name, expression, properties.get("Input") or ""))
        tell(f"schedule {name}-{event} {expression}")
    elif kind == "SQS":
        members = ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "FilterCriteria", "ScalingConfig")
        options = {member: properties[member] for member in members if member in properties}
        try:
            lam.create_event_source_mapping(EventSourceArn=properties["Queue"], FunctionName=name, **options)
        except lam.exceptions.ResourceConflictException:
            (known,) = lam.list_event_source_mappings(EventSourceArn=properties["Queue"], FunctionName=name)[
                "EventSourceMappings"
            ]
            lam.update_event_source_mapping(UUID=known["UUID"], **options)
        tell(f"mapping {properties['Queue']} to {name}")
    elif kind == "S3":
        tell(f"bucket {_notify(lam, s3, name, event, properties)} to {name}")
    else:
        plan.left_out.append(f"event {event} of {name} ({kind})")


def _notify(lam: Any, s3: Any, name: str, event: str, properties: dict[str, Any]) -> str:
    """Have the function hear of a bucket's objects, beside who hears of them already. The bucket."""
    bucket, events = str(properties["Bucket"]), properties["Events"]
    arn = lam.get_function_configuration(FunctionName=name)["FunctionArn"]
    wanted = {"Id": f"{name}-{event}", "LambdaFunctionArn": arn, "Events": [events] if isinstance(events, str) else events}
    if rules := properties.get("Filter", {}).get("S3Key", {}).get("Rules"):
        wanted["Filter"] = {"Key": {"FilterRules": rules}}
    known = s3.get_bucket_notification_configuration(Bucket=bucket)
    others = [each for each in known.get("LambdaFunctionConfigurations", []) if each["Id"] != wanted["Id"]]
    told = {"LambdaFunctionConfigurations": [*others, wanted], "QueueConfigurations": known.get("QueueConfigurations", [])}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    return bucket


def packed(path: Path) -> bytes:
    """A folder as a deployment package; a zip as it is. Raises Failure if it is not there."""
    if path.is_file() and path.suffix == ".zip":
        return path.read_bytes()
    if not path.is_dir():
        raise Failure(f"there is no code in {path}", hint="Build it first: sam build.")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file() and not {".git", ".aws-sam", "__pycache__"} & set(file.relative_to(path).parts):
                archive.write(file, file.relative_to(path))
    return made.getvalue()
