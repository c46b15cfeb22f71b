"""One server for all attacks, with a neighbour who has something worth stealing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.attacks.attack import HOST_SECRET, Victim
from tests.support.site import Site, running


@pytest.fixture(scope="package")
def host_secret() -> Iterator[None]:
    """A secret in the environment of the server, as an operator's cloud key would be."""
    os.environ["DAYFLY_TEST_HOST_SECRET"] = HOST_SECRET
    yield
    del os.environ["DAYFLY_TEST_HOST_SECRET"]


@pytest.fixture(scope="package")
async def site(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str, host_secret: None) -> AsyncIterator[Site]:
    async with running(tmp_path_factory.mktemp("d")) as made:
        await Victim.move_in(made)
        yield made


@pytest.fixture
def data(site: Site) -> Path:
    """The server's folder."""
    return site.server.settings.data
