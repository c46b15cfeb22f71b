"""The routes: Lambda's operations by their model, health, and everything else by the scope of its signature."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from ...errors import DayflyError
from ...model.identity import Identity
from ...model.ids import new_id
from ..hook import Credentials, Dialect, Do, Handle, Head, Params, Reply, Route, View
from . import (
    aliases,
    asynchronous,
    code,
    concurrency,
    functions,
    layers,
    mappings,
    policies,
    services,
    settings,
    signing,
    sigv4,
    tags,
    urls,
)
from .call import Call, Perform
from .check import check
from .faults import invalid, worded
from .invoke import Invocations, request_id
from .parse import arguments
from .profile import PROFILE
from .s3.request import failure as s3_failure
from .scope import scope_of
from .serialise import failure, reply
from .service import Operation, operations
from .shapes import SHAPES
from .streams import Streams
from .visible import Visible

BODY = 70_167_211  # bytes of a control request: a package in base64

PERFORMED: dict[str, Perform] = {
    "CreateFunction": functions.create,
    "GetFunction": functions.get,
    "GetFunctionConfiguration": functions.get_configuration,
    "UpdateFunctionConfiguration": functions.update_configuration,
    "UpdateFunctionCode": functions.update_code,
    "DeleteFunction": functions.delete,
    "ListFunctions": functions.list_all,
    "PublishVersion": aliases.publish_version,
    "ListVersionsByFunction": aliases.list_versions,
    "CreateAlias": aliases.create,
    "GetAlias": aliases.get,
    "UpdateAlias": aliases.update,
    "DeleteAlias": aliases.delete,
    "ListAliases": aliases.list_all,
    "PutFunctionConcurrency": concurrency.put,
    "GetFunctionConcurrency": concurrency.get,
    "DeleteFunctionConcurrency": concurrency.delete,
    "PutProvisionedConcurrencyConfig": concurrency.put_provisioned,
    "GetProvisionedConcurrencyConfig": concurrency.get_provisioned,
    "DeleteProvisionedConcurrencyConfig": concurrency.delete_provisioned,
    "ListProvisionedConcurrencyConfigs": concurrency.list_provisioned,
    "PutFunctionEventInvokeConfig": asynchronous.put,
    "UpdateFunctionEventInvokeConfig": asynchronous.update,
    "GetFunctionEventInvokeConfig": asynchronous.get,
    "DeleteFunctionEventInvokeConfig": asynchronous.delete,
    "ListFunctionEventInvokeConfigs": asynchronous.list_all,
    "CreateFunctionUrlConfig": urls.create,
    "GetFunctionUrlConfig": urls.get,
    "UpdateFunctionUrlConfig": urls.update,
    "DeleteFunctionUrlConfig": urls.delete,
    "ListFunctionUrlConfigs": urls.list_all,
    "AddPermission": policies.add_permission,
    "GetPolicy": policies.get_policy,
    "RemovePermission": policies.remove_permission,
    "PutResourcePolicy": policies.put_resource_policy,
    "GetResourcePolicy": policies.get_resource_policy,
    "DeleteResourcePolicy": policies.delete_resource_policy,
    "TagResource": tags.tag,
    "UntagResource": tags.untag,
    "ListTags": tags.list_all,
    "PublishLayerVersion": layers.publish,
    "GetLayerVersion": layers.get,
    "GetLayerVersionByArn": layers.get_by_arn,
    "ListLayers": layers.list_all,
    "ListLayerVersions": layers.list_versions,
    "DeleteLayerVersion": layers.delete,
    "AddLayerVersionPermission": layers.add_permission,
    "GetLayerVersionPolicy": layers.get_policy,
    "RemoveLayerVersionPermission": layers.remove_permission,
    "CreateCodeSigningConfig": signing.create,
    "GetCodeSigningConfig": signing.get,
    "UpdateCodeSigningConfig": signing.update,
    "DeleteCodeSigningConfig": signing.delete,
    "ListCodeSigningConfigs": signing.list_all,
    "ListFunctionsByCodeSigningConfig": signing.list_functions,
    "PutFunctionCodeSigningConfig": signing.put_function,
    "GetFunctionCodeSigningConfig": signing.get_function,
    "DeleteFunctionCodeSigningConfig": signing.delete_function,
    "CreateEventSourceMapping": mappings.create,
    "GetEventSourceMapping": mappings.get,
    "UpdateEventSourceMapping": mappings.update,
    "DeleteEventSourceMapping": mappings.delete,
    "ListEventSourceMappings": mappings.list_all,
    "GetAccountSettings": settings.account,
    "PutRuntimeManagementConfig": settings.put_runtime_management,
    "GetRuntimeManagementConfig": settings.get_runtime_management,
    "PutFunctionRecursionConfig": settings.put_recursion,
    "GetFunctionRecursionConfig": settings.get_recursion,
}
CALLS = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})


def aws(view: View) -> Dialect:
    """The dialect; `view` is all its calls look at."""
    calls, streams = Invocations(view), Streams(view)
    by_path: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations("lambda").values():
        if operation.name not in CALLS:
            by_path.setdefault((operation.method, operation.path), []).append(operation)
    routes = []
    for (method, path), candidates in by_path.items():
        candidates.sort(key=lambda operation: -len(operation.literals))
        handle = _handle(tuple(candidates), view)
        routes += [Route(method=method, path=each, handle=handle, body_bytes=BODY) for each in (path, path + "/")]
    plain = {"decode": calls.decode, "encode": calls.encode, "explain": calls.explain}
    old = {"decode": calls.decode_old, "encode": calls.encode_old}
    stream = {"decode": streams.decode, "encode": streams.encode, "explain": streams.explain, "frame": streams.frame}
    translate: dict[str, dict[str, Any]] = {"Invoke": plain, "InvokeAsync": old, "InvokeWithResponseStream": stream}
    for name, how in translate.items():
        path = operations("lambda")[name].path
        routes += [Route(method="POST", path=each, fast=True, **how) for each in (path, path + "/")]
    routes.append(Route(method="GET", path=code.PATH, handle=code.fetch))
    routes += services.routes(view)
    return Dialect(
        name="lambda",
        profile=PROFILE,
        routes=tuple(routes),
        fault=fault,
        authenticate=_authenticate,
        packages={layers.KIND: layers.packages},
        shapes=SHAPES,
    )


def _authenticate(head: Head, body: bytes | None, credentials: Credentials) -> Identity | None:
    """Whoever signed, or has an address that is signed itself."""
    return code.authenticate(head) or sigv4.authenticate(head, body, credentials)


def _handle(candidates: tuple[Operation, ...], view: View) -> Handle:
    """The handler of a path: what the query holds tells which of several operations it is."""

    async def handle(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        pairs = parse_qsl(head.query, keep_blank_values=True) if head.query else []
        operation = next(each for each in candidates if all(literal in pairs for literal in each.literals))
        perform = PERFORMED.get(operation.name)
        if perform is None:  # durable functions, managed instances, capacity providers
            raise invalid("This operation is not supported by Dayfly.")
        args = arguments(operation, head, params, body)
        if operation.input is not None:
            check(operation.input, args)
        result = await perform(Call(head, scope_of(head), args, do, Visible(view, head.identity)))
        return reply(operation, result, request_id(new_id()))

    return handle


def fault(head: Head, error: DayflyError) -> Reply:
    """Any failure, in the words of the service that was asked."""
    if "/invocations" in head.path or "-invocations" in head.path or "/invoke-async" in head.path:
        answer = Invocations.fault(error)
        if answer is not None:
            return Streams.failed(answer) if "response-streaming" in head.path and answer.status == 200 else answer
    service = scope_of(head).service
    if service == "s3":
        return s3_failure(head, error)
    known = worded(error)
    if head.path in ("", "/") or service not in ("", "lambda"):
        return services.failure(head, known)
    return failure("lambda", known, request_id(error.invocation or new_id()))
