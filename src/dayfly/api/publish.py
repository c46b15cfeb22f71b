"""Publishing events: the HTTP binding of CloudEvents, in all its modes, as routes of the native dialect.

    POST /events/{namespace}            to the broker `default`
    POST /events/{namespace}/{broker}

The answer is 202 when the events are on disk; its body says of each which deliveries were scheduled, or that it was there already.
"""

from __future__ import annotations

import msgspec

from ..actions import Published, PublishEvents
from ..dialects.hook import Head, Params, Reply, Route
from ..events.cloudevents import from_http
from ..model.trigger import DEFAULT_BROKER


def decode(head: Head, params: Params, body: bytes) -> PublishEvents:
    """Raises BadInput or UnsupportedMedia for what is no event."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    return PublishEvents(
        namespace=params["namespace"],
        broker=params.get("broker", DEFAULT_BROKER),
        events=tuple(from_http(headers, body)),
        cause=head.get(b"dayfly-invocation-id")[:64],
    )


def encode(_: Head, __: PublishEvents, outcome: tuple[Published, ...]) -> Reply:
    return Reply(202, [("content-type", "application/json")], msgspec.json.encode(outcome))


ROUTES = (
    Route(method="POST", path="/events/{namespace}", decode=decode, encode=encode, fast=True),
    Route(method="POST", path="/events/{namespace}/{broker}", decode=decode, encode=encode, fast=True),
)
