"""The OpenAPI 3.1 description, generated from the tables of endpoints and the types they name.

Nothing here is a second truth: parameters come from the vocabulary, bodies and answers from msgspec types, statuses from the rows and
from the error classes that any request may meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ..errors import (
    BadInput,
    DayflyError,
    Forbidden,
    Internal,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from .body import ARCHIVE, JSON
from .endpoint import TAGS, Endpoint
from .problems import MEDIA_TYPE, Problem
from .query import Parameter

ALWAYS: tuple[type[DayflyError], ...] = (BadInput, Unauthenticated, Forbidden, Throttled, Internal, Unavailable)
WITH_BODY: tuple[type[DayflyError], ...] = (TooLarge, UnsupportedMedia)
REFERENCE = "#/components/schemas/{name}"

Json = dict[str, Any]


def describe(endpoints: Sequence[Endpoint], version: str) -> Json:
    """The whole description as a JSON-ready dictionary."""
    types = _types(endpoints)
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    used = {name for endpoint in endpoints for name in [endpoint.tag]}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Dayfly control API",
            "version": version,
            "description": "Deploy functions, split their traffic, read what they did. Calls go to /fn/{namespace}/{name}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Not needed on loopback, unless asked for."}
            },
        },
    }
    plain: Json = msgspec.json.decode(msgspec.json.encode(document))  # defaults may be tuples
    return plain


def _types(endpoints: Iterable[Endpoint]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for endpoint in endpoints:
        for kind in (endpoint.gives, endpoint.body, endpoint.events):
            if kind is not None:
                found[repr(kind)] = kind
    return list(found.values())


def _operation(endpoint: Endpoint, schema_of: Json) -> Json:
    operation: Json = {
        "operationId": endpoint.operation_id,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [
            *(_parameter(endpoint, name, "path", p) for name, p in endpoint.path_parameters.items()),
            *(_parameter(endpoint, name, "query", p) for name, p in endpoint.query_parameters.items()),
        ],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.body is not None:
        required = any(field.required for field in msgspec.structs.fields(endpoint.body))
        content = {media: {"schema": schema_of[repr(endpoint.body)]} for media in JSON}
        operation["requestBody"] = {"required": required, "content": content}
    elif endpoint.upload:
        operation["requestBody"] = {"required": True, "content": {media: {} for media in ARCHIVE}}
    return operation


def _parameter(endpoint: Endpoint, name: str, place: str, parameter: Parameter) -> Json:
    defaults = {field.name: field.default for field in msgspec.structs.fields(endpoint.action)}
    schema = _inline(parameter.type)
    if place == "query" and defaults.get(name):
        schema["default"] = defaults[name]
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": parameter.about[0].upper() + parameter.about[1:],
        "schema": schema,
    }


def _inline(kind: Any) -> Json:
    schema: Json
    (schema,), components = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    if reference := schema.get("$ref"):  # an enumeration
        schema = components[reference.rpartition("/")[2]]
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _responses(endpoint: Endpoint, schema_of: Json) -> Json:
    responses: Json = {}
    if endpoint.gives is None:
        responses["204"] = {"description": "Done"}
    else:
        content: Json = {"application/json": {"schema": schema_of[repr(endpoint.gives)]}}
        if endpoint.events is not None:
            kinds = {
                endpoint.event_name: schema_of[repr(endpoint.events)],
                "end": {"const": {}},
                "error": schema_of[repr(Problem)],
            }
            content["text/event-stream"] = {"schema": {"oneOf": [_event(name, data) for name, data in kinds.items()]}}
        responses["200"] = {"description": "Done", "content": content}
        if endpoint.created is not None:
            responses["201"] = {**responses["200"], "description": "Made anew"}
    with_body = WITH_BODY if endpoint.body is not None or endpoint.upload else ()
    titles: dict[int, list[str]] = {}
    for error in (*ALWAYS, *with_body, *endpoint.raises):
        titles.setdefault(error.status, []).append(_title(error))
    for status, texts in sorted(titles.items()):
        responses[str(status)] = {
            "description": "; or ".join(dict.fromkeys(texts)),
            "headers": _headers(status),
            "content": {MEDIA_TYPE: {"schema": schema_of[repr(Problem)]}},
        }
    return responses


def _event(name: str, data: Json) -> Json:
    """One kind of server-sent event."""
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "To go on after this event, send it as Last-Event-ID."},
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
    }


def _title(error: type[DayflyError]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]


def _headers(status: int) -> Json:
    match status:
        case 401:
            return {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Always `Bearer`"}}
        case 429 | 503:
            return {"Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds"}}
    return {}
