"""The whole public surface of the core as typed actions.

Every face (native API, CLI, console, dialect) only translates to these and back. `Platform.perform` takes one and returns
the outcome named in its docstring, or raises from `dayfly.errors`. An action is data: it can be checked, audited, replayed.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from ..model.call import Status
from ..model.function import Callers, Config, Function, Revision, Target
from .access import *  # noqa: F403 - what its __all__ names
from .base import Action as Action
from .base import Page as Page
from .base import Performers as Performers
from .eventing import *  # noqa: F403 - what its __all__ names
from .invoke import Invoke as Invoke
from .objects import *  # noqa: F403 - what its __all__ names

# --- calls ----------------------------------------------------------------------------------------------------------


class CancelInvocation(Action, frozen=True, kw_only=True):
    """Stop a queued or running call and kill what it started. -> model.call.Invocation or None if it had ended."""

    id: str


class Record(Action, frozen=True, kw_only=True):
    """Write down something that happened without an instance having run, e.g. that a trigger was fired. -> None"""

    id: str  # as model.ids.new_id makes them
    name: str  # stands in the place of the function
    answer: str = ""
    note: str = ""


class GetInvocation(Action, frozen=True, kw_only=True):
    """-> model.call.Invocation"""

    id: str


class GetResult(Action, frozen=True, kw_only=True):
    """The kept answer of an asynchronous call. -> model.call.Result"""

    id: str


class ListInvocations(Action, frozen=True, kw_only=True):
    """Newest first, those under way and those in the queue among them. -> Page of model.call.Invocation"""

    function: str = ""
    status: Status | None = None
    since: float = 0.0  # seconds since the epoch
    until: float = 0.0
    limit: int = 50
    cursor: str = ""


class ReadLogs(Action, frozen=True, kw_only=True):
    """Lines of log, oldest first. -> Page of model.log.LogLine. To follow, ask again with the cursor (or subscribe)."""

    function: str = ""
    invocation: str = ""
    since: float = 0.0
    limit: int = 1000
    cursor: str = ""


class FollowLogs(Action, frozen=True, kw_only=True):
    """Lines as they come, beginning with those since `since`. -> async iterator of model.log.LogLine"""

    function: str = ""
    invocation: str = ""
    since: float = 0.0


# --- functions ------------------------------------------------------------------------------------------------------


class Code(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the code of a revision comes from: exactly one of `package` and `files`."""

    package: str = ""  # sha256 of a package uploaded before
    files: dict[str, str] = field(default_factory=dict)  # path -> text
    layers: tuple[str, ...] = ()  # further packages; instances see them in one folder, /opt, where later ones win


class PutPackage(Action, frozen=True, kw_only=True):
    """Store an archive. Content-addressed: the same bytes are stored once. -> model.package.Package"""

    data: bytes  # a zip, or one source file
    filename: str = "package.zip"
    keep: bool = False  # the archive, too, byte for byte, for as long as its content: ReadArchive gives it back


class ReadPackage(Action, frozen=True, kw_only=True):
    """The code of a revision, as it was handed over. -> dict of path to content (bytes)"""

    name: str
    revision: int = 0  # 0: the newest
    owner: str = (
        ""  # namespace whose members read it because a dialect says that it is shared with them; empty: the function's own
    )


class ReadArchive(Action, frozen=True, kw_only=True):
    """The very archive that a package was uploaded as, if it was kept. -> model.package.Archive, to be read to the end or closed"""

    digest: str  # of the content, as PutPackage answered
    sha256: str  # of the archive, hexadecimal


class PutFunction(Action, frozen=True, kw_only=True):
    """Create a function or give it a new revision, and send all traffic there. -> Deployed

    Identical code and configuration make no new revision.
    """

    name: str
    code: Code
    config: Config = Config()
    labels: dict[str, str] = field(default_factory=dict)
    profile: str = "native"
    publish: bool = True  # False: make the revision but leave the traffic as it is
    trial: bool = True  # False: do not start an instance first; code that does not load shows with the first call


class GetFunction(Action, frozen=True, kw_only=True):
    """-> model.function.Function"""

    name: str


