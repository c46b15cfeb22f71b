"""Every operation of Lambda's model is called, and the page says which of them work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from dayfly.dialects.aws.service import model
from tests.docs.snippets import ROOT
from tests.support.aws import Aws, serving

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:all"
ECHO = "def handler(event, context):\n    return event\n"
SIGNER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/one/abc"
# What the operations are called with. Of the other required members, those that have a set of values or a least one get it.
GIVEN: dict[str, Any] = {
    "FunctionName": "all",
    "Resource": FUNCTION,
    "ResourceArn": FUNCTION,
    "Qualifier": "1",
    "Name": "live",
    "FunctionVersion": "1",
    "LayerName": "all",
    "StatementId": "one",
    "Principal": "123456789012",
    "Arn": "arn:aws:lambda:us-east-1:000000000000:layer:all:1",
    "CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-" + "0" * 17,
    "AllowedPublishers": {"SigningProfileVersionArns": [SIGNER]},
    "CapacityProviderArn": "arn:aws:lambda:us-east-1:000000000000:capacity-provider:all",
    "CapacityProviderName": "all",
    "UUID": "0" * 8 + "-0000-0000-0000-" + "0" * 12,
    "Role": "arn:aws:iam::000000000000:role/test",
    "Policy": json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction"}}),
    "DurableExecutionArn": f"{FUNCTION}:1/durable-execution/one/00000000-0000-0000-0000-000000000000",
    "Tags": {"team": "a"},
    "Version": "2",
}
ACTIONS = {"AddPermission": "lambda:InvokeFunction", "AddLayerVersionPermission": "lambda:GetLayerVersion"}


def example(shape: Any, name: str = "") -> Any:
    if name in GIVEN:
        return GIVEN[name]
    if shape.type_name == "structure":
        return {member: example(shape.members[member], member) for member in shape.required_members}
    if shape.type_name in ("list", "map"):
        return [example(shape.member)] if shape.type_name == "list" else {}
    plain: dict[str, Any] = {"integer": 1, "long": 1, "boolean": False, "blob": b"{}", "timestamp": 0}
    return plain.get(shape.type_name) or (shape.metadata.get("enum") or ["x" * max(1, shape.metadata.get("min", 1))])[0]


def documented() -> dict[str, str]:
    """What the page says of each operation."""
    told: dict[str, str] = {}
    text = (ROOT / "docs/lambda.md").read_text()
    for line in re.findall(r"^\| .* \| (?:works|not supported here) \|$", text, re.MULTILINE):
        _, _, names, here, _ = line.split("|")
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), here.strip())
    return told


def called(aws: Aws, name: str) -> tuple[str, str]:
    """How the page should name it, and the error if there was one that the model does not have for it."""
    described = model("lambda").operation_model(name)
    arguments = example(described.input_shape) if described.input_shape is not None else {}
    if name in ACTIONS:
        arguments["Action"] = ACTIONS[name]
    try:
        aws.client()._make_api_call(name, arguments)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if message == "This operation is not supported by Dayfly.":
            return "not supported here", ""
        known = code in {shape.error_code for shape in described.error_shapes}
        return "works", "" if known else f"{name}: {code}: {message}"
    return "works", ""


def test_each_operation_does_what_the_page_says_and_fails_only_as_the_model_has_it(tmp_path: Path) -> None:
    names = model("lambda").operation_names
    with serving(tmp_path) as aws:
        aws.deploy("all", ECHO, Publish=True)
        found = {name: called(aws, name) for name in sorted(names)}
    assert [failure for _, failure in found.values() if failure] == []
    assert documented() == {name: here for name, (here, _) in found.items()}
