"""One request under way, and the answers and errors of S3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

from msgspec import Struct

from .... import errors as e
from ....actions import PutNamespace
from ....model.ids import new_id
from ....model.names import DEFAULT_NAMESPACE
from ...hook import Do, Head, Reply, View
from ..faults import AwsError
from ..scope import Scope
from ..service import Operation
from . import xml
from .body import Upload

# What the model's shapes are called as documents, where that differs.
_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "DeleteObjects": "DeleteResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketTagging": "Tagging",
}
_CODES: tuple[tuple[type[e.DayflyError], str, str, int], ...] = (
    (e.TooLarge, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", 400),
    (e.NameInvalid, "InvalidBucketName", "The specified bucket is not valid.", 400),
    (e.BadInput, "InvalidArgument", "", 400),
    (e.Unauthenticated, "AccessDenied", "Access Denied", 403),
    (e.Forbidden, "AccessDenied", "Access Denied", 403),
    (e.Throttled, "SlowDown", "Please reduce your request rate.", 503),
    (e.Unavailable, "ServiceUnavailable", "", 503),
)
# Those of the signature, which other services call by other names.
_SIGNATURE = {
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "UnrecognizedClientException": "InvalidAccessKeyId",
    "MissingAuthenticationTokenException": "AccessDenied",
    "AccessDeniedException": "AccessDenied",
    "IncompleteSignatureException": "AuthorizationHeaderMalformed",
}


class Request(Struct, frozen=True):
    head: Head
    scope: Scope
    operation: Operation
    bucket: str
    key: str
    args: dict[str, Any]
    upload: Upload
    do: Do
    view: View

    @property
    def namespace(self) -> str:
        return self.scope.namespace

    async def prepare(self) -> None:
        """Have the namespace, before a bucket is made there."""
        if self.namespace != DEFAULT_NAMESPACE:
            await self.do(PutNamespace(namespace=self.namespace))

    def reply(self, result: dict[str, Any], status: int = 0, pieces: AsyncIterator[bytes] | None = None) -> Reply:
        """The answer by the model: members in headers, others as a document, or the object's bytes."""
        shape = self.operation.output
        headers = [("x-amz-request-id", new_id().upper())]
        body, length = b"", 0
        documented = shape is not None and "payload" not in shape.serialization
        for name, member in shape.members.items() if shape is not None else ():
            value = result.get(name)
            place = member.serialization.get("location")
            if value is None or (name == "ContentLength" and place):
                continue
            if place == "header":
                headers.append((member.serialization["name"], _text(member, value)))
            elif place == "headers":
                headers += [
                    (member.serialization["name"] + key, each.encode().decode("latin-1")) for key, each in value.items()
                ]
            elif name == shape.serialization.get("payload") and member.type_name == "structure":
                body = xml.encode(member.serialization.get("name", member.name), member, value)
        if documented and any("location" not in member.serialization for member in shape.members.values()):
            body = xml.encode(_ROOTS.get(self.operation.name, f"{self.operation.name}Result"), shape, result)
        if body:
            headers.append(("content-type", "application/xml"))
        else:
            length = result.get("ContentLength", 0)
        return Reply(status or self.operation.status, headers, body, pieces=pieces, length=length)


def _text(shape: Any, value: Any) -> str:
    if shape.type_name == "timestamp":
        return formatdate(value, usegmt=True)
    return str(value).lower() if shape.type_name == "boolean" else str(value)


def worded(error: e.DayflyError) -> AwsError:
    """Any failure in S3's words."""
    if isinstance(error, AwsError):
        code = _SIGNATURE.get(error.code, error.code)
        return AwsError(code, error.message, error.status_code or 400)
    if isinstance(error, e.NotFound):
        if "key" in error.members:
            return AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    if isinstance(error, e.Conflict):
        if "expect" in error.members:
            return AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
        return AwsError("OperationAborted", error.detail, 409)
    for kind, code, message, status in _CODES:
        if isinstance(error, kind):
            return AwsError(code, message or error.detail, status)
    return AwsError("InternalError", "We encountered an internal error. Please try again.", 500)


def failure(head: Head, error: e.DayflyError) -> Reply:
    """An error as S3 writes it. Not after HEAD, whose answers have no body."""
    known = worded(error)
    identifier = new_id().upper()
    headers = [("content-type", "application/xml"), ("x-amz-request-id", identifier)]
    if known.status_code == 304 or head.method == "HEAD":
        return Reply(known.status_code, headers[1:])
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{xml.text(known.code)}</Code><Message>{xml.text(known.message)}</Message>"
        f"<Resource>{xml.text(head.path)}</Resource><RequestId>{identifier}</RequestId></Error>"
    )
    return Reply(known.status_code, headers, text.encode())
