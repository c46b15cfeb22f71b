"""What a dialect is: a table of routes that translate a foreign wire protocol to actions and back, and a profile.

A dialect has no storage, no loop, no background task. Its functions are plain and synchronous, so that its calls take the
gateway's fast lane like native ones:

    decode(head, params, body) -> action          wire -> core; raises errors.BadInput and its kin
    encode(head, action, outcome) -> Reply        core -> wire
    fault(head, error) -> Reply                   any DayflyError -> the wire code and body clients of this system expect

A route with `fast=True` decodes to `actions.Invoke`; its `encode` gets a `model.call.Result`. When `result.streaming` is set,
only status and headers of the Reply are used and the function's body follows in pieces. With `streams=True` the request's body is not
collected: `decode` gets b"" as soon as the head is there, and the body goes to the function as it arrives.

All other routes take the wide lane; their action goes to `Platform.perform` and `encode` gets its outcome.

A dialect is mounted on a listener of its own, on host names, or under a path prefix (see `Mount`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from ..errors import DayflyError
from ..model.profile import Profile


class Head(Struct):
    """Head of a request, parsed and within limits. Header names are lower-case bytes, in order, repeated if repeated."""

    method: str
    path: str  # percent-encoding kept; the mount's prefix cut off
    query: str  # raw, without the question mark
    headers: list[tuple[bytes, bytes]]
    host: str = ""
    scheme: str = "http"
    peer: str = ""  # address of the client

    def get(self, name: bytes, default: str = "") -> str:
        """The first header of that (lower-case) name, decoded as latin-1."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return default


class Reply(Struct):
    """Head and body of an answer. The gateway adds content-length or chunking, date and connection itself."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


Params = Mapping[str, str]
Decode = Callable[[Head, Params, bytes], Any]
Encode = Callable[[Head, Any, Any], Reply]
Fault = Callable[[Head, DayflyError], Reply]


class Route(Struct, frozen=True, kw_only=True):
    """`path` holds {name} for one segment and, at its end, {name...} for the rest (may be empty)."""

    method: str  # "*" for any
    path: str
    decode: Decode
    encode: Encode
    fast: bool = False
    streams: bool = False


class Dialect(Struct, frozen=True, kw_only=True):
    name: str
    profile: Profile
    routes: tuple[Route, ...]
    fault: Fault


class Mount(Struct, frozen=True, kw_only=True):
    """Where a dialect answers. Empty `listener` means the main one; `hosts` may begin with `*.`."""

    dialect: Dialect
    prefix: str = ""
    hosts: tuple[str, ...] = ()
    listener: str = ""
