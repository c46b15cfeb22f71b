"""What there is to see of events: how many come, how deliveries end, what waits and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..clock import Clock
from .metrics import Metrics

LANES: Final = 500  # of which there are numbers of their own

Lags = Mapping[tuple[str, str], tuple[int, float]]  # (namespace, lane) -> items that wait, when the first was due


class EventMetrics:
    """A lane is what is delivered in turn: f:FUNCTION (asynchronous calls), t:TRIGGER, q:QUEUE, h:HOST."""

    def __init__(self, metrics: Metrics, clock: Clock, *, accepted: Callable[[], float], lags: Callable[[], Lags]) -> None:
        """`accepted`: events since the start; `lags` is what was counted last."""
        self._clock = clock
        self._lags = lags
        self._seen: set[tuple[str, str]] = set()
        labels = ("namespace", "lane")
        self._ended = metrics.counter(
            "dayfly_deliveries_total", "Attempts at a delivery, by what became of it.", (*labels, "outcome"), limit=5 * LANES
        )
        self._waiting = metrics.gauge("dayfly_delivery_lag", "Deliveries that wait, by lane.", labels, limit=LANES)
        self._oldest = metrics.gauge(
            "dayfly_delivery_oldest_seconds", "For how long the first of those that wait has been due.", labels, limit=LANES
        )
        metrics.read(metrics.counter("dayfly_events_total", "Events that were accepted."), accepted)
        metrics.read(metrics.gauge("dayfly_delivery_lanes", "Lanes in which something waits."), self._refresh)

    def ended(self, namespace: str, lane: str, outcome: str) -> None:
        """An attempt is over: done, retried, dead or cancelled."""
        self._ended.of(namespace, lane, outcome).add()

    def _refresh(self) -> float:
        lags = self._lags()
        now = self._clock.now()
        for lane in self._seen - lags.keys():
            self._waiting.of(*lane).set(0)
            self._oldest.of(*lane).set(0)
        for lane, (count, due) in lags.items():
            self._waiting.of(*lane).set(count)
            self._oldest.of(*lane).set(max(0.0, now - due))
        self._seen = set(lags)
        return float(len(lags))
