"""Operations on single objects."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote

from .... import actions as a
from ....errors import BadInput
from ....model.bucket import Download, Object
from ...hook import Reply
from ..faults import AwsError
from . import notifications
from .body import members
from .operation import body_of
from .request import Request

# What is kept with an object and given back with it, by the names of the model.
KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires", "WebsiteRedirectLocation")
_USER = "Metadata."
_SUM = "Checksum"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


async def put(call: Request) -> Reply:
    args = call.args
    expect = "" if args.get("IfNoneMatch") == "*" else args.get("IfMatch")
    pieces = call.upload.pieces()
    made: Object = await call.do(
        a.PutObject(
            namespace=call.namespace,
            name=call.bucket,
            key=call.key,
            body=pieces,
            content_type=args.get("ContentType", "binary/octet-stream"),
            metadata=described(call),
            md5=_md5(args.get("ContentMD5", "")),
            expect=expect and expect.strip('"'),
        )
    )
    await notifications.created(call, made)
    return call.reply({"ETag": f'"{made.etag}"'} | members(call.upload.checksums))


async def head(call: Request) -> Reply:
    found: Object = await call.do(a.HeadObject(namespace=call.namespace, name=call.bucket, key=call.key))
    _conditions(call, found)
    start, length = _range(call, found)
    return _object(call, found, start, length)


async def get(call: Request) -> Reply:
    args, start, length = call.args, 0, -1
    if any(name in args for name in ("Range", "IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")):
        known: Object = await call.do(a.HeadObject(namespace=call.namespace, name=call.bucket, key=call.key))
        _conditions(call, known)
        start, length = _range(call, known)
    found: Download = await call.do(
        a.GetObject(namespace=call.namespace, name=call.bucket, key=call.key, start=start, length=length)
    )
    reply = _object(call, found.object, found.start, found.length)
    reply.pieces = found.pieces
    return reply


async def delete(call: Request) -> Reply:
    await call.do(a.DeleteObjects(namespace=call.namespace, name=call.bucket, keys=(call.key,)))
    await notifications.removed(call, call.key)
    return call.reply({}, 204)


async def delete_many(call: Request) -> Reply:
    asked = body_of(call.operation, await call.upload.document()).get("Delete") or {}
    keys = [each.get("Key", "") for each in asked.get("Objects") or []]
    if not 0 < len(keys) <= 1000:
        raise AwsError(
            "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
        )
    await call.do(a.DeleteObjects(namespace=call.namespace, name=call.bucket, keys=tuple(keys)))
    await notifications.removed(call, *keys)
    return call.reply({} if asked.get("Quiet") else {"Deleted": [{"Key": key} for key in keys]})


async def copy(call: Request) -> Reply:
    args = call.args
    bucket, key = source(args["CopySource"])
    found: Object = await call.do(a.HeadObject(namespace=call.namespace, name=bucket, key=key))
    if args.get("CopySourceIfMatch", found.etag).strip('"') != found.etag or (
        args.get("CopySourceIfNoneMatch", "").strip('"') == found.etag
    ):
        raise AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
    replaced = args.get("MetadataDirective") == "REPLACE"
    if (bucket, key) == (call.bucket, call.key) and not replaced:
        raise AwsError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
            "metadata, storage class, website redirect location or encryption attributes.",
            400,
        )
    kind = args.get("ContentType", "binary/octet-stream") if replaced else found.content_type
    made: Object = await call.do(
        a.ComposeObject(
            namespace=call.namespace,
            name=call.bucket,
            key=call.key,
            sources=((bucket, key),),
            content_type=kind,
            metadata=described(call) if replaced else found.metadata,
        )
    )
    await notifications.created(call, made)
    return call.reply({"CopyObjectResult": {"ETag": f'"{made.etag}"', "LastModified": made.modified}})


def source(text: str) -> tuple[str, str]:
    """Bucket and key of an `x-amz-copy-source`. Raises AwsError."""
    bucket, _, key = unquote(text.partition("?versionId=")[0]).removeprefix("/").partition("/")
    if not bucket or not key:
        raise AwsError("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", 400)
    return bucket, key


def described(call: Request) -> dict[str, str]:
    """What a request wants to be kept with the object. Checksums of a body that is still to come are those it announces now."""
    args = call.args
    kept = {name: str(args[name]) for name in KEPT if name in args}
    kept |= {_USER + name: value for name, value in (args.get("Metadata") or {}).items()}
    return kept | members(call.upload.checksums)


def _object(call: Request, found: Object, start: int, length: int) -> Reply:
    args, kept = call.args, found.metadata
    whole = length == found.size
    result: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": found.modified,
        "ContentLength": length,
        "ETag": f'"{found.etag}"',
        "ContentType": found.content_type,
        "Metadata": {name.removeprefix(_USER): value for name, value in kept.items() if name.startswith(_USER)},
    }
    result |= {name: kept[name] for name in KEPT if name in kept and name != "Expires"}
    if "Expires" in kept:
        result["Expires"] = float(kept["Expires"])
    if args.get("ChecksumMode") == "ENABLED" and whole:
        result |= {name: value for name, value in kept.items() if name.startswith(_SUM)}
    for name, value in args.items():
        if name.startswith("Response"):  # a presigned request may say how the answer is to be told
            result[name.removeprefix("Response")] = value
    if not whole:
        result["ContentRange"] = f"bytes {start}-{start + length - 1}/{found.size}"
    return call.reply(result, 200 if whole else 206)


def _conditions(call: Request, found: Object) -> None:
    args = call.args
    since, until = args.get("IfModifiedSince"), args.get("IfUnmodifiedSince")
    if _matches(args.get("IfMatch"), found) is False or (
        until is not None and "IfMatch" not in args and found.modified > until + 1
    ):
        raise AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
    if _matches(args.get("IfNoneMatch"), found) or (
        since is not None and "IfNoneMatch" not in args and int(found.modified) <= since
    ):
        raise AwsError("NotModified", "Not Modified", 304)


def _matches(tags: str | None, found: Object) -> bool | None:
    return None if tags is None else tags.strip() == "*" or found.etag in {tag.strip(' "') for tag in tags.split(",")}


def _range(call: Request, found: Object) -> tuple[int, int]:
    """First byte and number of bytes. A range that cannot be read is none (RFC 9110 section 14.2)."""
    asked = _RANGE.match(call.args.get("Range", ""))
    if asked is None or asked[0] == "bytes=-":
        return 0, found.size
    first, last = asked.groups()
    if not first:
        length = min(int(last), found.size)
        start = found.size - length
    else:
        start = int(first)
        length = min(int(last) + 1 if last else found.size, found.size) - start
    if length <= 0:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", 416)
    return start, length


def _md5(text: str) -> str:
    if not text:
        return ""
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400) from None


async def read(do: Any, namespace: str, bucket: str, key: str, limit: int) -> bytes:
    """A whole object of bounded size. Raises NotFound, BadInput."""
    found: Download = await do(a.GetObject(namespace=namespace, name=bucket, key=key))
    if found.length > limit:
        raise BadInput(f"the object has more than {limit} bytes")
    return b"".join([piece async for piece in found.pieces])
