"""Functions and queues that hear of a bucket's objects, by notifications as S3 sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import Aws, serving

SOURCE = "import json\ndef handler(event, context): print('heard', json.dumps(event))"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:changes"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("s3")) as made:
        made.deploy("listens", SOURCE)
        made.client("sqs").create_queue(QueueName="changes")
        yield made


def configure(aws: Aws, bucket: str, **configuration: Any) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)


def told(aws: Aws) -> list[dict[str, Any]]:
    """All that waits in the queue, in the order in which it came."""
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName="changes")["QueueUrl"]
    records = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            records += json.loads(message["Body"])["Records"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return records


def test_a_queue_hears_of_all_that_comes_and_goes(aws: Aws) -> None:
    s3 = aws.client("s3")
    configure(
        aws, "changing", QueueConfigurations=[{"Id": "all", "QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
    )  # fmt: skip
    etag = s3.put_object(Bucket="changing", Key="a b/ü+.txt", Body=b"12345")["ETag"].strip('"')
    s3.copy_object(Bucket="changing", Key="copy", CopySource={"Bucket": "changing", "Key": "a b/ü+.txt"})
    upload = s3.create_multipart_upload(Bucket="changing", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="changing", Key="parts", UploadId=upload, PartNumber=1, Body=b"p")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="changing", Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.delete_object(Bucket="changing", Key="copy")
    s3.delete_objects(Bucket="changing", Delete={"Objects": [{"Key": "parts"}]})
    records = told(aws)
    assert [(record["eventName"], record["s3"]["object"]["key"]) for record in records] == [
        ("ObjectCreated:Put", "a+b/%C3%BC%2B.txt"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "parts"),
    ]
    first = records[0]
    assert (first["eventVersion"], first["eventSource"], first["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert first["s3"]["bucket"]["arn"] == "arn:aws:s3:::changing"
    assert (first["s3"]["configurationId"], first["s3"]["object"]["size"], first["s3"]["object"]["eTag"]) == ("all", 5, etag)
    assert [record["s3"]["object"]["sequencer"] for record in records] == sorted(
        record["s3"]["object"]["sequencer"] for record in records
    )


def test_a_function_is_called_for_the_keys_that_it_wants(aws: Aws) -> None:
    rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".csv"}]
    wanted = {
        "LambdaFunctionArn": ARN + "listens",
        "Events": ["s3:ObjectCreated:Put"],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    configure(aws, "filtered", LambdaFunctionConfigurations=[wanted])
    s3 = aws.client("s3")
    for key in ("in/1.txt", "out/2.csv", "in/3.csv"):
        s3.put_object(Bucket="filtered", Key=key, Body=b"x")
    s3.delete_object(Bucket="filtered", Key="in/3.csv")
    s3.put_object(Bucket="filtered", Key="in/last.csv", Body=b"x")
    logs = aws.client("logs")
    heard: set[str] = set()
    while "in/last.csv" not in heard or "in/3.csv" not in heard:  # the suite's time limit is the bound
        events = logs.filter_log_events(logGroupName="/aws/lambda/listens")["events"] if heard or _called(logs) else []
        lines = [json.loads(event["message"][6:]) for event in events if event["message"].startswith("heard")]
        heard = {line["Records"][0]["s3"]["object"]["key"] for line in lines}
    assert heard == {"in/3.csv", "in/last.csv"}


def _called(logs: Any) -> bool:
    return bool(logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/listens")["logGroups"])


def test_a_configuration_is_shown_and_goes_with_its_bucket(aws: Aws) -> None:
    s3 = aws.client("s3")
    wanted = {"Id": "one", "LambdaFunctionArn": ARN + "listens", "Events": ["s3:ObjectCreated:*"]}
    configure(aws, "shown", LambdaFunctionConfigurations=[wanted])
    shown = s3.get_bucket_notification_configuration(Bucket="shown")
    assert shown["LambdaFunctionConfigurations"] == [wanted]
    for destination in ({"LambdaFunctionArn": ARN + "nobody"}, {"LambdaFunctionArn": ARN + "listens:nothing"}):
        configuration = {"LambdaFunctionConfigurations": [{"Events": ["s3:ObjectCreated:*"], **destination}]}
        with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
            s3.put_bucket_notification_configuration(Bucket="shown", NotificationConfiguration=configuration)
    s3.delete_bucket(Bucket="shown")
    s3.create_bucket(Bucket="shown")
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(Bucket="shown")
