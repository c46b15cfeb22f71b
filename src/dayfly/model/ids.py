"""Identifiers.

An invocation id is a UUID of version 7 (RFC 9562) as 32 lower-case hexadecimal digits: time-ordered, so that records
sort by age; usable as an OpenWhisk activation id as it is, and as a Lambda request id with dashes.
"""

from __future__ import annotations

import os
import time

_last = 0
_random = b""  # the kernel's randomness, taken by the page: a system call an id would cost more than all the rest
_used = 0


def new_id() -> str:
    """A fresh time-ordered id: 32 lower-case hexadecimal digits, strictly growing within this process."""
    global _last, _random, _used
    # 48 bits of milliseconds, then 12 bits that count 1/4096 ms: strictly growing within the process.
    ticks = (time.time_ns() * 4096) // 1_000_000
    if ticks <= _last:
        ticks = _last + 1
    _last = ticks
    if _used >= len(_random):
        _random, _used = os.urandom(4096), 0
    tail = int.from_bytes(_random[_used : _used + 8]) & 0x3FFF_FFFF_FFFF_FFFF
    _used += 8
    return f"{(ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0x2 << 62 | tail:032x}"


def id_time(identifier: str) -> float:
    """Seconds since the epoch at which `new_id` made the identifier."""
    return int(identifier[:12], 16) / 1000.0
