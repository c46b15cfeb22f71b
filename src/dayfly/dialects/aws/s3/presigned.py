"""Signature Version 2 in a query: what boto3 makes of `generate_presigned_url` unless it is told otherwise.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import unquote

from ....model.identity import Identity
from ...hook import Credentials, Head
from ..faults import AwsError
from ..scope import now

# Members of the query that are part of the resource, in this order.
_SIGNED: Final = (
    "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy", "requestPayment",
    "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires", "restore", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning",
    "versions", "website",
)  # fmt: skip


def authenticate(head: Head, query: list[tuple[str, str]], credentials: Credentials) -> Identity:
    """Raises AwsError."""
    given = dict(query)
    expires = given.get("Expires", "")
    if not expires.isdecimal() or int(expires[:18]) < now():
        raise AwsError("AccessDenied", "Request has expired", 403)
    known = credentials.secret(given["AWSAccessKeyId"])
    if known is None:
        raise AwsError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403)
    secret, identity = known
    amazon = sorted((name, value) for name, value in head.headers if name.startswith(b"x-amz-"))
    lines = b"".join(b"%b:%b\n" % (name, value.strip()) for name, value in amazon).decode("latin-1")
    signed = [name if not given[name] else f"{name}={given[name]}" for name in _SIGNED if name in given]
    resource = head.path + ("?" + "&".join(signed) if signed else "")
    kinds = f"{head.get(b'content-md5')}\n{head.get(b'content-type')}"
    text = f"{head.method}\n{kinds}\n{expires}\n{lines}{resource}"
    expected = base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha1).digest()).decode()
    if not hmac.compare_digest(expected, unquote(given["Signature"])):
        raise AwsError("SignatureDoesNotMatch", "The request signature we calculated does not match the one you provided.", 403)
    return identity
