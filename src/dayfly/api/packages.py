"""Packages: code archives, addressed by their content."""

from ..actions import PutPackage
from ..errors import BadPackage, NotFound
from ..model.package import Package
from .endpoint import NAMESPACE, Endpoint

ENDPOINTS = (
    Endpoint(
        method="POST",
        path=NAMESPACE + "/packages",
        summary="Upload a zip archive or one source file; the same bytes are stored once",
        action=PutPackage,
        query=("filename",),
        upload="data",
        gives=Package,
        created=lambda package: package.created,
        raises=(NotFound, BadPackage),
    ),
)
