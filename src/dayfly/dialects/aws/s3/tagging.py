"""Tags of buckets."""

from __future__ import annotations

from typing import Any, Final

from .... import actions as a
from ...hook import Reply
from ..faults import AwsError
from .operation import body_of
from .request import Request

KIND: Final = "aws/bucket-tags"
MOST: Final = 50  # of a bucket
KEY: Final = 128  # characters
VALUE: Final = 256  # characters


async def put(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    tags = (body_of(call.operation, await call.upload.document()).get("Tagging") or {}).get("TagSet") or []
    _check(tags)
    await call.do(a.PutDocument(namespace=call.namespace, kind=KIND, name=call.bucket, body={"TagSet": tags}))
    return call.reply({}, 204)


async def get(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    document = call.view.document(call.namespace, KIND, call.bucket)
    if document is None or not document.body["TagSet"]:
        raise AwsError("NoSuchTagSet", "The TagSet does not exist", 404)
    return call.reply(document.body)


async def delete(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    await forget(call)
    return call.reply({}, 204)


async def forget(call: Request) -> None:
    """The bucket is gone, or its tags are."""
    if call.view.document(call.namespace, KIND, call.bucket) is not None:
        await call.do(a.DeleteDocument(namespace=call.namespace, kind=KIND, name=call.bucket))


def _check(tags: list[dict[str, Any]]) -> None:
    if len(tags) > MOST:
        raise AwsError("BadRequest", f"Bucket tag count cannot be greater than {MOST}", 400)
    seen = set()
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 0 < len(key) <= KEY:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid", 400)
        if len(value) > VALUE:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid", 400)
        if key.startswith("aws:"):
            raise AwsError("InvalidTag", "System tags cannot be added/updated by requester", 400)
        if key in seen:
            raise AwsError("InvalidTag", "Cannot provide multiple Tags with the same key", 400)
        seen.add(key)
