"""Behaviour that differs between systems, as data. Stored by name with the function; the core never asks who made it."""

from __future__ import annotations

from msgspec import Struct

from .function import MiB
from .names import NAME_PATTERN

UNBOUNDED = 1 << 62  # the server's own limit counts alone


class Profile(Struct, frozen=True, kw_only=True):
    """Defaults, limits and habits of one dialect."""

    name: str
    timeout_s: float = 60.0  # default
    max_timeout_s: float = 86400.0
    memory_mb: int = 256  # default
    max_memory_mb: int = 65536
    name_pattern: str = NAME_PATTERN
    payload_limit: int = 6 * MiB  # bytes of a body
    async_payload_limit: int = 6 * MiB  # bytes of the body of a call that nobody waits for
    response_limit: int = 6 * MiB  # bytes of a buffered response; streamed ones have none
    async_retries: int = 2  # attempts after the first
    async_delays: tuple[float, ...] = (1.0, 5.0)  # seconds before retry 1, 2, ...; the last repeats
    async_max_age: float = 6 * 3600.0  # seconds
    as_is: bool = False  # code is taken as it comes: not checked, nothing installed for it, not tried before it gets calls
    loads_again: bool = (
        False  # code that was not loaded in time is loaded once more as part of its call, within the call's time
    )
    keep_answers: bool = False  # answers of all calls stay with their records, up to `response_limit`


NATIVE = Profile(name="native", payload_limit=UNBOUNDED, async_payload_limit=UNBOUNDED)
