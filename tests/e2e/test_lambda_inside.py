"""Functions that use AWS themselves: boto3 without an endpoint or keys finds this server, as the function."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws import ROLE, Aws, serving, zipped
from tests.support.site import ISOLATION

pytestmark = pytest.mark.skipif(ISOLATION != "namespace", reason="instances have a network of their own in namespaces alone")

# Calls what the event says: [service, operation, arguments]; the answer, or the code of the error.
SOURCE = """
import json, os, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
def handler(event, context):
    if "Records" in event: event = json.loads(event["Records"][0]["body"])
    service, operation, arguments, *region = event["call"]
    client = boto3.client(service, config=Config(retries={"total_max_attempts": 1}), region_name=(region or [None])[0])
    try:
        answer = getattr(client, operation)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    answer.pop("ResponseMetadata")
    answer = {name: value.read().decode() if hasattr(value, "read") else value for name, value in answer.items()}
    return json.loads(json.dumps(answer, default=str))
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        made.deploy("inside", SOURCE, Role="arn:aws:iam::000000000000:role/service/worker")
        theirs = {"Runtime": "python3.12", "Handler": "handler.handler", "Role": ROLE, "Code": {"ZipFile": zipped(SOURCE)}}
        made.client(key="123456789012").create_function(FunctionName="theirs", **theirs)
        yield made


def inside(aws: Aws, service: str, operation: str, *region: str, **arguments: Any) -> Any:
    return aws.call("inside", {"call": [service, operation, arguments, *region]})[0]


def test_a_function_is_who_its_role_says(aws: Aws) -> None:
    told = inside(aws, "sts", "get_caller_identity")
    assert told["Account"] == "000000000000"
    assert told["Arn"] == "arn:aws:sts::000000000000:assumed-role/worker/inside"


def test_it_reads_and_writes_objects(aws: Aws) -> None:
    aws.client("s3").create_bucket(Bucket="its-own")
    assert "ETag" in inside(aws, "s3", "put_object", Bucket="its-own", Key="a/b", Body="written inside")
    assert inside(aws, "s3", "get_object", Bucket="its-own", Key="a/b")["Body"] == "written inside"
    assert aws.client("s3").get_object(Bucket="its-own", Key="a/b")["Body"].read() == b"written inside"
    assert [each["Key"] for each in inside(aws, "s3", "list_objects_v2", Bucket="its-own")["Contents"]] == ["a/b"]


def test_it_sends_and_receives_messages(aws: Aws) -> None:
    aws.client("sqs").create_queue(QueueName="its-queue")
    url = inside(aws, "sqs", "get_queue_url", QueueName="its-queue")["QueueUrl"]
    assert "MessageId" in inside(aws, "sqs", "send_message", QueueUrl=url, MessageBody="hello")
    (message,) = inside(aws, "sqs", "receive_message", QueueUrl=url)["Messages"]
    assert message["Body"] == "hello"


def test_it_calls_other_functions(aws: Aws) -> None:
    aws.deploy("other", "def handler(event, context): return [event, context.invoked_function_arn]")
    answer = inside(aws, "lambda", "invoke", FunctionName="other", Payload='{"from": "inside"}')
    assert answer["Payload"] == '[{"from": "inside"}, "arn:aws:lambda:us-east-1:000000000000:function:other"]'


@pytest.mark.parametrize(
    "call",
    [
        ["lambda", "get_function", {"FunctionName": "other"}],
        ["lambda", "list_functions", {}],
        ["lambda", "list_layers", {}],
        ["lambda", "delete_function", {"FunctionName": "inside"}],
        ["lambda", "update_function_configuration", {"FunctionName": "inside", "Timeout": 900}],
        ["lambda", "get_function", {"FunctionName": "123456789012:function:theirs"}],
        ["lambda", "invoke", {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:theirs"}],
        ["lambda", "list_functions", {}, "eu-west-1"],
        ["sqs", "get_queue_url", {"QueueName": "its-queue"}, "eu-west-1"],
        ["iam", "list_roles", {}],
        ["logs", "filter_log_events", {"logGroupName": "/aws/lambda/inside"}],
        ["s3", "create_bucket", {"Bucket": "made-inside"}],
    ],
)
def test_it_changes_nothing_and_looks_nowhere_else(aws: Aws, call: list[Any]) -> None:
    assert aws.call("inside", {"call": call})[0] in ("AccessDeniedException", "AccessDenied"), call


def test_what_is_shown_with_each_request_does_not_sign(aws: Aws) -> None:
    """Given the session token alone, which a signed URL shows to whoever has that, then nobody can sign."""
    source = """
import boto3, os
from botocore.exceptions import ClientError
def handler(event, context):
    told = []
    for session in (os.environ["AWS_SESSION_TOKEN"], None, "other"):
        if session is None: del os.environ["AWS_SESSION_TOKEN"]
        client = boto3.client("sts", aws_access_key_id="test", aws_secret_access_key="test", aws_session_token=session)
        try:
            told.append(client.get_caller_identity())
        except ClientError as error:
            told.append(error.response["Error"]["Code"])
    return told
"""
    aws.deploy("forges", source)
    refused = "UnrecognizedClientException"
    assert aws.call("forges")[0] == ["InvalidSignatureException", refused, refused]


def test_a_function_that_calls_itself_is_stopped(aws: Aws) -> None:
    source = """
import boto3, json
from botocore.exceptions import ClientError
client = boto3.client("lambda")
def handler(event, context):
    try:
        answer = client.invoke(FunctionName=context.function_name, Payload=json.dumps(event + 1))
    except ClientError as error:
        return [event, error.response["Error"]["Code"]]
    return json.load(answer["Payload"])
"""
    aws.deploy("circle", source, Timeout=30)
    mine = hashlib.sha256(b"arn:aws:lambda:us-east-1:000000000000:function:circle").hexdigest()[:8]
    headers = {
        "X-Amzn-Trace-Id": f"Root=1-5759e988-bd862e3fe1be46a994272793;Lineage={mine}:13"
    }  # of a chain that is that long already
    url = f"{aws.url}/2015-03-31/functions/circle/invocations"
    with urllib.request.urlopen(urllib.request.Request(url, b"14", headers)) as answer:
        assert json.load(answer) == [16, "RecursiveInvocationException"]
