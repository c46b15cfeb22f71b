"""Functions, their revisions and the traffic between them."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from .names import ALIAS_PATTERN, END, ENV_PATTERN, SECRET_PATTERN
from .network import MAX_RULES, Network

MiB = 1 << 20


class Flavour(enum.StrEnum):
    """What the handler receives and may return under Dayfly's own contract."""

    EVENT = "event"  # handler(event, context): the decoded JSON body
    HTTP = "http"  # handler(request, context): method, path rest, query, headers, raw body


class Isolation(enum.StrEnum):
    """What one call may find of those before it."""

    SHARED = "shared"  # an instance takes one call after the other: modules, globals and /tmp stay
    PER_INVOCATION = "per-invocation"  # an instance takes one call and ends; the next one is started ahead of need


class Keep(enum.StrEnum):
    """Of which calls the input is kept, for replays."""

    ALL = "all"
    FAILED = "failed"
    NONE = "none"


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, weakref=True):
    """Everything about a revision but its code. Immutable; two equal configurations are one revision."""

    runtime: Annotated[str, Meta(max_length=32, description="python3.8 ... python3.13, nodejs, provided or sequence")] = (
        "python3.11"
    )
    handler: Annotated[str, Meta(max_length=256, description="MODULE.FUNCTION; empty for `provided`")] = "handler.handler"
    flavour: Flavour = Flavour.EVENT
    contract: Annotated[str, Meta(max_length=64, description="how user code is called; `dayfly` is our own")] = "dayfly"
    options: Annotated[dict[str, str], Meta(description="what the contract wants to know besides; nothing else reads it")] = {}
    env: dict[Annotated[str, Meta(pattern=ENV_PATTERN)], Annotated[str, Meta(max_length=32768)]] = {}
    secrets: dict[Annotated[str, Meta(pattern=ENV_PATTERN)], Annotated[str, Meta(pattern=SECRET_PATTERN)]] = msgspec.field(
        default_factory=dict
    )  # environment variable -> name of the secret in the namespace
    memory_mb: Annotated[int, Meta(ge=16, le=65536, description="memory limit of one instance, MiB")] = 256
    cpu: Annotated[float, Meta(ge=0, le=256, description="cores an instance may use at most; 0: a fair share")] = 0.0
    timeout_s: Annotated[float, Meta(gt=0, le=86400, description="seconds a call may run")] = 60.0
    init_timeout_s: Annotated[float, Meta(gt=0, le=900, description="seconds the code may take to load")] = 10.0
    freeze_s: Annotated[
        float, Meta(ge=0, le=3600, description="seconds without a call until an instance stands still until the next; 0: never")
    ] = 0.0
    tmp_mb: Annotated[int, Meta(ge=1, le=65536, description="size of the private /tmp, MiB")] = 64
    pids: Annotated[int, Meta(ge=4, le=32768, description="processes and threads of one instance")] = 128
    concurrency: Annotated[int, Meta(ge=1, le=1000, description="calls one instance runs at the same time")] = 1
    isolation: Isolation = Isolation.SHARED
    steps: Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=1000)] = ()  # of runtime `sequence`:
    # NAMESPACE/FUNCTION, called one after the other, each with the answer of the one before
    conductor: Annotated[bool, Meta(description="its answers say which function is called next")] = False
    keep_inputs: Annotated[
        Keep, Meta(description="of which calls the input is kept for replays, where the server keeps it")
    ] = Keep.ALL
    network: Network = Network.EGRESS
    allow: Annotated[
        tuple[Annotated[str, Meta(max_length=300)], ...],
        Meta(
            max_length=MAX_RULES, description="HOST:PORT that network `allow` reaches; HOST a name, *.NAME, address or network"
        ),
    ] = ()
    bandwidth_mbit: Annotated[float, Meta(ge=0, le=100_000, description="megabits a second, each way; 0: no cap")] = 0.0
    min_instances: Annotated[int, Meta(ge=0, le=10000)] = 0
    max_instances: Annotated[int, Meta(ge=1, le=10000)] = 100


class Mount(Struct, frozen=True):
    """A read-only folder of an instance. `source` is relative to the package root, e.g. `code/9f2c...`."""

    source: str
    target: str


class Artifact(Struct, frozen=True, kw_only=True, weakref=True):
    """What a build made of a package: what an instance mounts, and in which form."""

    digest: str  # of the source package, sha256 in hexadecimal
    mounts: tuple[Mount, ...]
    size: int = 0  # bytes on disk, dependencies included


class Revision(Struct, frozen=True, kw_only=True, dict=True):
    """One immutable version of a function: code digest + configuration, numbered from 1."""

    namespace: str
    function: str
    number: int
    config: Config
    artifact: Artifact
    digest: str  # sha256 over code digest and configuration: equal content is the same revision
    created: float  # seconds since the epoch
    profile: str = "native"

    @cached_property
    def key(self) -> str:
        """`namespace/function@number`, unique on the platform."""
        return f"{self.namespace}/{self.function}@{self.number}"


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the traffic. Weights of a split are relative: 1 and 3 send a quarter to the first."""

    revision: Annotated[int, Meta(ge=1)]
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    tag: Annotated[str, Meta(pattern=f"^{END}|{ALIAS_PATTERN}")] = ""  # a tag can be called by name whatever its weight


class Reservation(NamedTuple):
    """The calls that a function may have at the same time. Revisions with minimum instances hold a part of them for themselves."""

    limit: int
    held: Mapping[int, int] = MappingProxyType({})  # calls by the number of the revision

    def allows(self, calls: Mapping[int, int]) -> bool:
        """Whether there may be so many calls, by the number of the revision, at the same time."""
        others = sum(max(0, count - self.held.get(number, 0)) for number, count in calls.items())
        return others <= max(0, self.limit - sum(self.held.values()))


class Callers(enum.StrEnum):
    """Who may call a function."""

    NAMESPACE = "namespace"  # who has a role in the namespace that may call
    LISTED = "listed"  # the identities that are listed, and who may change the function
    PUBLIC = "public"  # everybody, without a key


class InvokePolicy(Struct, frozen=True):
    callers: Callers = Callers.NAMESPACE
    identities: tuple[str, ...] = ()  # ids, where callers are LISTED


class Function(Struct, frozen=True, kw_only=True):
    """A name and what it points to. Changing code or configuration makes a revision, never changes one."""

    namespace: str
    name: str
    latest: int  # number of the newest revision
    traffic: tuple[Target, ...]  # where calls without a qualifier go
    aliases: dict[str, tuple[Target, ...]] = {}
    labels: dict[str, str] = {}
    profile: str = "native"
    invoke_policy: InvokePolicy = InvokePolicy()
    reserved: int | None = None  # calls of all its revisions at the same time, at most; None: no bound but the server's
    created: float = 0.0
    updated: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


_MODULE_FUNCTION = re.compile(r"[A-Za-z_][\w\-]*([./][A-Za-z_][\w\-]*)*\.[A-Za-z_$][\w$]*\Z")


def valid_handler(handler: str) -> bool:
    """Whether the text has the form MODULE.FUNCTION (a module may be dotted or a path with slashes)."""
    return _MODULE_FUNCTION.match(handler) is not None
