"""The implementations of the sandbox port, one after another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.sandboxes import ALL, NODES, Place, place, skip_if_impossible


@pytest.fixture(params=ALL)
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found


@pytest.fixture(params=NODES)
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Implementations with processes."""
    skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found


@pytest.fixture(params=[name for name in NODES if name != "process"])
async def jailed(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Implementations that isolate."""
    skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found
