"""The description fuzzed against a whole server: whatever is asked, it answers as it says, and goes on serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi

from dayfly.api.app import ENDPOINTS
from dayfly.api.openapi import describe
from tests.support.process import Process

CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]

schemathesis.serializer.alias("application/zip", "application/octet-stream")
schema = schemathesis.openapi.from_dict(describe(ENDPOINTS, "1.0.0"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    made = Process(tmp_path_factory.mktemp("f") / "d")
    made.start()
    made.deploy("steady", "def handler(event, context):\n    return event\n")
    yield made
    assert made.call("steady", {"still": "here"})[1] == {"still": "here"}
    made.stop()
    made.wait_gone()


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_a_whole_server_does_what_the_description_says(case, server: Process) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", checks=CHECKS)
