"""Fuzzing by the clock: hypothesis in rounds with fresh seeds until the time is up. FUZZ_SECONDS says how long for each target.

In the suite it is short: a sign of life. `make fuzz` takes ten minutes for each.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.7"))
ROUND = 300  # examples


def fuzz(inputs: SearchStrategy[T], check: Callable[[T], None]) -> int:
    """Give `check` one input after the other until the time is up; how many there were. What it raises is shrunk and shown."""
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < SECONDS:
        number = random.getrandbits(64)

        @seed(number)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.target, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs)
        def one_round(value: T) -> None:
            nonlocal count
            count += 1
            check(value)

        try:
            one_round()
        except BaseException:
            print(f"\nfound with seed {number} after {count} inputs")
            raise
    print(f"{count} inputs in {time.monotonic() - began:.0f} s", end=" ")
    return count
