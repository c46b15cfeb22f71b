"""When to start an instance for a call whose moment is known: early enough to be ready, late enough to idle little. Pure."""

from __future__ import annotations

from typing import Final

LEAST: Final = 0.5  # seconds
MOST: Final = 30.0
MARGIN: Final = 2.0  # starts take longer on a busy machine


def lead_for(cold_cost_s: float) -> float:
    """Seconds ahead of the call; `cold_cost_s`: what a start of this function has taken, 0 if it has not been seen."""
    return min(MOST, LEAST + MARGIN * cold_cost_s)
