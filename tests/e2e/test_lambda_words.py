"""What AWS Lambda says when it refuses, to the letter; which revision ids a change leaves behind it; where code can be fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError

from dayfly.dialects.aws import code
from tests.support.aws import ROLE, Aws, serving, zipped
from tests.support.site import running

ARN = "arn:aws:lambda:us-east-1:000000000000:"
CODE = "def handler(event, context): return event"
BUCKET = "arn:aws:s3:::bucket"
GRANT = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """With a function `words`, its version 1, and the alias `live` of it."""
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        made.deploy("words", CODE, Publish=True)
        client = made.client()
        client.create_alias(FunctionName="words", Name="live", FunctionVersion="1")
        for name, visibility in (("jobs", "30"), ("short", "3"), ("steps.fifo", "30")):
            kind = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
            made.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": visibility} | kind)
        yield made


def queue(name: str) -> dict[str, str]:
    return {"FunctionName": "words", "EventSourceArn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}


def words(**arguments: Any) -> dict[str, Any]:
    return {"FunctionName": "words"} | arguments


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("create_alias", words(Name="x", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 2}}),
     "ValidationException",
     "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "
     "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than "
     "or equal to 0.0, Member must not be null]"),
    ("put_function_event_invoke_config", {"FunctionName": "nobody"}, "InvalidParameterValueException",
     "You must specify at least one of error handling or destination setting."),
    ("get_provisioned_concurrency_config", {"FunctionName": "nobody", "Qualifier": "live"}, "ResourceNotFoundException",
     f"Cannot find alias arn: {ARN}function:nobody:live"),
    ("get_provisioned_concurrency_config", words(Qualifier="$LATEST"), "InvalidParameterValueException",
     "The function resource provided must be an alias or a published version."),
    ("put_provisioned_concurrency_config", words(Qualifier="$LATEST", ProvisionedConcurrentExecutions=1),
     "InvalidParameterValueException",
     "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
    ("add_permission", words(Qualifier="nowhere", **GRANT), "ResourceNotFoundException",
     f"Cannot find alias arn: {ARN}function:words:nowhere"),
    ("add_permission", words(Qualifier="42", **GRANT), "ResourceNotFoundException",
     f"Function not found: {ARN}function:words:42"),
    ("add_permission", words(Qualifier="with-$", **GRANT), "ResourceNotFoundException",
     f"Function not found: {ARN}function:words:with-$"),
    ("get_runtime_management_config", words(Qualifier="9"), "ResourceNotFoundException",
     f"Function not found: {ARN}function:words:9"),
    ("update_function_configuration", words(LoggingConfig={"LogFormat": "Text", "ApplicationLogLevel": "INFO"}),
     "InvalidParameterValueException",
     'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to '
     '"JSON" and try again.'),
    ("create_event_source_mapping", queue("short"), "InvalidParameterValueException",
     "Queue visibility timeout: 3 seconds is less than Function timeout: 5 seconds"),
    ("create_event_source_mapping", queue("steps.fifo") | {"MaximumBatchingWindowInSeconds": 1},
     "InvalidParameterValueException", "Batching window is not supported for FIFO queues"),
    ("create_event_source_mapping", queue("jobs") | {"ParallelizationFactor": 2}, "InvalidParameterValueException",
     "ParallelizationFactor is not valid for SQS event sources."),
    ("create_function", {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:x", "Code": {"ZipFile": b"x"},
                         "Role": ROLE, "Runtime": "python3.12", "Handler": "handler.handler"},
     "AccessDeniedException",
     "User: arn:aws:iam::000000000000:user/local is not authorized to perform: lambda:CreateFunction on resource: "
     "arn:aws:lambda:us-east-1:123456789012:function:x because no resource-based policy allows the lambda:CreateFunction action"),
    ("create_function", {"FunctionName": "a" * 65, "Code": {"ZipFile": b"x"}, "Role": ROLE, "Runtime": "python3.12", "Handler": "h.h"},
     "InvalidParameterValueException",
     f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
     "Member must have length less than or equal to 64"),
    ("invoke", {"FunctionName": "nobody"}, "ResourceNotFoundException", f"Function not found: {ARN}function:nobody:$LATEST"),
    ("delete_function", {"FunctionName": "nobody", "Qualifier": "$LATEST"}, "InvalidParameterValueException",
     "$LATEST version cannot be deleted without deleting the function."),
    ("get_layer_version", {"LayerName": "none", "VersionNumber": 0}, "InvalidParameterValueException",
     "Layer Version Cannot be less than 1"),
    ("list_layers", {"CompatibleArchitecture": "z80"}, "ValidationException",
     "1 validation error detected: Value 'z80' at 'compatibleArchitecture' failed to satisfy constraint: "
     "Member must satisfy enum value set: [x86_64, arm64]"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "arguments", "code", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_refused(aws: Aws, operation: str, arguments: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(), operation)(**arguments)
    assert caught.value.response["Error"] == {"Code": code, "Message": message}


def test_nothing_is_left_for_others_where_all_that_is_reserved_is_provisioned(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("held", CODE, Publish=True)
    client.put_function_concurrency(FunctionName="held", ReservedConcurrentExecutions=2)
    client.put_provisioned_concurrency_config(FunctionName="held", Qualifier="1", ProvisionedConcurrentExecutions=2)
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="held")
    answer = caught.value.response
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert "retryAfterSeconds" not in answer
    assert aws.call("held", [1], Qualifier="1")[0] == [1]
    with pytest.raises(ClientError) as caught:
        client.put_function_concurrency(FunctionName="held", ReservedConcurrentExecutions=1)
    assert caught.value.response["Error"]["Message"] == (
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    )
    client.delete_provisioned_concurrency_config(FunctionName="held", Qualifier="1")
    assert aws.call("held", [2])[0] == [2]


def test_the_url_of_an_alias_outlives_it_and_is_forbidden(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("linked", CODE, Publish=True)
    client.create_alias(FunctionName="linked", Name="al", FunctionVersion="1")
    url = client.create_function_url_config(FunctionName="linked", Qualifier="al", AuthType="NONE")["FunctionUrl"]
    grant = {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    client.add_permission(FunctionName="linked", Qualifier="al", **grant)
    host = url.split("/")[2]
    headers = {"host": host, "x-forwarded-for": "6.6.6.6", "connection": "close"}
    event = httpx2.get(f"{aws.url}/a%2525b?q=1", headers=headers).json()
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1", "nobody says who they are"
    assert event["headers"]["x-amzn-trace-id"].startswith("Root=1-")
    assert "connection" not in event["headers"]
    client.delete_alias(FunctionName="linked", Name="al")
    gone = httpx2.get(aws.url, headers={"host": host})
    assert (gone.status_code, gone.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert gone.json()["Message"].startswith("Forbidden. For troubleshooting Function URL authorization issues, see: ")
    assert client.get_function_url_config(FunctionName="linked", Qualifier="al")["FunctionUrl"] == url
    client.delete_function_url_config(FunctionName="linked", Qualifier="al")
    assert httpx2.get(aws.url, headers={"host": host}).json() == {"Message": None}


def test_limits_of_an_account_are_told_without_a_type(aws: Aws) -> None:
    with pytest.raises(ClientError) as caught:
        aws.client().put_function_concurrency(FunctionName="words", ReservedConcurrentExecutions=1001)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert "Type" not in caught.value.response


def test_a_runtime_that_no_layer_can_have_is_refused(aws: Aws) -> None:
    with pytest.raises(ClientError) as caught:
        aws.client().publish_layer_version(
            LayerName="odd", Content={"ZipFile": zipped("x = 1")}, CompatibleRuntimes=["cobol", "python3.12"]
        )
    message = caught.value.response["Error"]["Message"]
    assert message.startswith(
        "1 validation error detected: Value '[cobol, python3.12]' at 'compatibleRuntimes' failed to satisfy"
    )


def test_a_version_that_comes_with_new_code_is_pending_at_first(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("fresh", CODE)
    made = client.update_function_code(FunctionName="fresh", ZipFile=zipped(CODE + "\n\n"), Publish=True)
    assert (made["Version"], made["State"], made["StateReasonCode"]) == ("1", "Pending", "Creating")
    assert "LastUpdateStatus" not in made
    assert client.get_function(FunctionName="fresh:1")["Configuration"]["RevisionId"] == made["RevisionId"]
    for qualifier in ("z", "1", "a"):
        if qualifier != "1":
            client.create_alias(FunctionName="fresh", Name=qualifier, FunctionVersion="1")
        client.put_function_event_invoke_config(FunctionName="fresh", Qualifier=qualifier, MaximumRetryAttempts=0)
    listed = client.list_function_event_invoke_configs(FunctionName="fresh")["FunctionEventInvokeConfigs"]
    assert [one["FunctionArn"].rpartition(":")[2] for one in listed] == ["1", "a", "z"]


def test_two_versions_of_a_layer_are_named_in_the_order_they_were_given(aws: Aws) -> None:
    client = aws.client()
    published = [client.publish_layer_version(LayerName="twice", Content={"ZipFile": zipped("x = 1")}) for _ in range(2)]
    first, second = (each["LayerVersionArn"] for each in published)
    with pytest.raises(ClientError) as caught:
        client.update_function_configuration(FunctionName="words", Layers=[first, second])
    assert f"{first} and {second} are versions of the same layer." in caught.value.response["Error"]["Message"]
    empty = client.publish_layer_version(LayerName="any", Content={"ZipFile": zipped("x = 1")}, CompatibleRuntimes=[])
    assert empty["CompatibleRuntimes"] == [], "what was given is there, even if it is empty"
    assert "CompatibleRuntimes" not in published[0]


def test_every_change_gives_what_it_changes_another_revision_id(aws: Aws) -> None:
    client = aws.client()

    def latest() -> str:
        revision: str = client.get_function_configuration(FunctionName="words")["RevisionId"]
        return revision

    seen = [latest()]
    for change in (
        lambda: client.add_permission(**words(RevisionId=latest(), SourceArn=BUCKET, **GRANT)),
        lambda: client.remove_permission(**words(StatementId="s3", RevisionId=latest())),
        lambda: client.tag_resource(Resource=f"{ARN}function:words", Tags={"team": "a"}),
        lambda: client.untag_resource(Resource=f"{ARN}function:words", TagKeys=["team"]),
        lambda: client.update_function_code(FunctionName="words", ZipFile=zipped(CODE + "\n"), Publish=True),
    ):
        change()
        seen.append(latest())
    assert len(set(seen)) == len(seen)
    client.create_alias(FunctionName="words", Name="beside", FunctionVersion="1")
    assert latest() == seen[-1], "an alias has a revision of its own"


def test_a_policy_bears_the_revision_id_of_what_it_is_about(aws: Aws) -> None:
    client = aws.client()
    alias = client.get_alias(FunctionName="words", Name="live")
    with pytest.raises(client.exceptions.PreconditionFailedException) as caught:
        client.add_permission(**words(Qualifier="live", RevisionId="late", **GRANT))
    assert "Call the GetPolicy API" in str(caught.value)
    client.add_permission(**words(Qualifier="live", RevisionId=alias["RevisionId"], **GRANT))
    policy = client.get_policy(FunctionName="words", Qualifier="live")
    assert policy["RevisionId"] == client.get_alias(FunctionName="words", Name="live")["RevisionId"] != alias["RevisionId"]


def test_a_code_signing_configuration_in_use_stays(aws: Aws) -> None:
    client = aws.client()
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/one"]}
    made = client.create_code_signing_config(AllowedPublishers=publishers)["CodeSigningConfig"]["CodeSigningConfigArn"]
    client.put_function_code_signing_config(CodeSigningConfigArn=made, FunctionName="words")
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_code_signing_config(CodeSigningConfigArn=made)
    client.delete_function_code_signing_config(FunctionName="words")
    client.delete_code_signing_config(CodeSigningConfigArn=made)


def test_a_url_tells_its_mode_to_whoever_gave_it_or_asks(aws: Aws) -> None:
    client = aws.client()
    created = client.create_function_url_config(FunctionName="words", AuthType="NONE")
    assert "InvokeMode" not in created
    assert client.get_function_url_config(FunctionName="words")["InvokeMode"] == "BUFFERED"
    changed = client.update_function_url_config(FunctionName="words", InvokeMode="RESPONSE_STREAM")
    assert changed["InvokeMode"] == "RESPONSE_STREAM"


@pytest.mark.anyio
async def test_a_layer_is_there_for_as_long_as_it_has_a_version_whoever_uses_it(tmp_path: Path) -> None:
    async with running(tmp_path, dialects=("lambda",), listeners={"lambda": 0}) as site:
        client = Aws(f"http://127.0.0.1:{site.server.listeners['lambda'].port}").client()

        async def after_a_day() -> int:
            for folder in (site.server.packages.root / "code").iterdir():
                os.utime(folder, (0, 0))
            await site.server.uploads.tidy()
            return len(list((site.server.packages.root / "code").iterdir()))

        await asyncio.to_thread(client.publish_layer_version, LayerName="rare", Content={"ZipFile": zipped(CODE)})
        assert await after_a_day() == 1
        await asyncio.to_thread(client.delete_layer_version, LayerName="rare", VersionNumber=1)
        assert await after_a_day() == 0


def test_code_can_be_fetched_for_ten_minutes_by_whoever_has_its_address(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    client = aws.client()
    archive = zipped({"handler.py": CODE, "data.txt": "1"})
    client.create_function(
        FunctionName="fetched", Runtime="python3.12", Role=ROLE, Handler="handler.handler", Code={"ZipFile": archive}
    )
    layer = client.publish_layer_version(LayerName="fetched", Content={"ZipFile": archive})
    address = client.get_function(FunctionName="fetched")["Code"]["Location"]
    for each in (address, layer["Content"]["Location"]):
        fetched = httpx2.get(each)
        assert (fetched.status_code, fetched.content) == (200, archive)
    path, _, query = address.partition("?")
    for wrong in (path, f"{path}?{query}0", path.replace("/default/", "/other/") + "?" + query):
        assert httpx2.get(wrong).status_code == 403
    later = code.now() + 601
    monkeypatch.setattr(code, "now", lambda: later)
    assert "Request has expired" in httpx2.get(address).text
