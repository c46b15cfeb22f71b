"""Operations on buckets, and the lists of what is in them."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote

from .... import actions as a
from ....errors import Conflict, NotFound
from ....model.bucket import Listing, Object, valid_bucket
from ...hook import Reply
from ..faults import AwsError
from ..scope import REGION
from . import notifications, tagging, xml
from .request import Request


async def create(call: Request) -> Reply:
    if call.bucket.startswith(".") or not valid_bucket(call.bucket):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400)
    await call.upload.document()
    await call.prepare()
    try:
        await call.do(a.PutBucket(namespace=call.namespace, name=call.bucket, new=call.scope.region != REGION))
    except Conflict:
        raise AwsError(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
            409,
        ) from None
    return call.reply({"Location": f"/{call.bucket}"})


async def head(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    return call.reply({"BucketRegion": call.scope.region})


async def delete(call: Request) -> Reply:
    try:
        await call.do(a.DeleteBucket(namespace=call.namespace, name=call.bucket))
    except Conflict:
        raise AwsError("BucketNotEmpty", "The bucket you tried to delete is not empty", 409) from None
    await notifications.forget(call)
    await tagging.forget(call)
    return call.reply({}, 204)


async def list_all(call: Request) -> Reply:
    try:
        found = await call.do(a.ListBuckets(namespace=call.namespace, prefix=call.args.get("Prefix", "")))
        items = found.items
    except NotFound:  # of a region where nothing was made yet
        items = ()
    buckets = [{"Name": bucket.name, "CreationDate": bucket.created} for bucket in items]
    return call.reply({"Buckets": buckets, "Owner": {"ID": call.scope.account}})


async def location(call: Request) -> Reply:
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    region = "" if call.scope.region == REGION else call.scope.region
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="{xml.NAMESPACE}">{region}</LocationConstraint>'
    return Reply(200, [("content-type", "application/xml")], text.encode())


async def versioning(call: Request) -> Reply:
    """Objects have one version."""
    await call.do(a.GetBucket(namespace=call.namespace, name=call.bucket))
    return call.reply({})


async def list_objects(call: Request) -> Reply:
    args = call.args
    marker = args.get("Marker", "")
    found = await _list(call, marker)
    result = _listed(call, found) | {"Marker": _name(call, marker)}
    if found.cursor and args.get("Delimiter"):
        result["NextMarker"] = _name(call, found.cursor)
    return call.reply(result)


async def list_objects_v2(call: Request) -> Reply:
    args = call.args
    token = args.get("ContinuationToken")
    try:
        after = base64.urlsafe_b64decode(token).decode() if token else args.get("StartAfter", "")
    except (binascii.Error, ValueError):
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect", 400) from None
    found = await _list(call, after)
    result = _listed(call, found) | {"KeyCount": len(found.items) + len(found.folders), "ContinuationToken": token}
    if args.get("StartAfter"):
        result["StartAfter"] = _name(call, args["StartAfter"])
    if found.cursor:
        result["NextContinuationToken"] = base64.urlsafe_b64encode(found.cursor.encode()).decode()
    return call.reply(result)


async def list_versions(call: Request) -> Reply:
    """Objects have one version, as in a bucket at AWS that keeps no others."""
    marker = call.args.get("KeyMarker", "")
    found = await _list(call, marker)
    result = _listed(call, found) | {"KeyMarker": _name(call, marker), "VersionIdMarker": ""}
    contents = result.pop("Contents") or ()
    result["Versions"] = [entry | {"VersionId": "null", "IsLatest": True} for entry in contents] or None
    if found.cursor:
        result |= {"NextKeyMarker": _name(call, found.cursor), "NextVersionIdMarker": "null"}
    return call.reply(result)


async def _list(call: Request, after: str) -> Listing:
    args = call.args
    if not 0 <= args.get("MaxKeys", 1000) <= 2**31 - 1:
        raise AwsError("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647", 400)
    listing: Listing = await call.do(
        a.ListObjects(
            namespace=call.namespace,
            name=call.bucket,
            prefix=args.get("Prefix", ""),
            delimiter=args.get("Delimiter", ""),
            cursor=after,
            limit=min(args.get("MaxKeys", 1000), 1000),
        )
    )
    return listing


def _listed(call: Request, found: Listing) -> dict[str, Any]:
    args = call.args
    return {
        "Name": call.bucket,
        "Prefix": _name(call, args.get("Prefix", "")),
        "Delimiter": args.get("Delimiter") and _name(call, args["Delimiter"]),
        "MaxKeys": args.get("MaxKeys", 1000),
        "EncodingType": args.get("EncodingType"),
        "IsTruncated": bool(found.cursor),
        "Contents": [_entry(call, item) for item in found.items] or None,
        "CommonPrefixes": [{"Prefix": _name(call, folder)} for folder in found.folders] or None,
    }


def _entry(call: Request, item: Object) -> dict[str, Any]:
    return {
        "Key": _name(call, item.key),
        "LastModified": item.modified,
        "ETag": f'"{item.etag}"',
        "Size": item.size,
        "StorageClass": "STANDARD",
    }


def _name(call: Request, key: str) -> str:
    """A key may hold what XML cannot; clients ask for it encoded."""
    return quote(key, safe="/-_.~") if call.args.get("EncodingType") == "url" else key
