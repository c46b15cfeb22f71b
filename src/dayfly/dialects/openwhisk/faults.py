"""Errors as OpenWhisk's clients know them: {"error": message, "code": transaction id}.

The messages are part of the interface: clients and the project's own tests compare them
(common/scala/src/main/scala/org/apache/openwhisk/http/ErrorResponse.scala).
"""

from __future__ import annotations

import msgspec

from ... import errors as e
from ...model.ids import new_id
from ..hook import Head, Reply

MISSING = "The requested resource does not exist."
FORBIDDEN = "The supplied authentication is not authorized to access this resource."
EXISTS = "resource already exists"
CONFLICT = "Concurrent modification to resource detected."
NONCONFORMING = "Resource by this name exists but is not in this collection."
NOT_ALLOWED = "Request defines parameters that are not allowed (e.g., reserved properties)."
ON_BINDING = "Operation not permitted on package binding."
BAD_NAME = "The name of the entity contains illegal characters."
BAD_ID = "The activation id is not valid."
NOT_JSON = "The request's Content-Type is not supported. Expected:\napplication/json"
NOT_QUALIFIED = "The fully qualified name of the entity must contain at least the namespace and the name of the entity."
MALFORMED = "The request content was malformed:\n"
PROCESSING = "There was an error processing your request."
UNAUTHORIZED = "The supplied authentication is invalid"
NO_LOGIN = "The resource requires authentication, which was not supplied with the request"
NOT_READY = "Response not yet ready."

CORS = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"),
    ("access-control-allow-methods", "GET, DELETE, POST, PUT, HEAD"),
]
_LINES = "".join(f"{name}: {value}\r\n" for name, value in [*CORS, ("content-type", "application/json")])
_DEFAULTS = {
    500: "There was an internal server error.",
    503: "The server is currently unavailable (because it is overloaded or down for maintenance).",
}


class Rejected(e.DayflyError):
    """Refused in OpenWhisk's own words"""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status


def transaction(head: Head) -> str:
    """The id that ties a request to its answer: the client's own, unless it begins like those of the system."""
    return given_transaction(head) or new_id()


def given_transaction(head: Head) -> str:
    """The client's own; empty if it is none of its to choose."""
    given = head.get(b"x-request-id")
    return given[:128] if given and given.isprintable() and not given.startswith("sid_") else ""


def of_call(status: int, body: bytes, transaction_id: str, activation: str) -> Reply:
    """The JSON answer to a call."""
    lines = f"{_LINES}x-request-id: {transaction_id}\r\nx-openwhisk-activation-id: {activation}\r\n"
    return Reply(status, [], body, lines)


def fault(head: Head, error: e.DayflyError) -> Reply:
    """Any error of the platform in OpenWhisk's words."""
    status, message = _told(error)
    headers: list[tuple[str, str]] = []
    if status == 401:
        headers.append(("www-authenticate", 'Basic realm="OpenWhisk secure realm"'))
    if error.retry_after is not None:
        headers.append(("retry-after", str(max(1, round(error.retry_after)))))
    if error.invocation:
        headers.append(("x-openwhisk-activation-id", error.invocation))
    return refuse(head, status, message, headers)


def _told(error: e.DayflyError) -> tuple[int, str]:
    if isinstance(error, Rejected):
        return error.status_code, error.detail
    if isinstance(error, e.NotFound):
        return 404, MISSING
    if isinstance(error, e.QuotaExceeded):
        return 403, error.detail
    if isinstance(error, e.Forbidden):
        return 403, FORBIDDEN
    if isinstance(error, e.Throttled) and isinstance(limit := error.members.get("limit"), int):
        if error.members.get("quota") == "concurrent_calls":
            return 429, f"Too many concurrent requests in flight (count: {limit}, allowed: {limit})."
        return 429, f"Too many requests in the last minute (count: {limit * 60}, allowed: {limit * 60})."
    if isinstance(error, e.Conflict):
        return 409, CONFLICT
    if isinstance(error, e.NameInvalid):
        return 400, BAD_NAME
    if isinstance(error, e.BuildFailed | e.BadPackage):
        return 400, MALFORMED + error.detail
    if isinstance(error, e.MethodNotAllowed):
        methods = error.hint.removeprefix("Allowed: ").rstrip(".").replace("OPTIONS, ", "")
        return 405, f"HTTP method not allowed, supported methods: {methods}"
    if error.status in _DEFAULTS:
        return error.status, _DEFAULTS[error.status]
    return error.status, error.detail


def refuse(head: Head, status: int, message: str, headers: list[tuple[str, str]] | None = None) -> Reply:
    code = transaction(head)
    return Reply(
        status,
        [*CORS, ("content-type", "application/json"), ("x-request-id", code), *(headers or [])],
        msgspec.json.encode({"error": message, "code": code}),
    )


def answer(head: Head, value: object, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Reply:
    """A JSON answer with the headers that all answers of the REST API carry."""
    return Reply(
        status,
        [*CORS, ("content-type", "application/json"), ("x-request-id", transaction(head)), *(headers or [])],
        value if isinstance(value, bytes) else msgspec.json.encode(value),
    )
