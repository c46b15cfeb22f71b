"""Queues, event source mappings, destinations and logs as users of AWS Lambda know them, through boto3."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import Aws, serving

WORKER = """
import json
def handler(event, context):
    print("took", json.dumps(event))
    if event.get("fail"):
        raise ValueError("on purpose")
    bad = [record["messageId"] for record in event.get("Records", []) if record["body"] == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in bad]} if "Records" in event else "fine"
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


def until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first result of `check` that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def queue(aws: Aws, name: str, **attributes: str) -> tuple[str, str]:
    """URL and ARN of a new queue."""
    client = aws.client("sqs")
    url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def taken(aws: Aws, function: str) -> list[Any]:
    """The events that the function printed."""
    found = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}", filterPattern="took")["events"]
    return [json.loads(event["message"].removeprefix("took ")) for event in found]


def test_a_queue_takes_and_gives_messages(aws: Aws) -> None:
    client = aws.client("sqs")
    url, arn = queue(aws, "plain")
    assert arn == "arn:aws:sqs:us-east-1:000000000000:plain"
    attributes = {"Colour": {"DataType": "String", "StringValue": "red"}}
    sent = client.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)
    (message,) = client.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"]
    assert (message["Body"], message["MessageId"], message["MessageAttributes"]) == ("hello", sent["MessageId"], attributes)
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in client.receive_message(QueueUrl=url)
    with pytest.raises(client.exceptions.QueueDoesNotExist):
        client.get_queue_url(QueueName="nowhere")


def test_a_mapping_calls_with_batches_and_only_what_failed_comes_again(aws: Aws) -> None:
    url, arn = queue(aws, "work", VisibilityTimeout="1")
    aws.deploy("worker", WORKER, Timeout=1)
    client = aws.client()
    mapping = client.create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName="worker",
        BatchSize=10,
        MaximumBatchingWindowInSeconds=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    assert mapping["State"] == "Creating"
    assert client.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled"
    bodies = ["one", "bad", "two"]
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    aws.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    again = until(
        lambda: [event for event in taken(aws, "worker") if event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"]
    )
    assert [[record["body"] for record in event["Records"]] for event in again[:1]] == [["bad"]], "the others were done"
    record = again[0]["Records"][0]
    assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", arn, "us-east-1")
    with pytest.raises(ClientError) as caught:
        client.create_event_source_mapping(EventSourceArn=arn, FunctionName="worker")
    assert caught.value.response["Error"]["Code"] == "ResourceConflictException"
    assert client.delete_event_source_mapping(UUID=mapping["UUID"])["State"] == "Deleting"
    assert client.list_event_source_mappings(FunctionName="worker")["EventSourceMappings"] == []


def test_a_group_of_messages_comes_in_one_batch_and_in_order(aws: Aws) -> None:
    client = aws.client("sqs")
    url, arn = queue(aws, "steps.fifo", FifoQueue="true", VisibilityTimeout="5", ContentBasedDeduplication="true")
    entries = [
        {"Id": str(n), "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": f"d{n}"}
        for n, body in enumerate(("one", "bad", "three"))
    ]
    entries.append({"Id": "3", "MessageBody": "four", "MessageGroupId": "g"})  # by its content
    sent = client.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
    order = [each["SequenceNumber"] for each in sent]
    assert order == sorted(order)
    assert {len(each) for each in order} == {20}
    aws.deploy("in-steps", WORKER, Timeout=3)
    mapping = aws.client().create_event_source_mapping(
        FunctionName="in-steps", EventSourceArn=arn, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    first, second = until(lambda: found if len(found := taken(aws, "in-steps")) > 1 else None)[:2]
    told = [(each["body"], each["attributes"]["MessageDeduplicationId"][:2]) for each in first["Records"]]
    assert told == [("one", "d0"), ("bad", "d1"), ("three", "d2"), ("four", "04")]
    assert [each["attributes"]["SequenceNumber"] for each in first["Records"]] == order
    assert [each["body"] for each in second["Records"]] == ["bad"]
    aws.client().delete_event_source_mapping(UUID=mapping["UUID"])


def test_a_mapping_filters_by_the_body(aws: Aws) -> None:
    url, arn = queue(aws, "chosen")
    aws.deploy("picky", WORKER)
    pattern = json.dumps({"body": {"kind": ["wanted"]}})
    aws.client().create_event_source_mapping(
        EventSourceArn=arn, FunctionName="picky", FilterCriteria={"Filters": [{"Pattern": pattern}]}
    )
    for kind in ("other", "wanted"):
        aws.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"kind": kind}))
    (event,) = until(lambda: taken(aws, "picky"))
    assert [json.loads(record["body"]) for record in event["Records"]] == [{"kind": "wanted"}]


