"""What all tests share: asyncio as the only event loop of the anyio plug-in."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
