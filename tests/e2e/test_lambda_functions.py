"""Functions, versions, aliases and calls of AWS Lambda, through boto3."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError

from tests.support.aws import ROLE, Aws, serving, zipped

ECHO = """
def handler(event, context):
    print("got", event)
    return {"event": event, "arn": context.invoked_function_arn, "version": context.function_version}
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


def refused(call: Any, **arguments: Any) -> tuple[str, str, int]:
    """Code, message and status of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def arn(name: str, qualifier: str = "") -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}" + (f":{qualifier}" if qualifier else "")


def test_a_function_from_its_creation_to_its_end(aws: Aws) -> None:
    client = aws.client()
    created = aws.deploy("life", ECHO, Description="first", Tags={"team": "a"})
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in created
    assert "Environment" not in created, "what was not given is not there"
    got = client.get_function(FunctionName="life")
    assert got["Configuration"]["State"] == "Active"
    assert got["Configuration"]["LastUpdateStatus"] == "Successful"
    assert got["Configuration"]["RevisionId"] != created["RevisionId"]
    assert got["Configuration"]["FunctionArn"] == arn("life")
    assert got["Tags"] == {"team": "a"}
    assert "Concurrency" not in got
    answer, whole = aws.call("life", {"n": 1})
    assert answer == {"event": {"n": 1}, "arn": arn("life"), "version": "$LATEST"}
    assert (whole["StatusCode"], whole["ExecutedVersion"], "FunctionError" in whole) == (200, "$LATEST", False)
    updated = client.update_function_configuration(
        FunctionName="life", MemorySize=256, Environment={"Variables": {"WHO": "me"}}
    )
    assert (updated["LastUpdateStatus"], updated["MemorySize"]) == ("InProgress", 256)
    code = "import os\ndef handler(event, context): return os.environ['WHO']"
    client.update_function_code(FunctionName="life", ZipFile=zipped(code))
    assert aws.call("life")[0] == "me"
    deleted = client.delete_function(FunctionName="life")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_function, FunctionName="life") == (
        "ResourceNotFoundException", f"Function not found: {arn('life')}", 404,
    )  # fmt: skip


def test_what_is_refused_says_why_in_the_words_of_the_service(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("strict", ECHO)
    whole = {"FunctionName": "other", "Role": ROLE, "Code": {"ZipFile": zipped(ECHO)}}
    runtime = {"Runtime": "python3.12", "Handler": "handler.handler"}
    code, message, status = refused(client.create_function, **whole, **runtime | {"Timeout": 901})
    assert (code, status) == ("ValidationException", 400)
    assert message == (
        "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 900"
    )
    assert refused(client.create_function, **whole)[1].startswith("Runtime and Handler are mandatory parameters")
    assert refused(client.create_function, **whole | {"FunctionName": "strict"}, **runtime) == (
        "ResourceConflictException", "Function already exist: strict", 409,
    )  # fmt: skip
    assert "'role' failed to satisfy constraint" in refused(client.create_function, **whole | {"Role": "r"}, **runtime)[1]
    not_a_zip = whole | {"Code": {"ZipFile": b"no"}}
    assert refused(client.create_function, **not_a_zip, **runtime)[:2] == (
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )
    big = {"Environment": {"Variables": {"BIG": "x" * 5000}}}
    assert "exceeded the 4KB limit" in refused(client.create_function, **whole, **runtime, **big)[1]
    stale = refused(client.update_function_configuration, FunctionName="strict", RevisionId="old", Timeout=7)
    assert (stale[0], stale[2]) == ("PreconditionFailedException", 412)
    assert refused(client.get_function, FunctionName="strict:a", Qualifier="b")[1] == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )
    assert refused(client.delete_function, FunctionName="strict", Qualifier="$LATEST")[0] == "InvalidParameterValueException"
    assert refused(client.list_durable_executions_by_function, FunctionName="strict")[2] == 400
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.invoke(FunctionName="nobody")
    assert caught.value.response["Type"] == "User"


def test_versions_do_not_change_and_aliases_lead_to_them(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("many", "def handler(e, c): return [1, c.function_version]", Publish=True)
    again = client.publish_version(FunctionName="many")
    assert again["Version"] == "1", "nothing has changed"
    client.update_function_code(FunctionName="many", ZipFile=zipped("def handler(e, c): return [2, c.function_version]"))
    assert client.publish_version(FunctionName="many", Description="two")["Version"] == "2"
    assert aws.call("many", Qualifier="1")[0] == [1, "1"]
    assert aws.call("many")[0] == [2, "$LATEST"]
    client.create_alias(FunctionName="many", Name="live", FunctionVersion="1")
    answer, whole = aws.call("many:live")
    assert (answer, whole["ExecutedVersion"]) == ([1, "1"], "1")
    client.update_alias(FunctionName="many", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    seen = {aws.call("many:live")[1]["ExecutedVersion"] for _ in range(60)}
    assert seen == {"1", "2"}
    listed = client.list_versions_by_function(FunctionName="many")["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    assert "State" not in listed[0]
    assert refused(client.create_alias, FunctionName="many", Name="live", FunctionVersion="1")[1] == (
        f"Alias already exists: {arn('many', 'live')}"
    )
    assert refused(client.create_alias, FunctionName="many", Name="x", FunctionVersion="9")[1] == (
        f"Function not found: {arn('many', '9')}"
    )
    assert refused(client.get_alias, FunctionName="many", Name="no")[1] == f"Cannot find alias arn: {arn('many', 'no')}"
    client.delete_alias(FunctionName="many", Name="live")
    assert client.list_aliases(FunctionName="many")["Aliases"] == []


FAILING = """
import os, sys, time
def handler(event, context):
    print("before")
    if event == "raise": raise KeyError("nope")
    if event == "exit": os._exit(7)
    if event == "sleep": time.sleep(30)
    if event == "large": return "x" * (6 * 1024 * 1024 + 200)
    if event == "unserialisable": return {1, 2}
    return context.client_context.custom if context.client_context else None
