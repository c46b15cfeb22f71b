"""What several unit tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dayfly.store.sqlite import SqliteStore
from tests.support.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = SqliteStore(None)
    await store.open()
    world = World(store)
    await world.eventing.open()
    yield world
    await world.eventing.close(0.0)
    await store.close()
