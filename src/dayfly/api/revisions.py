"""Revisions: the immutable versions of a function."""

from ..actions import GetRevision, ListRevisions, Page
from ..model.function import Revision
from .endpoint import FUNCTION, Endpoint

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=FUNCTION + "/revisions",
        summary="List the revisions, newest first",
        action=ListRevisions,
        gives=Page[Revision],
    ),
    Endpoint(
        method="GET",
        path=FUNCTION + "/revisions/{number}",
        summary="Show a revision",
        action=GetRevision,
        gives=Revision,
    ),
)
