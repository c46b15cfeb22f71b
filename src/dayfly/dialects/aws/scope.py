"""Who is addressed: account and region of a request, the namespace that stands for them, and the names of functions.

Account and region come from the credentials' scope. An access key of twelve digits is an account (as other local implementations have
it); any other stands for ACCOUNT. The default account in the default region is the namespace `default`, so that its functions are those
of `dayfly ls`; every other pair has a namespace of its own, made when something is first put there.
"""

from __future__ import annotations

import functools
import os
import re
import time
import uuid
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from ...model.names import DEFAULT_NAMESPACE
from ..hook import Head
from .faults import AwsError, invalid, missing

ACCOUNT = os.environ.get("DAYFLY_AWS_ACCOUNT", "000000000000")
REGION = os.environ.get("DAYFLY_AWS_REGION", "us-east-1")

_CREDENTIAL = re.compile(r"Credential=([^/,\s]{1,128})/\d{8}/([a-z0-9-]{1,32})/([a-z0-9-]{1,32})/aws4_request")
_FUNCTION = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?=\d{12}:function:))?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]{1,140})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?"
)


class Scope(Struct, frozen=True):
    access_key: str
    account: str
    region: str
    service: str  # lambda, sts, logs ...; empty if the request is not signed

    @property
    def namespace(self) -> str:
        return namespace(self.account, self.region)

    def arn(self, resource: str, service: str = "lambda") -> str:
        return f"arn:{partition(self.region)}:{service}:{self.region}:{self.account}:{resource}"

    def function_arn(self, name: str, qualifier: str = "") -> str:
        return self.arn(f"function:{name}" + (f":{qualifier}" if qualifier else ""))


def partition(region: str) -> str:
    """The part of the world that ARNs of a region begin with."""
    known = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b", "eu-isoe": "aws-iso-e"}
    parts = region.split("-")
    return known.get("-".join(parts[:2]), known.get(parts[0], "aws"))


UNSIGNED = Scope("", ACCOUNT, REGION, "")
OLD = Scope("", ACCOUNT, REGION, "s3")  # of a signature that names no region


def presigned_v2(head: Head) -> bool:
    """Whether the query holds a signature of the kind that S3 alone knows."""
    return "AWSAccessKeyId=" in head.query and "Signature=" in head.query


def scope_of(head: Head) -> Scope:
    """The scope of a signed request; of an unsigned one, the default."""
    if presigned_v2(head):
        return OLD
    header = head.get(b"authorization")
    if not header and "X-Amz-Credential=" in head.query:
        header = head.query.replace("%2F", "/").replace("X-Amz-Credential=", "Credential=")
    scope = _scope(header)
    if head.identity is not None and head.identity.instance:  # a function, whose access key says nothing of its account
        return _of_function(scope, head.identity.name)
    return scope


@functools.lru_cache(4096)
def _scope(header: str) -> Scope:
    found = _CREDENTIAL.search(header)
    if found is None:
        return UNSIGNED
    key, region, service = found.groups()
    return Scope(key, key if re.fullmatch(r"\d{12}", key) else ACCOUNT, region, service)


@functools.lru_cache(4096)
def _of_function(scope: Scope, name: str) -> Scope:
    """`name`: namespace/function."""
    account, dash, _ = name.partition("/")[0].partition("-")
    return replace(scope, account=account) if dash and re.fullmatch(r"\d{12}", account) else scope


@functools.lru_cache(256)
def namespace(account: str, region: str) -> str:
    if account == ACCOUNT:
        return DEFAULT_NAMESPACE if region == REGION else region
    return f"{account}-{region}"


class Name(Struct, frozen=True):
    """A function as a caller names it."""

    name: str
    qualifier: str = ""  # version, alias, $LATEST; empty: none given
    account: str = ""
    region: str = ""


@functools.lru_cache(4096)
def function_name(text: str, qualifier: str = "") -> Name:
    """From a name, a partial or a whole ARN, and the qualifier that was given besides. Raises AwsError."""
    found = _FUNCTION.fullmatch(text)
    if found is None:
        pattern = (
            r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)"
            r"(:(\$LATEST|[a-zA-Z0-9-_]+))?"
        )
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}",
            400,
        )
    own = found["qualifier"] or ""
    if own and qualifier and own != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return Name(found["name"], own or qualifier, found["account"] or "", found["region"] or "")


def place(scope: Scope, name: Name) -> Scope:
    """Where the named function is: an ARN may name another account, but no other region."""
    if name.region and name.region != scope.region:
        raise missing(f"Functions from '{name.region}' are not reachable in this region ('{scope.region}')")
    if name.account and name.account != scope.account:
        return Scope(scope.access_key, name.account, scope.region, scope.service)
    return scope


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def stamp(seconds: float) -> str:
    """As Lambda writes dates: 2024-03-27T09:14:35.123+0000."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def new_uuid() -> str:
    return str(uuid.uuid4())
