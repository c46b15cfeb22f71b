"""How thorough a run is, and what it says while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct


class Run(Struct, frozen=True):
    """`rounds`: how often each measurement is repeated, in turns; `seconds`: of load each."""

    quick: bool = False
    rounds: int = 3
    seconds: float = 4.0

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, text: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.say(f"{text}: {time.monotonic() - began:.1f} s")
