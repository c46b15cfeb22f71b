"""Which operation is performed by what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from ...hook import Do, Head, Reply, View
from ..faults import AwsError
from ..scope import scope_of
from . import buckets, notifications, objects, tagging, uploads
from .body import Upload
from .operation import asked
from .request import Request

PERFORMED: dict[str, Callable[[Request], Awaitable[Reply]]] = {
    "ListBuckets": buckets.list_all,
    "CreateBucket": buckets.create,
    "HeadBucket": buckets.head,
    "DeleteBucket": buckets.delete,
    "GetBucketLocation": buckets.location,
    "GetBucketVersioning": buckets.versioning,
    "PutBucketNotificationConfiguration": notifications.put,
    "GetBucketNotificationConfiguration": notifications.get,
    "PutBucketTagging": tagging.put,
    "GetBucketTagging": tagging.get,
    "DeleteBucketTagging": tagging.delete,
    "ListObjects": buckets.list_objects,
    "ListObjectsV2": buckets.list_objects_v2,
    "ListObjectVersions": buckets.list_versions,
    "PutObject": objects.put,
    "GetObject": objects.get,
    "HeadObject": objects.head,
    "CopyObject": objects.copy,
    "DeleteObject": objects.delete,
    "DeleteObjects": objects.delete_many,
    "CreateMultipartUpload": uploads.create,
    "UploadPart": uploads.put_part,
    "UploadPartCopy": uploads.copy_part,
    "CompleteMultipartUpload": uploads.complete,
    "AbortMultipartUpload": uploads.abort,
    "ListParts": uploads.list_parts,
    "ListMultipartUploads": uploads.list_uploads,
}


async def perform(head: Head, body: AsyncIterator[bytes], do: Do, view: View) -> Reply:
    """Answer a request for S3. Raises AwsError and what the platform raises."""
    found = asked(head)
    serve = PERFORMED.get(found.operation.name)
    if serve is None:
        raise AwsError("NotImplemented", f"{found.operation.name} is not offered by Dayfly.", 501)
    if found.bucket.startswith("."):
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    upload = Upload(head, body)
    return await serve(Request(head, scope_of(head), found.operation, found.bucket, found.key, found.args, upload, do, view))
