"""Usage: what was used, and what it costs."""

from ..actions import GetUsage
from ..model.usage import Usage
from .endpoint import NAMESPACE, Endpoint

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/usage",
        summary="Sum up what was used and what it costs by the price sheet",
        action=GetUsage,
        query=("function", "since", "until"),
        gives=Usage,
    ),
)
