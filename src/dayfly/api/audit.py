"""The audit log."""

from ..actions import Page, ReadAudit
from ..model.audit import AuditRecord
from .endpoint import NAMESPACE, Endpoint

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=NAMESPACE + "/audit",
        summary="Read who changed what, newest first; of all namespaces, if it is `*`",
        action=ReadAudit,
        query=("since", "limit", "cursor"),
        gives=Page[AuditRecord],
        raises=(),
    ),
)
