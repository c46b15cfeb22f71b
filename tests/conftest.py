"""What all tests share: asyncio as the only event loop of the anyio plug-in, and no judgement of how fast a machine is.

Files are run side by side (`-n`), the tests of one in their order: they may share a server. Pages of the documentation share none.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from schemathesis.pytest.plugin import SchemathesisFunction
from xdist.scheduler import LoadFileScheduling

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A shell starts what runs in its background deaf to ^C, and children inherit that. Some tests send ^C to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class ByFile(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if file.endswith("docs/test_pages.py") else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Operations of one description get ids of their own: those with the same would be taken for one test."""
    for item in items:
        if isinstance(item, SchemathesisFunction):
            item._id = item._id.with_params(item.operation_label)
