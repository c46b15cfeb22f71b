"""The audit log: middleware that writes down every change before its answer goes out.

A change that was made is on disk, and its record too, when its caller hears of it. What was refused or failed is written behind,
and no more than so many a second, so that nobody can push the changes of others out of a log of bounded length.

Values never get in: only short fields whose names are known to hold none.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from ..actions import Action, CancelInvocation, CreateToken, ListKeys, Page, ReadAudit
from ..clock import Clock
from ..errors import DayflyError
from ..model.audit import AuditRecord
from ..model.identity import Identity
from ..store.port import Statement, Store
from .policy import CHANGES, OWNS, Handler

KEEP_ROWS: Final = 200_000
TRIM_EVERY: Final = 1000  # records
FAILURES: Final = 20.0  # a second, of what was refused or failed; as many at once
_AUDITED: Final = (CHANGES | OWNS | {CancelInvocation, CreateToken}) - {ListKeys, ReadAudit}
_TARGETS: Final = ("name", "id", "function")  # the first of these fields that an action has
_SAFE: Final = frozenset(
    {
        "alias", "callers", "elsewhere", "expect", "filename", "function", "id", "identities", "kind", "labels", "name", "number",
        "profile", "publish", "quota", "revision", "roles", "seconds", "ttl_s",
    }
)  # fmt: skip
_TEXT: Final = 200  # characters of one value
_decode = msgspec.json.Decoder(AuditRecord).decode


class Audit:
    """Performs ReadAudit, and wraps the façade."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._since_trim = 0
        self._budget = FAILURES
        self._refilled = clock.monotonic()
        self.dropped = 0  # records of failures that were too many

    def guard(self, handler: Handler) -> Handler:
        """Middleware; the outermost one, so that it sees what others refuse."""

        async def audited(action: Any, identity: Identity) -> Any:
            if type(action) not in _AUDITED:
                return await handler(action, identity)
            try:
                outcome = await handler(action, identity)
            except BaseException as error:
                self._failed(action, identity, error.kind if isinstance(error, DayflyError) else type(error).__name__)
                raise
            await self._store.commit(*self._statements(action, identity, "done"))
            return outcome

        return audited

    async def read(self, action: ReadAudit) -> Page[AuditRecord]:
        """Newest first."""
        before = int(action.cursor) if action.cursor.isascii() and action.cursor.isdigit() else 1 << 62
        rows = await self._store.fetch(
            "audit_of", namespace=action.namespace, since=action.since, before=min(before, 1 << 62), limit=action.limit + 1
        )
        items = tuple(_decode(body) for _, body in rows[: action.limit])
        return Page(items=items, cursor=str(rows[action.limit - 1][0]) if len(rows) > action.limit else "")

    def _failed(self, action: Action, identity: Identity, kind: str) -> None:
        now = self._clock.monotonic()
        self._budget = min(FAILURES, self._budget + (now - self._refilled) * FAILURES)
        self._refilled = now
        if self._budget < 1:
            self.dropped += 1
            return
        self._budget -= 1
        self._store.write_behind(*self._statements(action, identity, kind))

    def _statements(self, action: Action, identity: Identity, outcome: str) -> list[Statement]:
        now = self._clock.now()
        record = AuditRecord(
            time=now,
            namespace=action.namespace[:_TEXT],
            identity=identity.name,
            identity_id=identity.id,
            peer=identity.peer,
            action=type(action).__name__,
            target=next((str(getattr(action, name))[:_TEXT] for name in _TARGETS if hasattr(action, name)), ""),
            outcome=outcome,
            detail=_detail(action),
        )
        row = {"namespace": record.namespace, "time": now, "body": msgspec.json.encode(record)}
        statements: list[Statement] = [("audit_add", row)]
        self._since_trim += 1
        if self._since_trim >= TRIM_EVERY:
            self._since_trim = 0
            statements.append(("audit_trim", {"keep": KEEP_ROWS}))
        return statements


def _detail(action: Action) -> dict[str, Any]:
    """The short fields that differ from what they are by default."""
    detail: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(action)):
        value = getattr(action, field.name)
        if (
            field.name not in _SAFE
            or value == field.default
            or field.name == next((n for n in _TARGETS if hasattr(action, n)), "")
        ):
            continue
        if isinstance(value, (bool, int, float, enum.Enum)):
            detail[field.name] = value
        else:
            text = msgspec.json.encode(value)
            detail[field.name] = (
                msgspec.json.decode(text) if len(text) <= _TEXT else text[:_TEXT].decode("utf-8", "replace") + "..."
            )
    return detail