class ListFunctions(Action, frozen=True, kw_only=True):
    """-> Page of model.function.Function, by name"""

    prefix: str = ""
    limit: int = 100
    cursor: str = ""


class DeleteFunction(Action, frozen=True, kw_only=True):
    """Forget a function, its revisions and aliases; calls under way end first. -> None"""

    name: str


class RecycleFunction(Action, frozen=True, kw_only=True):
    """Retire all instances of a function, so that its next call is cold. -> number of instances retired"""

    name: str


class GetRevision(Action, frozen=True, kw_only=True):
    """-> model.function.Revision"""

    name: str
    number: int


class ListRevisions(Action, frozen=True, kw_only=True):
    """Newest first. -> Page of model.function.Revision"""

    name: str


class SetTraffic(Action, frozen=True, kw_only=True):
    """Split the calls of a function over its revisions, at once. -> model.function.Function"""

    name: str
    traffic: tuple[Target, ...]


class ReserveConcurrency(Action, frozen=True, kw_only=True):
    """Bound the calls of a function that run or wait at the same time, whatever their revision. -> model.function.Function

    0 stops it altogether; None takes the bound away. Revisions with minimum instances hold the calls that these take for themselves.
    """

    name: str
    limit: int | None


class Rollback(Action, frozen=True, kw_only=True):
    """Send all calls to an earlier revision: the one before the present one, unless told which. -> Function"""

    name: str
    revision: int = 0


class PutAlias(Action, frozen=True, kw_only=True):
    """-> model.function.Function"""

    name: str
    alias: str
    traffic: tuple[Target, ...]


class DeleteAlias(Action, frozen=True, kw_only=True):
    """-> model.function.Function"""

    name: str
    alias: str


class SetInvokePolicy(Action, frozen=True, kw_only=True):
    """Say who may call a function, from the next call on. -> model.function.Function"""

    name: str
    callers: Callers
    identities: tuple[str, ...] = ()  # ids of keys, of functions as `function:shop/cart`; of Callers.LISTED


# --- namespaces, secrets, usage, instances -----------------------------------------------------------------------------


class PutNamespace(Action, frozen=True, kw_only=True):
    """Create the namespace named by `namespace`; nothing happens if it exists. -> model.package.NamespaceInfo"""


class ListNamespaces(Action, frozen=True, kw_only=True):
    """-> Page of NamespaceInfo"""


class DeleteNamespace(Action, frozen=True, kw_only=True):
    """Only an empty one. -> None"""


class PutSecret(Action, frozen=True, kw_only=True):
    """Store a secret; it reaches functions as environment and is never returned. -> model.package.SecretInfo"""

    name: str
    value: str


class ListSecrets(Action, frozen=True, kw_only=True):
    """Names and dates, never values. -> Page of SecretInfo"""


class DeleteSecret(Action, frozen=True, kw_only=True):
    """-> None"""

    name: str


class GetUsage(Action, frozen=True, kw_only=True):
    """What was used and what it costs by the price sheet. -> model.usage.Usage"""

    function: str = ""
    since: float = 0.0
    until: float = 0.0


class ListInstances(Action, frozen=True, kw_only=True):
    """-> Page of model.instance.InstanceInfo"""

    function: str = ""


# --- what dialects keep --------------------------------------------------------------------------------------------------


class PutDocument(Action, frozen=True, kw_only=True):
    """Make or replace a document. -> model.document.Document

    `expect` is the version that must be there (0: none); else errors.Conflict. None: whatever is there.
    """

    kind: str
    name: str
    body: dict[str, Any]
    expect: int | None = None


class GetDocument(Action, frozen=True, kw_only=True):
    """-> model.document.Document"""

    kind: str
    name: str


class ListDocuments(Action, frozen=True, kw_only=True):
    """-> Page of model.document.Document, by name"""

    kind: str
    prefix: str = ""


class DeleteDocument(Action, frozen=True, kw_only=True):
    """-> None"""

    kind: str
    name: str
    expect: int | None = None


# --- outcomes that are not nouns ---------------------------------------------------------------------------------------


class Deployed(Struct, frozen=True, kw_only=True):
    """What `PutFunction` did."""

    function: Function
    revision: Revision
    created: bool  # False: identical content, the revision existed
    build_ms: float
    build_log: str = ""
