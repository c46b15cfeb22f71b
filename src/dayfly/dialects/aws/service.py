"""The service models that AWS publishes with botocore: which operations there are, and what their requests and answers look like.

They are data (JSON), and the only description of the wire that this dialect has: it routes, parses, checks and serialises by them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import botocore.loaders
import botocore.model
from msgspec import Struct


class Operation(Struct, frozen=True):
    """One operation of a REST service."""

    name: str
    method: str
    path: str  # with {Name} for parameters
    literals: tuple[tuple[str, str], ...]  # what the query must hold for it to be this operation (`?List=ALL`)
    status: int
    input: Any  # botocore.model.StructureShape or None
    output: Any


@functools.cache
def model(service: str) -> Any:
    """The newest model of a service (botocore.model.ServiceModel)."""
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model(service, "service-2"), service)


@functools.cache
def operations(service: str) -> Mapping[str, Operation]:
    """By name."""
    described = model(service)
    found = {}
    for name in described.operation_names:
        operation = described.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        found[name] = Operation(
            name,
            operation.http["method"],
            path.rstrip("/") or "/",
            tuple(parse_qsl(query, keep_blank_values=True)),
            operation.http.get("responseCode", 200),
            operation.input_shape,
            operation.output_shape,
        )
    return found


@functools.cache
def errors(service: str) -> Mapping[str, Any]:
    """The shapes of the errors that a service documents, by code."""
    return {shape.error_code: shape for shape in model(service).error_shapes}
