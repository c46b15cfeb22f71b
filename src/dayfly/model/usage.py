"""What was used, and what it costs."""

from __future__ import annotations

from msgspec import Struct


class PriceSheet(Struct, frozen=True, kw_only=True):
    """Prices in one currency. The default is the published on-demand price of AWS Lambda on x86."""

    currency: str = "USD"
    per_million_requests: float = 0.20
    per_gb_second: float = 0.0000166667


class Usage(Struct, frozen=True, kw_only=True):
    """Sums over invocations. GB-seconds: configured memory (MiB / 1024) x billed seconds."""

    namespace: str
    function: str = ""  # empty: all of the namespace
    since: float = 0.0
    until: float = 0.0
    requests: int = 0
    gb_seconds: float = 0.0
    cpu_ms: float = 0.0
    billed_ms: int = 0
    errors: int = 0
    cold_starts: int = 0
    cost_requests: float = 0.0
    cost_compute: float = 0.0
    currency: str = "USD"