def test_destinations_are_told_how_an_asynchronous_call_ended(aws: Aws) -> None:
    url, arn = queue(aws, "ends")
    aws.deploy("later", WORKER)
    client = aws.client()
    destinations = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    config = client.put_function_event_invoke_config(
        FunctionName="later", MaximumRetryAttempts=0, DestinationConfig=destinations
    )
    assert (config["MaximumRetryAttempts"], "MaximumEventAgeInSeconds" in config) == (0, False)
    requests = {}
    for event in ({"good": 1}, {"fail": 1}):
        _, whole = aws.call("later", event, InvocationType="Event")
        requests[whole["ResponseMetadata"]["RequestId"]] = event
    records: dict[str, Any] = {}

    def both() -> bool:
        for message in aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            record = json.loads(message["Body"])
            records[record["requestContext"]["condition"]] = record
        return len(records) == 2

    until(both)
    good, bad = records["Success"], records["RetriesExhausted"]
    assert requests[good["requestContext"]["requestId"]] == {"good": 1} == good["requestPayload"]
    assert good["responsePayload"] == "fine"
    assert good["requestContext"]["functionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:later:$LATEST"
    assert bad["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert bad["responsePayload"]["errorMessage"] == "on purpose"


def test_a_dead_letter_queue_gets_the_event_and_why_it_is_there(aws: Aws) -> None:
    url, arn = queue(aws, "letters")
    aws.deploy("hopeless", WORKER, DeadLetterConfig={"TargetArn": arn})
    aws.client().put_function_event_invoke_config(FunctionName="hopeless", MaximumRetryAttempts=0)
    _, whole = aws.call("hopeless", {"fail": 1}, InvocationType="Event")
    receive = {"QueueUrl": url, "WaitTimeSeconds": 5, "MessageAttributeNames": ["All"]}
    (letter,) = until(lambda: aws.client("sqs").receive_message(**receive).get("Messages"))
    assert json.loads(letter["Body"]) == {"fail": 1}
    assert letter["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": whole["ResponseMetadata"]["RequestId"]},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "on purpose"},
    }


def test_a_chain_of_calls_that_goes_round_is_stopped(aws: Aws) -> None:
    """Given a function that calls itself as SDKs do, with the trace header of its own call, then the seventeenth call is refused."""
    aws.deploy("loop", "import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']")
    url, trace = aws.url + "/2015-03-31/functions/loop/invocations", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"
    for _ in range(16):
        with urllib.request.urlopen(urllib.request.Request(url, b"{}", {"X-Amzn-Trace-Id": trace})) as answer:
            trace = json.load(answer)
    assert trace.endswith(":16")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, b"{}", {"X-Amzn-Trace-Id": trace}))
    assert (caught.value.code, caught.value.headers["x-amzn-errortype"]) == (400, "RecursiveInvocationException")
    aws.client().put_function_recursion_config(FunctionName="loop", RecursiveLoop="Allow")
    with urllib.request.urlopen(urllib.request.Request(url, b"{}", {"X-Amzn-Trace-Id": trace})) as answer:
        assert json.load(answer).endswith(":17")


def test_logs_have_a_group_a_function_and_a_stream_an_instance(aws: Aws) -> None:
    aws.deploy("speaks", "def handler(event, context): print('a word'); return context.log_stream_name")
    stream, whole = aws.call("speaks")
    logs = aws.client("logs")
    group = "/aws/lambda/speaks"
    assert [found["logGroupName"] for found in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]] == [group]
    until(lambda: logs.filter_log_events(logGroupName=group, filterPattern='"a word"')["events"])
    messages = [event["message"] for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]
    request = whole["ResponseMetadata"]["RequestId"]
    assert messages.pop(0).startswith("INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: arn:aws:lambda:")
    assert messages[:3] == [f"START RequestId: {request} Version: $LATEST\n", "a word\n", f"END RequestId: {request}\n"]
    assert messages[3].startswith(f"REPORT RequestId: {request}\tDuration: ")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="/aws/lambda/none", logStreamName="x")


def test_who_am_i_and_roles_and_what_is_not_offered(aws: Aws) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert aws.client("sts", key="123456789012").get_caller_identity()["Account"] == "123456789012"
    iam = aws.client("iam")
    made = iam.create_role(RoleName="runs", AssumeRolePolicyDocument="{}")["Role"]
    assert iam.get_role(RoleName="runs")["Role"]["Arn"] == made["Arn"] == "arn:aws:iam::000000000000:role/runs"
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="none")
    for call in (aws.client("ecr").describe_repositories, aws.client("dynamodb").list_tables):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
