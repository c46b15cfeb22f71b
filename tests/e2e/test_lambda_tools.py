"""The tools around AWS Lambda: signatures where a login is asked for, the aws CLI, a SAM template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import Aws, serving, zipped

ECHO = "def handler(event, context): return event"
TOKEN = "dft_" + "k" * 43

TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: {Type: String, Default: hello}
Globals:
  Function:
    Runtime: python3.12
    Timeout: 7
    Environment: {Variables: {SHARED: everywhere}}
Resources:
  Words:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer/}
  Jobs:
    Type: AWS::SQS::Queue
    Properties: {QueueName: sam-jobs, VisibilityTimeout: 45, RedrivePolicy: {deadLetterTargetArn: !GetAtt Failed.Arn, maxReceiveCount: 2}}
  Failed: {Type: AWS::SQS::Queue}
  Uploads: {Type: AWS::S3::Bucket, Properties: {BucketName: sam-uploads}}
  Greeter:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: sam-greeter
      CodeUri: src/
      Handler: app.handler
      Layers: [!Ref Words]
      Environment: {Variables: {GREETING: !Sub "${Greeting}, ${AWS::Region}"}}
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        Work: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn, BatchSize: 3}}
        Files: {Type: S3, Properties: {Bucket: !Ref Uploads, Events: "s3:ObjectCreated:*", Filter: {S3Key: {Rules: [{Name: suffix, Value: .csv}]}}}}
        Often: {Type: Schedule, Properties: {Schedule: rate(5 minutes)}}
        Web: {Type: Api, Properties: {Path: /, Method: get}}
  Inline:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: sam-inline
      Handler: index.handler
      InlineCode: "def handler(event, context): return context.function_version"
      AutoPublishAlias: live
      ReservedConcurrentExecutions: 3
      Layers: ["arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV2:32"]
  Table:
    Type: AWS::Serverless::SimpleTable
"""


def test_a_server_with_a_login_checks_signatures(tmp_path: Path) -> None:
    with serving(tmp_path, token=TOKEN) as aws:
        good = aws.client(key="dayfly", secret=TOKEN)
        good.create_function(
            FunctionName="signed", Runtime="python3.12", Handler="handler.handler", Code={"ZipFile": zipped(ECHO)},
            Role="arn:aws:iam::000000000000:role/r",
        )  # fmt: skip
        assert json.loads(good.invoke(FunctionName="signed", Payload=b'"yes"')["Payload"].read()) == "yes"
        presigned = good.generate_presigned_url("get_function", Params={"FunctionName": "signed"})
        with urllib.request.urlopen(presigned) as answer:
            found = json.load(answer)
        assert found["Configuration"]["FunctionName"] == "signed"
        with urllib.request.urlopen(found["Code"]["Location"]) as answer:
            assert answer.read() == zipped(ECHO), "its address is signed itself"
        for key, secret, code in (
            ("dayfly", "wrong", "InvalidSignatureException"),
            ("nobody", TOKEN, "UnrecognizedClientException"),
        ):
            for call in (
                lambda client: client.list_functions(),
                lambda client: client.invoke(FunctionName="signed"),
                lambda client: client.invoke_with_response_stream(FunctionName="signed"),
            ):
                with pytest.raises(ClientError) as caught:
                    call(aws.client(key=key, secret=secret))
                assert caught.value.response["Error"]["Code"] == code
        unsigned = f"{aws.url}/2015-03-31/functions"
        for address in (presigned.replace("signed?", "other?"), unsigned, found["Code"]["Location"] + "0"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address)
            with refused.value:  # closed, or its socket is when somebody else's test collects garbage
                assert refused.value.code == 403


