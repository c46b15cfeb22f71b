"""What a dialect is: a table of routes that translate a foreign wire protocol to actions and back, and a profile.

A dialect has no storage, no loop, no background task. Its functions are plain and synchronous, so that its calls take the
gateway's fast lane like native ones:

    decode(head, params, body) -> action          wire -> core; raises errors.BadInput and its kin
    encode(head, action, outcome) -> Reply        core -> wire
    fault(head, error) -> Reply                   any DayflyError -> the wire code and body clients of this system expect

A route with `fast=True` decodes to `actions.Invoke` (or to another action whose rate matters: it is performed without a detour);
its `encode` gets a `model.call.Result`. When `result.streaming` is set,
only status and headers of the Reply are used and the function's body follows in pieces, each as the route's `frame` makes it:

    frame(data, end, error) -> bytes              `end` with the last one; then `error` is what broke the answer off, if anything did

A failure that takes actions to answer (what the call printed until then, say) is the business of the route's `explain`:

    explain(head, invoke, error, do) -> Awaitable[Reply] | None       None: `fault` answers it. `do` acts for the platform itself

(`whole` says of which answers `encode` wants the body first, because their head depends on it.)

With `streams=True` the request's body is not collected: `decode` gets b"" as soon as the head is there, and the body goes to the
function as it arrives.

All other routes take the wide lane. Where one action does it, it goes to `Platform.perform` and `encode` gets its outcome. Where it
takes several, the route has a `handle` instead:

    await handle(head, params, body, do) -> Reply     `await do(action)` performs one for the caller, and raises what it raises

Who sends a request is known before it is decoded and stands in `head.identity`. Systems that sign requests or use Basic
authentication bring an `authenticate`; it is asked where the server demands a login.

A dialect that has to look something up while it decodes is made by a function of a `View`. It is mounted on a listener of its own,
on host names, or under a path prefix (see `Mount`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from ..actions import Invoke
from ..errors import DayflyError
from ..model.call import Result
from ..model.delivery import Shape
from ..model.document import Document
from ..model.function import Function, Revision
from ..model.identity import Identity
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
    identity: Identity | None = None  # who sends it; set before it is decoded
    kept: Any = None  # whatever `decode` would know again: a connection that sends the same head again brings the same Head

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
    lines: str = ""  # further headers of a fast route's answer, made ready: each a line that ends with CRLF
    pieces: AsyncIterator[bytes] | None = None  # on the wide lane, in the place of `body`: read to the end, or closed
    length: int = 0  # bytes of `pieces`, or of what a GET would bring where this answers a HEAD


class View(Protocol):
    """What a dialect may look at without waiting: this cell's own copy. Never raises; None for what is not there."""

    def function(self, namespace: str, name: str) -> Function | None: ...

    def functions(self, namespace: str) -> list[Function]: ...

    def revision(self, namespace: str, name: str, qualifier: str = "") -> Revision | None:
        """By number, alias or tag; empty: one that the traffic split picks."""
        ...

    def document(self, namespace: str, kind: str, name: str) -> Document | None: ...

    def documents(self, namespace: str, kind: str, prefix: str = "") -> list[Document]: ...


class Credentials(Protocol):
    """Who holds what, for a dialect's `authenticate`."""

    def identify(self, token: bytes) -> Identity | None:
        """Whose token this is."""
        ...

    def secret(self, access_key: str, session: str = "") -> tuple[bytes, Identity] | None:
        """The secret that a holder of this access key signs with (SigV4). `session`: the security token shown with it."""
        ...


Packages = Callable[[Document], Iterable[str]]  # digests
Params = Mapping[str, str]
Do = Callable[[Any], Awaitable[Any]]
Handle = Callable[[Head, Params, bytes, Do], Awaitable[Reply]]
Receive = Callable[[Head, Params, AsyncIterator[bytes], Do], Awaitable[Reply]]
# Body is None while it is still under way (a streamed upload). None: the gate decides, as for native requests. Raises
# errors.Unauthenticated or errors.Forbidden.
Authenticate = Callable[[Head, bytes | None, Credentials], Identity | None]
Decode = Callable[[Head, Params, bytes], Any]
Encode = Callable[[Head, Any, Any], Reply]
Fault = Callable[[Head, DayflyError], Reply]
Whole = Callable[[Result], bool]
Explain = Callable[[Head, Invoke, DayflyError, Do], Awaitable[Reply] | None]
Frame = Callable[[bytes, bool, DayflyError | None], bytes]


class Route(Struct, frozen=True, kw_only=True):
    """`path` holds {name} for one segment and, at its end, {name...} for the rest (may be empty).

    Either `decode` and `encode`, or `handle`, or `receive`, which gets the body as it comes, whatever its size.
    """

    method: str  # "*" for any
    path: str
    decode: Decode | None = None
    encode: Encode | None = None
    handle: Handle | None = None
    receive: Receive | None = None
    frame: Frame | None = None  # of a streamed answer; None: as they come, and one that fails is broken off
    whole: Whole | None = None  # whether `encode` needs the whole body of this answer, which comes in pieces
    explain: Explain | None = None  # of a fast route
    fast: bool = False
    streams: bool = False
    own: bool = False  # on the dialect's own listener only, where nobody else wants that path
    body_bytes: int = 0  # that a body may have on the wide lane; 0: what the listener allows

    def __post_init__(self) -> None:
        translates = self.decode is not None and self.encode is not None
        ways = translates + (self.handle is not None) + (self.receive is not None)
        if ways != 1 or (self.fast and not translates):
            raise ValueError(
                f"{self.method} {self.path}: a route has decode and encode, or handle, or receive; a fast one translates"
            )


class Parts(Protocol):
    """How the core calls functions of a dialect by itself, as parts of a workflow."""

    def address(self, invoke: Invoke) -> None:
        """Complete a call in place: a name that leads elsewhere, parameters that are bound to it. Raises NotFound or Forbidden."""
        ...

    def outcome(self, invoke: Invoke, came: Result | DayflyError) -> tuple[bool, bytes]:
        """Whether the code ran to its end, and the answer as JSON: also of a call that failed."""
        ...


class Dialect(Struct, frozen=True, kw_only=True):
    name: str
    profile: Profile
    routes: tuple[Route, ...]
    fault: Fault
    authenticate: Authenticate | None = None
    parts: Parts | None = None  # how its functions are called as parts of a workflow, if not by name and body alone
    packages: Mapping[str, Packages] = {}  # by kinds of documents: those that such a document needs, or its code is thrown away
    shapes: Mapping[str, Shape] = {}  # how events become the input of its functions, by names that destinations give


class Mount(Struct, frozen=True, kw_only=True):
    """Where a dialect answers. Empty `listener` means the main one; `hosts` may begin with `*.`."""

    dialect: Dialect
    prefix: str = ""
    hosts: tuple[str, ...] = ()
    listener: str = ""
