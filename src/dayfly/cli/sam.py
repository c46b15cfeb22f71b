"""A SAM template as what Lambda's API is asked for: functions, layers, URLs, schedules and queue events.

Source: the AWS SAM specification (2016-10-31), and of CloudFormation the intrinsic functions Ref, Fn::Sub, Fn::GetAtt, Fn::Join and
Fn::FindInMap, as far as they can be told without deploying.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import yaml
from msgspec import Struct, field

from .errors import Failure

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
)
_RESOURCES = {
    "AWS::Serverless::Function": "functions",
    "AWS::Serverless::LayerVersion": "layers",
    "AWS::SQS::Queue": "queues",
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
    left_out: list[str] = field(default_factory=list)

    def name(self, logical: str) -> str:
        """What a resource is called."""
        for kind, member in (("functions", "FunctionName"), ("layers", "LayerName"), ("queues", "QueueName")):
            properties = getattr(self, kind).get(logical)
            if properties is not None:
                return str(properties.get(member) or logical)
        return logical


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
    known = {name: spec.get("Default", "") for name, spec in (template.get("Parameters") or {}).items()} | parameters
    globals_ = (template.get("Globals") or {}).get("Function", {})
    resources: dict[str, Any] = template["Resources"]
    for logical, resource in resources.items():
        kind = _RESOURCES.get(resource.get("Type", ""))
        if kind is None:
            plan.left_out.append(f"{logical} ({resource.get('Type')})")
        else:
            getattr(plan, kind)[logical] = resource.get("Properties") or {}
    for logical, properties in plan.functions.items():
        plan.functions[logical] = _merged(globals_, properties)
    resolve = _Resolver(plan, known, template.get("Mappings") or {})
    for kind in ("functions", "layers", "queues"):
        setattr(plan, kind, {logical: resolve(properties) for logical, properties in getattr(plan, kind).items()})
    return plan


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


class _Resolver:
    """Puts values in place of intrinsic functions."""

    def __init__(self, plan: Plan, parameters: dict[str, Any], mappings: dict[str, Any]) -> None:
        self._plan = plan
        self._mappings = mappings
        self._known = {"AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "AWS::Partition": "aws"} | parameters
        self._known |= {"AWS::StackName": plan.folder.resolve().name}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name == "Ref":
                return self._reference(str(argument))
            if name == "Fn::GetAtt":
                logical, attribute = argument
                return self._arn(logical) if attribute == "Arn" else f"{logical}.{attribute}"
            if name == "Fn::Sub":
                text, extra = (argument, {}) if isinstance(argument, str) else argument
                return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: self._substituted(found[1], extra), text)
            if name == "Fn::Join":
                return str(argument[0]).join(str(self(item)) for item in argument[1])
            if name == "Fn::FindInMap":
                first, second, third = (str(self(item)) for item in argument)
                return self._mappings.get(first, {}).get(second, {}).get(third)
        return {name: self(item) for name, item in value.items()}

    def _substituted(self, name: str, extra: dict[str, Any]) -> str:
        if name in extra:
            return str(self(extra[name]))
        logical, dot, attribute = name.partition(".")
        return self._arn(logical) if dot and attribute == "Arn" else str(self._reference(name))

    def _reference(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name in self._plan.layers:
            return {"layer": name}
        return self._plan.name(name)

    def _arn(self, logical: str) -> str:
        service, resource = ("sqs", "") if logical in self._plan.queues else ("lambda", "function:")
        return f"arn:aws:{service}:us-east-1:000000000000:{resource}{self._plan.name(logical)}"


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

    lam, sqs = client("lambda"), client("sqs")
    layers = {}
    for logical, properties in plan.layers.items():
        content = {"ZipFile": packed(plan.folder / properties.get("ContentUri", "."))}
        made = lam.publish_layer_version(LayerName=plan.name(logical), Content=content)
        layers[logical] = made["LayerVersionArn"]
        tell(f"layer {plan.name(logical)} version {made['Version']}")
    for logical in plan.queues:
        sqs.create_queue(QueueName=plan.name(logical))
        tell(f"queue {plan.name(logical)}")
    for logical, properties in plan.functions.items():
        name = plan.name(logical)
        options = {member: properties[member] for member in _PASSED if member in properties}
        if "Environment" in options:
            variables_ = options["Environment"].get("Variables", {})
            options["Environment"] = {"Variables": {key: str(value) for key, value in variables_.items()}}
        options["Layers"] = [layers[one["layer"]] if isinstance(one, dict) else one for one in properties.get("Layers", [])]
        code = packed(plan.folder / str(properties.get("CodeUri", ".")))
        _put(lam, name, options | {"Role": properties.get("Role") or ROLE}, code)
        tell(f"function {name}")
        if properties.get("FunctionUrlConfig"):
            tell(f"url {_url(lam, name, properties['FunctionUrlConfig'])}")
        for event, spec in (properties.get("Events") or {}).items():
            _event(plan, lam, name, event, spec, schedule, tell)


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
    else:
        plan.left_out.append(f"event {event} of {name} ({kind})")


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
