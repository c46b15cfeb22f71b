"""What all tests share: asyncio as the only event loop of the anyio plug-in, and no judgement of how fast a machine is."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A shell starts what runs in its background deaf to ^C, and children inherit that. Some tests send ^C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
