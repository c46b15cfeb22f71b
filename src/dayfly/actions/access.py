"""Actions on keys, tokens and what is encrypted."""

from __future__ import annotations

from msgspec import field

from ..model.identity import EVERYWHERE, KeyKind, Role
from ..model.quota import Quota
from .base import Action

__all__ = ["CreateKey", "CreateToken", "GetQuota", "ListKeys", "ReadAudit", "RevokeKey", "RotateSecretKey", "SetQuota"]


class CreateKey(Action, frozen=True, kw_only=True):
    """Let somebody in, with these roles in the namespace (`*`: in all). -> model.identity.NewKey, with the secret this one time"""

    name: str
    roles: tuple[Role, ...] = (Role.DEPLOYER,)
    elsewhere: dict[str, tuple[Role, ...]] = field(default_factory=dict)  # roles in other namespaces
    kind: KeyKind = KeyKind.TOKEN
    ttl_s: float = 0.0  # 0: until it is revoked


class CreateToken(Action, frozen=True, kw_only=True):
    """A token for a short while, which allows no more than the asking identity may do and ends with its key.
    -> model.identity.NewToken"""

    roles: tuple[Role, ...] = (Role.INVOKER,)
    ttl_s: float = 900.0


class RotateSecretKey(Action, frozen=True, kw_only=True):
    """Encrypt all secrets anew, with a new key. -> how many values that were"""

    namespace: str = EVERYWHERE


class ListKeys(Action, frozen=True, kw_only=True):
    """Keys with a role in the namespace, by name; with `*`, those with a role everywhere. -> Page of model.identity.Key"""


class ReadAudit(Action, frozen=True, kw_only=True):
    """Who changed what in the namespace (`*`: in all), newest first. -> Page of model.audit.AuditRecord"""

    since: float = 0.0  # seconds since the epoch
    limit: int = 100
    cursor: str = ""


class RevokeKey(Action, frozen=True, kw_only=True):
    """Let nobody in with this key any more, from now on. Who owns any namespace that it opens may do so. -> None"""

    id: str


class SetQuota(Action, frozen=True, kw_only=True):
    """Bound what a namespace may use. It is for who owns the whole server. -> model.quota.QuotaInfo"""

    quota: Quota


class GetQuota(Action, frozen=True, kw_only=True):
    """What the namespace may use, and what it uses. -> model.quota.QuotaInfo"""
