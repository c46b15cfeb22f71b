"""Signature Version 4: who signed a request, by header or by query (presigned).

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote

from ...model.identity import Identity
from ..hook import Credentials, Head
from .faults import AwsError
from .s3 import presigned
from .scope import now, presigned_v2

SKEW = 300.0  # seconds that a clock may be wrong
LONGEST = 7 * 86400  # seconds that a presigned request may be good for
_ALGORITHM = "AWS4-HMAC-SHA256"
_HEADER = re.compile(
    rf"{_ALGORITHM}\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SAFE = "-_.~"


def authenticate(head: Head, body: bytes | None, credentials: Credentials) -> Identity | None:
    """The identity that signed; None if the request is not signed in this way. Raises AwsError where a signature is wrong."""
    authorization = head.get(b"authorization")
    if authorization.startswith(_ALGORITHM):
        return _by_header(head, authorization, body, credentials)
    if "X-Amz-Signature=" in head.query:
        return _by_query(head, credentials)
    if presigned_v2(head):
        return presigned.authenticate(head, _query(head.query), credentials)
    if not authorization:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    return None


def _by_header(head: Head, authorization: str, body: bytes | None, credentials: Credentials) -> Identity:
    found = _HEADER.fullmatch(authorization)
    if found is None:
        raise AwsError("IncompleteSignatureException", "The Authorization header is not in the form that AWS expects.", 403)
    moment = head.get(b"x-amz-date")
    _fresh(moment, found["date"], SKEW)
    declared = head.get(b"x-amz-content-sha256")
    actual = declared if body is None and declared else hashlib.sha256(body or b"").hexdigest()
    framed = found["service"] == "s3" and declared.startswith("STREAMING-")
    if declared and not framed and declared not in ("UNSIGNED-PAYLOAD", actual):
        raise _wrong()
    canonical = _canonical(head, _query(head.query), found["headers"], declared or actual, found["service"])
    known = credentials.secret(found["key"], head.get(b"x-amz-security-token"))
    return _verify(known, moment, found["date"], found["region"], found["service"], canonical, found["signature"])


def _by_query(head: Head, credentials: Credentials) -> Identity:
    pairs = _query(head.query)
    given = dict(pairs)
    try:
        key, date, region, service, _ = given["X-Amz-Credential"].split("/")
        moment, expires = given["X-Amz-Date"], int(given["X-Amz-Expires"])
        headers, signature = given["X-Amz-SignedHeaders"], given["X-Amz-Signature"]
    except (KeyError, ValueError):
        raise AwsError("IncompleteSignatureException", "The query is not a whole signature.", 403) from None
    if not 0 < expires <= LONGEST:
        raise AwsError("AccessDeniedException", "X-Amz-Expires must be between 1 and 604800 seconds.", 403)
    _fresh(moment, date, expires)
    rest = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    payload = head.get(b"x-amz-content-sha256") or ("UNSIGNED-PAYLOAD" if service == "s3" else hashlib.sha256(b"").hexdigest())
    canonical = _canonical(head, rest, headers, payload, service)
    known = credentials.secret(key, given.get("X-Amz-Security-Token", ""))
    return _verify(known, moment, date, region, service, canonical, signature)


def _verify(
    known: tuple[bytes, Identity] | None, moment: str, date: str, region: str, service: str, canonical: str, signature: str
) -> Identity:
    if known is None:
        raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
    secret, identity = known
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{_ALGORITHM}\n{moment}\n{date}/{region}/{service}/aws4_request\n{digest}"
    expected = hmac.new(_key(secret, date, region, service), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature):
        raise _wrong()
    return identity


@lru_cache(256)
def _key(secret: bytes, date: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = b"AWS4" + secret
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical(head: Head, query: list[tuple[str, str]], signed: str, payload: str, service: str) -> str:
    names = signed.split(";")
    if "host" not in names:
        raise AwsError("IncompleteSignatureException", "The host header is not signed.", 403)
    fields: dict[str, list[str]] = {}
    for name, value in head.headers:
        fields.setdefault(name.decode("latin-1"), []).append(" ".join(value.decode("latin-1").split()))
    headers = "".join(f"{name}:{','.join(fields.get(name, []))}\n" for name in names)
    pairs = sorted((quote(name, safe=_SAFE), quote(value, safe=_SAFE)) for name, value in query)
    path = head.path if service == "s3" else quote(head.path, safe="/" + _SAFE)  # all but S3 encode once more what came
    return f"{head.method}\n{path}\n{'&'.join(f'{n}={v}' for n, v in pairs)}\n{headers}\n{signed}\n{payload}"


def _query(query: str) -> list[tuple[str, str]]:
    """The pairs of a query. A plus is a plus."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _fresh(moment: str, date: str, good_for: float) -> None:
    try:
        signed = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise AwsError("IncompleteSignatureException", "The request has no X-Amz-Date.", 403) from None
    if not moment.startswith(date) or not signed - SKEW <= now() <= signed + max(good_for, SKEW):
        raise AwsError("InvalidSignatureException", f"Signature expired or not yet current: {moment}", 403)


def _wrong() -> AwsError:
    return AwsError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
        "signing method. Consult the service documentation for details.",
        403,
    )
