"""Identifiers.

An invocation id is a UUID of version 7 (RFC 9562) as 32 lower-case hexadecimal digits: time-ordered, so that records
sort by age; usable as an OpenWhisk activation id as it is, and as a Lambda request id with dashes.
"""

from __future__ import annotations

import os
import time

_last = 0
_random = ""  # the kernel's randomness in hexadecimal, taken by the page: a system call an id would cost more than all the rest
_used = 0


def new_id() -> str:
    """A fresh time-ordered id: 32 lower-case hexadecimal digits, strictly growing within this process."""
    global _last, _random, _used
    # 48 bits of milliseconds, then 12 bits that count 1/4096 ms: strictly growing within the process.
    ticks = (time.time_ns() * 4096) // 1_000_000
    if ticks <= _last:
        ticks = _last + 1
    _last = ticks
    start, _used = _used, _used + 15
    if _used > len(_random):
        _random, start, _used = os.urandom(4096).hex(), 0, 15
    # 7 is the version; 8 stands for the variant and two bits that could be random, too.
    return f"{ticks >> 12:012x}7{ticks & 0xFFF:03x}8{_random[start:_used]}"


def id_time(identifier: str) -> float:
    """Seconds since the epoch at which `new_id` made the identifier."""
    return int(identifier[:12], 16) / 1000.0
