"""Uploads in parts. An upload is an object of a bucket of this dialect's own, its parts are objects behind it.

.uploads    ID/               its metadata tell the bucket, the key and what the object is to have
            ID/00001, ...     parts
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from .... import actions as a
from ....errors import NotFound
from ....model.bucket import Listing, Object
from ....model.ids import new_id
from ...hook import Reply
from ..faults import AwsError
from . import notifications
from .body import members
from .objects import described, source
from .operation import body_of
from .request import Request

BUCKET = ".uploads"
PARTS = 10_000
LEAST = 5 << 20  # bytes of every part but the last


async def create(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    await call.do(a.PutBucket(namespace=call.namespace, name=BUCKET))
    upload = new_id()
    await call.do(
        a.PutObject(
            namespace=call.namespace,
            name=BUCKET,
            key=f"{upload}/",
            body=_nothing(),
            content_type=call.args.get("ContentType", "binary/octet-stream"),
            metadata=described(call) | {"bucket": call.bucket, "key": call.key},
        )
    )
    return call.reply({"Bucket": call.bucket, "Key": call.key, "UploadId": upload})


async def put_part(call: Request) -> Reply:
    key = await _part(call)
    made: Object = await call.do(
        a.PutObject(
            namespace=call.namespace,
            name=BUCKET,
            key=key,
            body=call.upload.pieces(),
            metadata=members(call.upload.checksums),
        )
    )
    return call.reply({"ETag": f'"{made.etag}"'} | members(call.upload.checksums))


async def copy_part(call: Request) -> Reply:
    key, args = await _part(call), call.args
    start, length = 0, -1
    if "CopySourceRange" in args:
        first, _, last = args["CopySourceRange"].removeprefix("bytes=").partition("-")
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise AwsError("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last", 400)
        start, length = int(first), int(last) - int(first) + 1
    made: Object = await call.do(
        a.ComposeObject(
            namespace=call.namespace, name=BUCKET, key=key, sources=(source(args["CopySource"]),), start=start, length=length
        )
    )
    return call.reply({"CopyPartResult": {"ETag": f'"{made.etag}"', "LastModified": made.modified}})


async def complete(call: Request) -> Reply:
    known = await _upload(call)
    asked = body_of(call.operation, await call.upload.document()).get("MultipartUpload") or {}
    parts = asked.get("Parts") or []
    if not parts:
        raise AwsError(
            "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
        )
    numbers = [part.get("PartNumber", 0) for part in parts]
    if numbers != sorted(set(numbers)):
        raise AwsError(
            "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number."
        )
    there = {part.key: part for part in await _parts(call)}
    chosen = [there.get(_key(call, number)) for number in numbers]
    if any(part is None or said.get("ETag", "").strip('"') != part.etag for part, said in zip(chosen, parts, strict=True)):
        raise AwsError(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity "
            "tag may not match the part's entity tag.",
        )
    found = [part for part in chosen if part is not None]
    if any(part.size < LEAST for part in found[:-1]):
        raise AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in found), usedforsecurity=False).hexdigest()
    made: Object = await call.do(
        a.ComposeObject(
            namespace=call.namespace,
            name=call.bucket,
            key=call.key,
            sources=tuple((BUCKET, part.key) for part in found),
            content_type=known.content_type,
            metadata={name: value for name, value in known.metadata.items() if name not in ("bucket", "key")},
            etag=f"{digest}-{len(found)}",
        )
    )
    await _drop(call, list(there))
    await notifications.created(call, made)
    return call.reply(
        {"Location": f"/{call.bucket}/{call.key}", "Bucket": call.bucket, "Key": call.key, "ETag": f'"{made.etag}"'}
    )


async def abort(call: Request) -> Reply:
    await _upload(call)
    await _drop(call, [part.key for part in await _parts(call)])
    return call.reply({}, 204)


async def list_parts(call: Request) -> Reply:
    await _upload(call)
    after, size = call.args.get("PartNumberMarker", 0), call.args.get("MaxParts", 1000)
    parts = [part for part in await _parts(call) if _number(part) > int(after)]
    shown = parts[: min(size, 1000)]
    more = len(shown) < len(parts)
    return call.reply(
        {
            "Bucket": call.bucket,
            "Key": call.key,
            "UploadId": call.args["UploadId"],
            "PartNumberMarker": int(after),
            "NextPartNumberMarker": _number(shown[-1]) if shown else 0,
            "MaxParts": size,
            "IsTruncated": more,
            "StorageClass": "STANDARD",
            "Parts": [
                {"PartNumber": _number(part), "LastModified": part.modified, "ETag": f'"{part.etag}"', "Size": part.size}
                for part in shown
            ]
            or None,
        }
    )


async def list_uploads(call: Request) -> Reply:
    """The first thousand of the namespace, those of other buckets left out."""
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    try:
        found: Listing = await call.do(a.ListObjects(namespace=call.namespace, name=BUCKET, delimiter="/"))
        uploads = [await call.do(a.HeadObject(namespace=call.namespace, name=BUCKET, key=key)) for key in found.folders]
    except NotFound:
        uploads = []
    return call.reply(
        {
            "Bucket": call.bucket,
            "IsTruncated": False,
            "Uploads": [
                {"UploadId": upload.key.rstrip("/"), "Key": upload.metadata["key"], "Initiated": upload.modified}
                for upload in uploads
                if upload.metadata["bucket"] == call.bucket
            ]
            or None,
        }
    )


async def _part(call: Request) -> str:
    """The key of the part that a request brings."""
    number = call.args["PartNumber"]
    if not 1 <= number <= PARTS:
        raise AwsError("InvalidArgument", f"Part number must be an integer between 1 and {PARTS}, inclusive")
    await _upload(call)
    return _key(call, number)


def _key(call: Request, number: int) -> str:
    return f"{call.args['UploadId']}/{number:05d}"


def _number(part: Object) -> int:
    return int(part.key.rpartition("/")[2])


async def _upload(call: Request) -> Object:
    try:
        found: Object = await call.do(a.HeadObject(namespace=call.namespace, name=BUCKET, key=f"{call.args['UploadId']}/"))
    except NotFound:
        found = None  # type: ignore[assignment]
    if found is None or (found.metadata["bucket"], found.metadata["key"]) != (call.bucket, call.key):
        raise AwsError(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
            404,
        )
    return found


async def _parts(call: Request) -> list[Object]:
    parts: list[Object] = []
    cursor = first = f"{call.args['UploadId']}/"
    while cursor:
        found: Listing = await call.do(a.ListObjects(namespace=call.namespace, name=BUCKET, prefix=first, cursor=cursor))
        parts += found.items
        cursor = found.cursor
    return parts


async def _drop(call: Request, keys: list[str]) -> None:
    """The upload goes last: until then its parts can be found."""
    keys = [*keys, f"{call.args['UploadId']}/"]
    for at in range(0, len(keys), 1000):
        await call.do(a.DeleteObjects(namespace=call.namespace, name=BUCKET, keys=tuple(keys[at : at + 1000])))


async def _nothing() -> AsyncIterator[bytes]:
    for piece in list[bytes]():
        yield piece