def cli(aws: Aws, *arguments: str) -> Any:
    """What the aws CLI prints, decoded."""
    env = os.environ | {
        "AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "awscli", "--output", "json", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_the_aws_cli_deploys_and_calls(tmp_path: Path) -> None:
    (tmp_path / "code.zip").write_bytes(zipped(ECHO))
    with serving(tmp_path / "data") as aws:
        made = cli(
            aws, "lambda", "create-function", "--function-name", "fromcli", "--runtime", "python3.12", "--handler", "handler.handler",
            "--role", "arn:aws:iam::000000000000:role/r", "--zip-file", f"fileb://{tmp_path}/code.zip",
        )  # fmt: skip
        assert made["State"] == "Pending"
        cli(aws, "lambda", "wait", "function-active-v2", "--function-name", "fromcli")
        told = cli(
            aws, "lambda", "invoke", "--function-name", "fromcli", "--payload", '{"n": 1}', str(tmp_path / "out"),
        )  # fmt: skip
        assert (told["StatusCode"], json.loads((tmp_path / "out").read_text())) == (200, {"n": 1})
        assert cli(aws, "sts", "get-caller-identity")["Account"] == "000000000000"
        assert [f["FunctionName"] for f in cli(aws, "lambda", "list-functions")["Functions"]] == ["fromcli"]


def test_a_name_is_found_as_sam_looks_for_it(tmp_path: Path) -> None:
    """`sam remote invoke NAME` asks CloudFormation first what that is."""
    with serving(tmp_path) as aws:
        aws.deploy("named", ECHO)
        url = aws.client("sqs").create_queue(QueueName="jobs")["QueueUrl"]
        cloud = aws.client("cloudformation")
        for name, kind in (("named", "AWS::Lambda::Function"), (url, "AWS::SQS::Queue")):
            (found,) = cloud.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
            assert (found["PhysicalResourceId"], found["ResourceType"]) == (name, kind)
        with pytest.raises(ClientError, match="no stacks"):
            cloud.describe_stack_resources(PhysicalResourceId="other")
        with pytest.raises(ClientError, match="CreateChangeSet"):
            cloud.create_change_set(StackName="s", ChangeSetName="c")


def test_a_sam_template_is_deployed_whole(tmp_path: Path) -> None:
    from dayfly.cli import sam

    for name, text in {
        "template.yaml": TEMPLATE,
        "src/app.py": "import os, words\ndef handler(event, context): return [os.environ['GREETING'], os.environ['SHARED'], words.ALL]",
        "layer/python/words.py": "ALL = ['one']",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    plan = sam.read(tmp_path / "template.yaml", {"Greeting": "hi"})
    with serving(tmp_path / "data") as aws:
        variables = {
            "AWS_ENDPOINT_URL": aws.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip
        schedules: list[sam.Schedule] = []
        told: list[str] = []
        for _ in range(2):  # again: what is there is updated
            sam.apply(plan, variables, schedules.append, told.append)
        assert aws.call("sam-greeter")[0] == ["hi, us-east-1", "everywhere", ["one"]]
        assert aws.client().get_function_configuration(FunctionName="sam-greeter")["Timeout"] == 7
        (told,) = aws.client("s3").get_bucket_notification_configuration(Bucket="sam-uploads")["LambdaFunctionConfigurations"]
        assert (told["Events"], told["Filter"]) == (
            ["s3:ObjectCreated:*"],
            {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".csv"}]}},
        )
        (mapping,) = aws.client().list_event_source_mappings(FunctionName="sam-greeter")["EventSourceMappings"]
        assert (mapping["BatchSize"], mapping["EventSourceArn"]) == (3, "arn:aws:sqs:us-east-1:000000000000:sam-jobs")
        assert (schedules[0].function, schedules[0].expression) == ("sam-greeter", "rate(5 minutes)")
        assert aws.client().get_function_url_config(FunctionName="sam-greeter")["AuthType"] == "NONE"
        assert aws.call("sam-inline", Qualifier="live")[0] == "1"
        assert aws.client().get_function_concurrency(FunctionName="sam-inline")["ReservedConcurrentExecutions"] == 3
        url = aws.client("sqs").get_queue_url(QueueName="sam-jobs")["QueueUrl"]
        kept = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert (kept["VisibilityTimeout"], json.loads(kept["RedrivePolicy"])["maxReceiveCount"]) == ("45", 2)
    assert any("AWSLambdaPowertoolsPythonV2" in left for left in plan.left_out)
    assert {"Table (AWS::Serverless::SimpleTable)", "event Web of sam-greeter (Api)"} <= set(plan.left_out)
