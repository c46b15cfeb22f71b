"""The code of functions and layers, to be fetched: an address that is good for ten minutes, for whoever has it.

AWS gives presigned addresses of a bucket of its own. Here they are paths of the same endpoint, signed with a key of this process: a restart
ends them, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any
from urllib.parse import parse_qs

from ...actions import ReadArchive
from ...model.identity import Identity, Role
from ...model.package import Archive
from ..hook import Do, Head, Params, Reply
from .call import Call
from .faults import AwsError
from .scope import now

PATH = "/_aws/code/{namespace}/{digest}/{sha256}"
GOOD_FOR = 600  # seconds
_KEY = secrets.token_bytes(32)


def location(call: Call, kept: dict[str, Any], digest: str) -> str:
    """Where the code is: `kept` has the hash of the archive as answers have it, `digest` is that of its content."""
    sha256 = base64.b64decode(kept["CodeSha256"]).hex()
    path = PATH.format(namespace=call.scope.namespace, digest=digest, sha256=sha256)
    expires = str(int(now()) + GOOD_FOR)
    return f"{call.head.scheme}://{call.head.host}{path}?expires={expires}&signature={_signature(path, expires)}"


def authenticate(head: Head) -> Identity | None:
    """Whoever has such an address may read in its namespace; None for other paths. Raises AwsError."""
    if not head.path.startswith(PATH.partition("{")[0]):
        return None
    _check(head)
    return Identity(name="code", grants={head.path.split("/")[3]: (Role.VIEWER,)})


async def fetch(head: Head, params: Params, body: bytes, do: Do) -> Reply:
    _check(head)
    kept: Archive = await do(ReadArchive(**params))
    return Reply(200, [("content-type", "application/zip")], pieces=kept.pieces, length=kept.size)


def _check(head: Head) -> None:
    query = {name: values[0] for name, values in parse_qs(head.query).items()}
    expires, signature = query.get("expires", ""), query.get("signature", "")
    if not hmac.compare_digest(signature.encode(), _signature(head.path, expires).encode()):
        raise AwsError("AccessDenied", "Access Denied", 403)
    if int(expires) < now():
        raise AwsError("AccessDenied", "Request has expired", 403)


def _signature(path: str, expires: str) -> str:
    return hmac.new(_KEY, f"{path}?{expires}".encode(), hashlib.sha256).hexdigest()