"""


def test_a_call_that_fails_answers_with_what_lambda_says(aws: Aws) -> None:
    aws.deploy("fails", FAILING, Timeout=1)
    raised, whole = aws.call("fails", "raise", LogType="Tail")
    assert whole["FunctionError"] == "Unhandled"
    assert (raised["errorType"], raised["errorMessage"]) == ("KeyError", "'nope'")
    assert raised["requestId"] == whole["ResponseMetadata"]["RequestId"]
    assert raised["stackTrace"] == [
        '  File "/var/task/handler.py", line 5, in handler\n    if event == "raise": raise KeyError("nope")\n'
    ]
    log = base64.b64decode(whole["LogResult"]).decode()
    assert log.startswith(f"START RequestId: {raised['requestId']} Version: $LATEST\nbefore\n[ERROR] KeyError: 'nope'\n")
    assert "\nREPORT RequestId: " in log
    request = aws.call("fails", "sleep")
    assert request[0] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request[1]['ResponseMetadata']['RequestId']} Error: Task timed out after 1.00 seconds",
    }
    crashed = aws.call("fails", "exit")[0]
    assert crashed["errorType"] == "Runtime.ExitError"
    assert crashed["errorMessage"].endswith("Error: Runtime exited with error: exit status 7")
    large = aws.call("fails", "large")[0]
    assert large == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert aws.call("fails", "unserialisable")[0]["errorType"] == "Runtime.MarshalError"
    context = base64.b64encode(b'{"custom": {"key": "value"}}').decode()
    assert aws.call("fails", "x", ClientContext=context)[0] == {"key": "value"}
    assert refused(aws.client().invoke, FunctionName="fails", Payload=b"{no")[0] == "InvalidRequestContentException"


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        ({"handler.py": "import nothere"}, "handler.handler", "Runtime.ImportModuleError",
         "Unable to import module 'handler': No module named 'nothere'"),
        ({"handler.py": "x = 1"}, "handler.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'handler'"),
        ({"handler.py": "def ("}, "handler.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'handler'"),
        ({"handler.py": "x = 1"}, "nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot'"),
        ({"handler.py": "raise ValueError('at import')"}, "handler.handler", "ValueError", "at import"),
        ({"handler.py": "import os; os._exit(5)"}, "handler.handler", "Runtime.ExitError", "exit status 5"),
    ],
)  # fmt: skip
def test_code_that_does_not_load_deploys_and_fails_when_called(
    aws: Aws, files: dict[str, str], handler: str, kind: str, message: str, request: pytest.FixtureRequest
) -> None:
    name = f"broken-{abs(hash(request.node.name)) % 10**8}"
    assert aws.deploy(name, files, Handler=handler)["State"] == "Pending"
    answer, whole = aws.call(name)
    assert (whole["StatusCode"], whole["FunctionError"], answer["errorType"]) == (200, "Unhandled", kind)
    assert message in answer["errorMessage"]


def test_dry_runs_and_events_answer_at_once(aws: Aws) -> None:
    aws.deploy("later", ECHO)
    assert aws.call("later", InvocationType="DryRun")[1]["StatusCode"] == 204
    answer, whole = aws.call("later", InvocationType="Event")
    assert (answer, whole["StatusCode"]) == (None, 202)
    assert "invocationType" in refused(aws.client().invoke, FunctionName="later", InvocationType="Sometimes")[1]


def test_a_streamed_invocation_is_an_event_stream(aws: Aws) -> None:
    aws.deploy("streams", "def handler(event, context): return event['a'] + 1")
    events = list(aws.client().invoke_with_response_stream(FunctionName="streams", Payload=b'{"a": 1}')["EventStream"])
    assert events == [{"PayloadChunk": {"Payload": b"2"}}, {"InvokeComplete": {}}]
    (failed,) = aws.client().invoke_with_response_stream(FunctionName="streams", Payload=b"{}")["EventStream"]
    assert failed["InvokeComplete"]["ErrorCode"] == "KeyError"
    assert json.loads(failed["InvokeComplete"]["ErrorDetails"])["errorType"] == "KeyError"


def test_partial_and_whole_arns_name_a_function(aws: Aws) -> None:
    aws.deploy("named", ECHO)
    client = aws.client()
    for name in ("named", arn("named"), "000000000000:function:named", "function:named", arn("named", "$LATEST")):
        assert client.get_function_configuration(FunctionName=name)["FunctionName"] == "named", name
    elsewhere = "arn:aws:lambda:eu-west-1:000000000000:function:named"
    assert refused(client.get_function, FunctionName=elsewhere)[1] == (
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    )


def test_regions_and_accounts_are_apart(aws: Aws) -> None:
    aws.deploy("apart", ECHO)
    for other in (aws.client(region="eu-west-1"), aws.client(key="111111111111")):
        assert refused(other.get_function, FunctionName="apart")[0] == "ResourceNotFoundException"
    far = aws.client(region="eu-west-1")
    made = far.create_function(
        FunctionName="apart", Runtime="python3.12", Handler="handler.handler", Role=ROLE, Code={"ZipFile": zipped(ECHO)}
    )
    assert made["FunctionArn"] == "arn:aws:lambda:eu-west-1:000000000000:function:apart"
    answer = json.loads(far.invoke(FunctionName="apart", Payload=b"{}")["Payload"].read())
    assert answer["arn"] == made["FunctionArn"]
    assert len(far.list_functions()["Functions"]) == 1


def test_lists_come_in_pages(aws: Aws) -> None:
    for number in range(5):
        aws.deploy(f"page-{number}", ECHO)
    pages = aws.client().get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert {f"page-{number}" for number in range(5)} <= set(names)
    assert len(names) == len(set(names))


def test_whatever_has_tags_keeps_them_and_lists_them(aws: Aws) -> None:
    client = aws.client()
    function = aws.deploy("tagged", ECHO, Tags={"team": "a"})["FunctionArn"]
    queue = aws.client("sqs").create_queue(QueueName="tagged")["QueueUrl"]
    source = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = client.create_event_source_mapping(FunctionName="tagged", EventSourceArn=source, Tags={"team": "a"})
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/one/abc"]}
    signing = client.create_code_signing_config(AllowedPublishers=publishers, Tags={"team": "a"})["CodeSigningConfig"]
    for resource in (function, mapping["EventSourceMappingArn"], signing["CodeSigningConfigArn"]):
        client.tag_resource(Resource=resource, Tags={"stage": "test", "team": "b"})
        assert client.list_tags(Resource=resource)["Tags"] == {"team": "b", "stage": "test"}
        client.untag_resource(Resource=resource, TagKeys=["team", "unknown"])
        assert client.list_tags(Resource=resource)["Tags"] == {"stage": "test"}
        code, message, _ = refused(client.tag_resource, Resource=resource, Tags={f"tag{n}": "x" for n in range(50)})
        assert (code, message) == ("InvalidParameterValueException", "Number of tags exceeds resource tag limit.")
    client.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=5)
    assert client.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"] == {"stage": "test"}, "a change keeps them"
    client.delete_event_source_mapping(UUID=mapping["UUID"])
    assert refused(client.list_tags, Resource=mapping["EventSourceMappingArn"])[0] == "ResourceNotFoundException"


def test_a_policy_is_one_document_however_it_is_changed(aws: Aws) -> None:
    client = aws.client()
    function = aws.deploy("policy", ECHO)["FunctionArn"]
    assert refused(client.get_resource_policy, ResourceArn=function)[0] == "ResourceNotFoundException"
    client.add_permission(
        FunctionName="policy",
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::photos",
        SourceAccount="000000000000",
    )
    told = client.get_resource_policy(ResourceArn=function)
    statement = json.loads(told["Policy"])["Statement"][0]
    assert statement["Condition"] == {
        "StringEquals": {"AWS:SourceAccount": "000000000000"},
        "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"},
    }
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": function}
    policy = json.dumps({"Version": "2012-10-17", "Statement": everybody})
    stale = refused(
        client.put_resource_policy, ResourceArn=function, Policy=policy, RevisionId="0" * 8 + "-0000" * 3 + "-" + "0" * 12
    )
    assert stale[0] == "PreconditionFailedException"
    client.put_resource_policy(ResourceArn=function, Policy=policy, RevisionId=told["RevisionId"])
    assert json.loads(client.get_policy(FunctionName="policy")["Policy"])["Statement"] == [everybody]
    assert refused(client.put_resource_policy, ResourceArn=function, Policy="{")[0] == "InvalidParameterValueException"
    client.delete_resource_policy(ResourceArn=function)
    assert refused(client.get_policy, FunctionName="policy")[0] == "ResourceNotFoundException"


def test_a_url_is_open_only_to_whom_its_policy_means(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("open", ECHO)
    url = client.create_function_url_config(FunctionName="open", AuthType="NONE")["FunctionUrl"]
    base, host = aws.url, url.split("/")[2]

    def status() -> int:
        return httpx2.get(base, headers={"host": host}).status_code

    permission = {"FunctionName": "open", "Principal": "*", "Action": "lambda:InvokeFunctionUrl"}
    client.add_permission(**permission, StatementId="org", FunctionUrlAuthType="NONE", PrincipalOrgID="o-abcdefghij")
    assert status() == 403, "nobody can show that a caller without a signature belongs to the organisation"
    client.add_permission(**permission, StatementId="signed", FunctionUrlAuthType="AWS_IAM")
    assert status() == 403
    client.add_permission(**permission, StatementId="all", FunctionUrlAuthType="NONE")
    assert status() == 200
    _, message, _ = refused(
        client.add_permission, **permission | {"Action": "lambda:InvokeFunction"}, StatementId="x", FunctionUrlAuthType="NONE"
    )
    assert message == "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"


def test_code_without_a_signature_is_refused_where_one_is_enforced(aws: Aws) -> None:
    client = aws.client()
    config = client.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/one/abc"]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )["CodeSigningConfig"]["CodeSigningConfigArn"]
    code, message, status = refused(aws.deploy, name="unsigned", files=ECHO, CodeSigningConfigArn=config)
    assert (code, status) == ("CodeVerificationFailedException", 400)
    assert message.endswith(f"Check the provided signature for {arn('unsigned')}.")
    aws.deploy("unsigned", ECHO)
    client.put_function_code_signing_config(FunctionName="unsigned", CodeSigningConfigArn=config)
    changed = zipped(ECHO + "\n")
    assert (
        refused(client.update_function_code, FunctionName="unsigned", ZipFile=changed)[0] == "CodeVerificationFailedException"
    )
    policies = {"UntrustedArtifactOnDeployment": "Warn"}
    client.update_code_signing_config(CodeSigningConfigArn=config, CodeSigningPolicies=policies)
    client.update_function_code(FunctionName="unsigned", ZipFile=changed)


def test_a_region_where_nothing_is_yet_has_empty_lists(aws: Aws) -> None:
    assert "QueueUrls" not in aws.client("sqs", region="eu-central-1").list_queues()
    assert aws.client(region="eu-central-1").list_functions()["Functions"] == []
    assert aws.client("logs", region="eu-central-1").describe_log_groups()["logGroups"] == []
