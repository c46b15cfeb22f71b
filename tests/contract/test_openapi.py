"""The description is valid, complete, and what the server does: requests made from it, sound and unsound, get the answers it promises."""

from __future__ import annotations

from zlib import crc32

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi
from starlette.routing import Route

from dayfly import actions, errors
from dayfly.actions import objects
from dayfly.api import create_app
from dayfly.api.app import ENDPOINTS
from dayfly.api.openapi import describe
from dayfly.model.call import Status
from dayfly.model.identity import LOCAL
from dayfly.testing.clock import FakeClock
from tests.support.fake_platform import FakePlatform

PLAIN_PAGES = {"/healthz", "/metrics", "/v1", "/v1/openapi.json", "/v1/docs"}
CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
    openapi.response_headers_conformance,
    openapi.negative_data_rejection,
    openapi.unsupported_method,
]


class Obliging(FakePlatform):
    """Has every second thing that it is asked for, so that random names meet answers of both kinds."""

    async def perform(self, action, by=LOCAL):
        await super().perform(actions.PutNamespace(namespace=action.namespace), by)
        name = str(getattr(action, "name", ""))
        if name and crc32(name.encode()) % 2:
            await super().perform(actions.PutFunction(namespace=action.namespace, name=name, code=CODE), by)
        identifier = getattr(action, "id", "")
        if identifier and crc32(identifier.encode()) % 2:
            self.record(identifier, Status.RUNNING)
        return await super().perform(action, by)


CODE = actions.Code(files={"handler.py": "def handler(event, context): ..."})

schemathesis.serializer.alias("application/zip", "application/octet-stream")
platform = Obliging()
platform.say("a line")
app = create_app(platform.perform, lambda *request: LOCAL, lambda: "", clock=FakeClock())
description = describe(ENDPOINTS, "1.0.0")
schema = schemathesis.openapi.from_dict(description)
schema.app = app


def test_the_description_is_valid_openapi():
    validate(description)


def test_every_route_is_described():
    routes = {route.path for route in app.routes if isinstance(route, Route)}
    assert routes - PLAIN_PAGES == set(description["paths"])


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for path in description["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == len(ENDPOINTS)


def test_every_action_but_the_call_is_reachable():
    faced = {endpoint.action for endpoint in ENDPOINTS} | {actions.FollowLogs, actions.FollowEvents}  # chosen by parameters
    faced |= {actions.PublishEvents}  # a route of the native dialect
    faced |= {
        actions.ReadArchive,
        actions.ReadPackage,
        actions.Record,
        actions.PutDocument,
        actions.GetDocument,
        actions.ListDocuments,
        actions.DeleteDocument,
    }  # for dialects alone
    faced |= {getattr(actions, name) for name in objects.__all__}  # S3 is their API
    assert faced == set(actions.Action.__subclasses__())


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation_id)
def test_every_field_of_the_action_can_be_said(endpoint):
    said = {*endpoint.path_parameters, *endpoint.query, endpoint.upload, "profile"}
    said |= {field.name for field in msgspec.structs.fields(endpoint.body)} if endpoint.body else set()
    implied = {
        "listNamespaces": {"namespace"},
        "rotateSecretKey": {"namespace"},
        "readInvocationLogs": {"function"},
        "listAsyncConfigs": {"function"},
        "putPackage": {"keep"},
    }.get(endpoint.operation_id, set())
    assert set(endpoint.action.__struct_fields__) <= said | implied


def test_every_error_of_the_tables_has_its_status_described():
    for endpoint in ENDPOINTS:
        described = description["paths"][endpoint.path][endpoint.method.lower()]["responses"]
        assert {str(error.status) for error in endpoint.raises} <= set(described)
        assert str(errors.Internal.status) in described


@schema.parametrize()
@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_does_what_the_description_says(case):
    case.call_and_validate(checks=CHECKS)
