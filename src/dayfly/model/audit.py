"""What the audit log keeps of a change."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class AuditRecord(Struct, frozen=True, kw_only=True):
    """Who did what, when, from where, and what came of it."""

    time: float  # seconds since the epoch, when it had ended
    namespace: str
    identity: str  # name
    identity_id: str
    peer: str  # address; empty: from within the server
    action: str
    target: str = ""  # name or id of what it was done to
    outcome: str = "done"  # or the kind of the error: forbidden, not-found, ...
    detail: dict[str, Any] = {}  # further short fields of the action; nothing that may be secret
