"""The clock of a development server."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ..actions import Advanced, AdvanceTime
from ..errors import Conflict, NotFound
from .endpoint import NAMESPACE, Endpoint


class AdvanceBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How much time passes."""

    seconds: Annotated[float, Meta(ge=0, le=366 * 86400)]


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=NAMESPACE + "/time/advance",
        summary="Let time pass at once (development server only): retries and timers fire in their order",
        action=AdvanceTime,
        body=AdvanceBody,
        gives=Advanced,
        raises=(NotFound, Conflict),
    ),
)
