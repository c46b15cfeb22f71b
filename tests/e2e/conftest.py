"""One server for all end-to-end tests of a module; tests use function names of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.site import Site, running


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Site]:
    async with running(tmp_path_factory.mktemp("d")) as made:
        yield made
