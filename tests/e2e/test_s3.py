"""Buckets and objects, as boto3 and signed URLs reach them; with a login, so that every signature is looked at."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.aws import ROLE, Aws, serving, zipped

TOKEN = "dft_" + "s" * 43
MB = 1 << 20


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("d"), token=TOKEN) as made:
        yield made


def client(aws: Aws, **options: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id="dayfly",
        aws_secret_access_key=options.pop("secret", TOKEN),
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, s3={"addressing_style": "path"}, **options),
    )


@pytest.fixture(scope="module")
def s3(aws: Aws) -> Any:
    return client(aws)


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)[5:60].strip("-")
    s3.create_bucket(Bucket=name)
    return str(name)


def refused(call: Any, **args: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**args)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_bucket_lives_until_it_is_empty_and_deleted(s3: Any, bucket: str) -> None:
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.create_bucket(Bucket=bucket)  # again: it is ours
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    assert refused(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_object(Bucket=bucket, Key="a")  # what is not there is no error
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket)[1] == 404
    assert refused(s3.list_objects_v2, Bucket=bucket) == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"") == ("NoSuchBucket", 404)
    assert refused(s3.create_bucket, Bucket="Capital.Letters") == ("InvalidBucketName", 400)
    assert refused(s3.put_bucket_acl, Bucket=bucket, ACL="private") == ("NotImplemented", 501)


def test_an_object_comes_back_with_all_it_was_given(s3: Any, bucket: str) -> None:
    body = os.urandom(3 * MB)
    put = s3.put_object(
        Bucket=bucket, Key="a folder/ü+&?.bin", Body=body, ContentType="image/x-test", CacheControl="no-store", Metadata={"For": "you"}
    )  # fmt: skip
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="a folder/ü+&?.bin")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("image/x-test", "no-store", {"for": "you"})
    assert got["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    head = s3.head_object(Bucket=bucket, Key="a folder/ü+&?.bin")
    assert (head["ContentLength"], head["ETag"], head["AcceptRanges"]) == (3 * MB, put["ETag"], "bytes")
    assert refused(s3.get_object, Bucket=bucket, Key="other") == ("NoSuchKey", 404)
    assert refused(s3.head_object, Bucket=bucket, Key="other")[1] == 404


@pytest.mark.parametrize(
    ("asked", "told", "body"),
    [
        ("bytes=0-1", "bytes 0-1/10", b"01"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=5-99", "bytes 5-9/10", b"56789"),
        ("bytes=nonsense", None, b"0123456789"),
    ],
)
def test_ranges(s3: Any, asked: str, told: str | None, body: bytes) -> None:
    s3.create_bucket(Bucket="ranges")
    s3.put_object(Bucket="ranges", Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket="ranges", Key="k", Range=asked)
    assert (got.get("ContentRange"), got["Body"].read()) == (told, body)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == (206 if told else 200)
    assert refused(s3.get_object, Bucket="ranges", Key="k", Range="bytes=10-") == ("InvalidRange", 416)


def test_conditions(s3: Any, bucket: str) -> None:
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"no"') == ("PreconditionFailed", 412)
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=tag)[1] == 304
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"') == ("PreconditionFailed", 412)
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=tag)["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=new, IfNoneMatch=tag)["Body"].read() == b"2"


def test_lists_are_paged_and_folded(s3: Any, bucket: str) -> None:
    keys = sorted(f"{folder}/{n} {'é' * n}" for folder in ("a", "b", "c") for n in range(4))
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for operation in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
        assert len(pages) == 3
        assert [item["Key"] for page in pages for item in page["Contents"]] == keys
        folded = list(s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
        assert [each["Prefix"] for page in folded for each in page["CommonPrefixes"]] == ["a/", "b/", "c/"]
    under = s3.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter=keys[4])
    assert ([item["Key"] for item in under["Contents"]], under["KeyCount"]) == (keys[5:8], 3)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert [each["Key"] for each in gone["Deleted"]] == keys
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_each_object_is_its_only_version(s3: Any, bucket: str) -> None:
    for key in ("a", "b/1", "c d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}))
    found = [(one["Key"], one["VersionId"], one["IsLatest"]) for page in pages for one in page.get("Versions", ())]
    assert found == [(key, "null", True) for key in ("a", "b/1", "c d")]
    folded = s3.list_object_versions(Bucket=bucket, Delimiter="/", Prefix="b")
    assert folded["CommonPrefixes"] == [{"Prefix": "b/"}]
    assert "Versions" not in folded
    kept = {"Objects": [{"Key": key, "VersionId": version} for key, version, _ in found]}
    assert len(s3.delete_objects(Bucket=bucket, Delete=kept)["Deleted"]) == 3
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)


def test_copies_keep_or_replace_what_is_known_of_them(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from", Body=b"abc", ContentType="text/x", Metadata={"a": "1"})
    s3.copy_object(Bucket=bucket, Key="same", CopySource={"Bucket": bucket, "Key": "from"})
    s3.copy_object(
        Bucket=bucket, Key="other", CopySource=f"{bucket}/from", MetadataDirective="REPLACE", Metadata={"b": "2"}
    )  # fmt: skip
    same, other = (s3.get_object(Bucket=bucket, Key=key) for key in ("same", "other"))
    assert (same["Body"].read(), same["ContentType"], same["Metadata"]) == (b"abc", "text/x", {"a": "1"})
    assert (other["Body"].read(), other["Metadata"]) == (b"abc", {"b": "2"})
    assert refused(s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/none") == ("NoSuchKey", 404)


def test_large_files_go_in_parts(s3: Any, bucket: str) -> None:
    body = os.urandom(12 * MB + 1)
    how = TransferConfig(multipart_threshold=5 * MB, multipart_chunksize=5 * MB)
    s3.upload_fileobj(io.BytesIO(body), bucket, "large", Config=how, ExtraArgs={"Metadata": {"kind": "large"}})
    assert s3.head_object(Bucket=bucket, Key="large")["Metadata"] == {"kind": "large"}
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    back = io.BytesIO()
    s3.download_fileobj(bucket, "large", back, Config=how)
    assert back.getvalue() == body
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="given up")["UploadId"]
    named = {"Bucket": bucket, "Key": "given up", "UploadId": upload}
    tag = s3.upload_part(**named, PartNumber=1, Body=b"small")["ETag"]
    s3.upload_part_copy(**named, PartNumber=2, CopySource=f"{bucket}/large", CopySourceRange="bytes=0-9")
    assert [part["Size"] for part in s3.list_parts(**named)["Parts"]] == [5, 10]
    assert [each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["given up"]
    parts = [{"PartNumber": 1, "ETag": tag}, {"PartNumber": 2, "ETag": '"no"'}]
    assert refused(s3.complete_multipart_upload, **named, MultipartUpload={"Parts": parts}) == ("InvalidPart", 400)
    s3.abort_multipart_upload(**named)
    assert refused(s3.list_parts, **named) == ("NoSuchUpload", 404)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_signed_urls_need_no_client(aws: Aws, bucket: str, version: str) -> None:
    s3 = client(aws, signature_version=version)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k 1"})
    with urllib.request.urlopen(
        urllib.request.Request(put, data=b"by hand", method="PUT", headers={"content-type": ""})
    ) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k 1", "ResponseContentType": "text/csv"})
    with urllib.request.urlopen(get) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (b"by hand", "text/csv")
    for url in (get.replace("k%201", "k"), f"{aws.url}/{bucket}/k%201"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url)
        with caught.value:
            assert caught.value.code == 403


def test_what_is_not_what_it_was_said_to_be_is_not_kept(aws: Aws, s3: Any, bucket: str) -> None:
    wrong = base64.b64encode(b"0" * 16).decode()
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"1", ContentMD5=wrong)[1] == 400
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"1", ChecksumCRC32="AAAAAA==") == ("BadDigest", 400)
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert refused(client(aws, secret="wrong").list_buckets) == ("SignatureDoesNotMatch", 403)
    assert refused(s3.get_object, Bucket=".uploads", Key="k")[1] in (400, 404)


def test_code_of_functions_and_layers_comes_from_a_bucket(aws: Aws, s3: Any, bucket: str) -> None:
    functions = aws.client(key="dayfly", secret=TOKEN)
    s3.put_object(Bucket=bucket, Key="code/f.zip", Body=zipped("import words\ndef handler(event, context): return words.ALL"))
    s3.put_object(Bucket=bucket, Key="layer.zip", Body=zipped({"python/words.py": "ALL = ['from', 's3']"}))
    layer = functions.publish_layer_version(LayerName="words", Content={"S3Bucket": bucket, "S3Key": "layer.zip"})
    named = {"FunctionName": "stored", "Runtime": "python3.12", "Handler": "handler.handler", "Role": ROLE}
    source = {"S3Bucket": bucket, "S3Key": "code/f.zip"}
    functions.create_function(**named, Code=source, Layers=[layer["LayerVersionArn"]])
    assert json.loads(functions.invoke(FunctionName="stored")["Payload"].read()) == ["from", "s3"]
    for wrong, why in (
        ({"S3Key": "no"}, "NoSuchKey. S3 Error Message: The specified key does not exist."),
        ({"S3Bucket": "no-such"}, "NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
        ({"S3ObjectVersion": "7"}, "NoSuchVersion. S3 Error Message: The specified version does not exist."),
    ):
        with pytest.raises(functions.exceptions.InvalidParameterValueException, match=f"while GetObject. S3 Error Code: {why}"):
            functions.update_function_code(FunctionName="stored", **(source | wrong))


def test_buckets_have_tags(s3: Any, bucket: str) -> None:
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    tags = [{"Key": "team", "Value": "chips & <more>"}, {"Key": "empty", "Value": ""}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    for bad in (
        [tags[0], tags[0]],
        [{"Key": "k" * 129, "Value": "v"}],
        [{"Key": "aws:x", "Value": "v"}],
        [{"Key": "k", "Value": "v" * 257}],
    ):
        assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": bad}) == ("InvalidTag", 400)
    many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": many}) == ("BadRequest", 400)
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    assert s3.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": tags}) == ("NoSuchBucket", 404)
    s3.create_bucket(Bucket=bucket)
    assert refused(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
