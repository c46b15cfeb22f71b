"""What a namespace may use at most."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Bound = Annotated[int, Meta(ge=0, le=2**53, description="0: no bound")]


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    functions: Bound = 0
    instances: Bound = 0  # alive at the same time
    memory_mb: Bound = 0  # of all its instances, as their functions are configured
    requests_per_s: Bound = 0  # as many at once
    concurrent_calls: Bound = 0
    queued_events: Bound = 0  # asynchronous calls, events and messages that wait
    storage_mb: Bound = 0  # of the artifacts of its revisions, and its objects


class QuotaInfo(Struct, frozen=True, kw_only=True):
    """A quota, and what of it is used; `requests_per_s` is what is left of it at this moment."""

    namespace: str
    quota: Quota
    used: Quota
