"""Items with the same key are delivered in order; where a delivery takes several items, those behind the first go along with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..store.port import Statement, Store
from .items import Item


async def go_along(
    store: Store, lease: dict[str, Any], items: Iterable[Item], room: int, fits: Callable[[Item], bool] = lambda _: True
) -> list[Item]:
    """Lease up to `room` items that wait behind these ones, which are leased, in the order in which they came. `lease`: how the
    others were leased. `fits` is asked of each in turn; the first that does not fit, and what is behind it, is given back.
    """
    keys = dict.fromkeys(item.key for item in items if item.key)
    if not keys or room <= 0:
        return []
    statements: list[Statement] = [("queue_lease_key", lease | {"key": key, "limit": room}) for key in keys]
    effects = await store.commit(*statements)
    found = sorted(Item(*row[1:]) for effect in effects for row in effect.rows)
    taken: list[Item] = []
    for item in found[:room]:
        if not fits(item):
            break
        taken.append(item)
    over = [{"id": item.id, "epoch": item.epoch} for item in found[len(taken) :]]
    if over:
        await store.commit(("queue_unlease", over))
    return taken
