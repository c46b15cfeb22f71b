"""The settings of a server, and what follows from them."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from .gateway.limits import EdgeLimits
from .model.function import Keep as Keep
from .model.usage import PriceSheet
from .observe.inputs import KEEP_BYTES, LONGEST, RATE
from .pool.pool import Limits


class Settings(Struct, frozen=True, kw_only=True):
    """How one server runs. `data` holds everything it keeps; two servers share nothing but the machine."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    isolation: str = "namespace"  # or a program that makes sandboxes; or "process": none at all, only for your own code
    multi_tenant: bool = False  # for tenants who do not trust each other: everybody logs in, and nothing that protects is off
    without: tuple[str, ...] = ()  # but for these protections
    ready_fd: int | None = None  # a descriptor that gets b"1" when the server listens
    token: str = ""  # given from outside; else the one in DATA/token, where one is required
    open_networks: tuple[str, ...] = ()  # private networks (IPv4) that functions may reach
    tls_cert: Path | None = None  # with the key: TLS on all listeners
    tls_key: Path | None = None
    tls_self_signed: bool = False  # the server makes both for itself
    oidc: Path | None = None  # file that describes an issuer of OpenID Connect whose tokens let in
    hosts: tuple[str, ...] = ()  # further names under which the server may be addressed
    dialects: tuple[str, ...] = ()  # names of those in `dialects.mounts.BUILT_IN` that answer
    listeners: dict[str, int] = {}  # ports of the listeners that dialects are mounted on, by name; 0: a free one
    spare_listeners: dict[str, int] = {}  # the same, but the server does without where the port is taken
    dev: bool = False  # a development server: time can be put forward
    keep_inputs: Keep = Keep.ALL  # of which synchronous calls, for replays
    keep_inputs_mb: int = KEEP_BYTES >> 20  # about
    keep_inputs_longest: int = LONGEST  # bytes of one
    keep_inputs_rate: int = RATE  # bytes a second
    allow_targets: tuple[str, ...] = ()  # private networks that triggers may post to
    shutdown_grace_s: float = 10.0  # calls under way may end
    orphan_grace_s: float = 30.0  # instances outlive a killed server for so long
    edge: EdgeLimits = EdgeLimits()
    limits: Limits = Limits()
    prices: PriceSheet = PriceSheet()

    def bounds(self) -> Limits:
        """The pool's limits; without a bound on memory, four fifths of the machine's."""
        if self.limits.memory_mb:
            return self.limits
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)
        return replace(self.limits, memory_mb=machine * 4 // 5)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_self_signed or self.tls_cert is not None else "http"

    @property
    def needs_token(self) -> bool:
        """Whether callers must show a token: on every address but loopback, and there too if tenants do not trust each other."""
        return bool(self.token) or self.multi_tenant or not (self.host in ("localhost", "::1") or self.host.startswith("127."))
