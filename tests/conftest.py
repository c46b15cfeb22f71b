"""What all tests share: asyncio as the only event loop of the anyio plug-in."""

from __future__ import annotations

import signal

import pytest

# A shell starts what runs in its background deaf to ^C, and children inherit that. Some tests send ^C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
