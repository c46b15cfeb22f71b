"""A document: what a dialect has to keep and the core has no noun for."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Document(Struct, frozen=True, kw_only=True):
    """A named piece of JSON, e.g. who may use a layer, or what an API is called. The core never looks into the body."""

    namespace: str
    kind: str  # `dialect/thing`, e.g. `lambda/layer`
    name: str
    version: int  # counts the changes, from 1
    body: dict[str, Any]  # JSON; nobody may change it in place
    created: float  # seconds since the epoch
    updated: float
