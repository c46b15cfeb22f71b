"""Instances: the sandboxes there are now."""

from ..actions import ListInstances, Page
from ..model.instance import InstanceInfo
from .endpoint import NAMESPACE, Endpoint

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/instances",
        summary="List the instances",
        action=ListInstances,
        query=("function",),
        gives=Page[InstanceInfo],
    ),
)
