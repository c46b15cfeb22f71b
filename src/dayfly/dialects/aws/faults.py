"""What goes wrong, in AWS's words: its own errors, and the platform's as the closest of them."""

from __future__ import annotations

from typing import Any

from ... import errors as e

STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


class AwsError(e.DayflyError):
    """The service refuses the request"""

    status = 400
    kind = "aws"

    def __init__(self, code: str, message: str, status_code: int = 0, *, untyped: bool = False, **members: Any) -> None:
        """`status_code`: 0 for the one that the model names. `untyped`: without `Type`, as some answers of the service are."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status_code = status_code
        self.untyped = untyped
        self.members_ = members


def invalid(message: str, *, untyped: bool = False) -> AwsError:
    return AwsError("InvalidParameterValueException", message, untyped=untyped)


def missing(message: str = "The resource you requested does not exist.", *, untyped: bool = False) -> AwsError:
    return AwsError("ResourceNotFoundException", message, untyped=untyped)


def conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message)


_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
_TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
_REASONS = {  # by the bound or quota of the platform that was reached
    "": "ConcurrentInvocationLimitExceeded",
    "reserved": "ReservedFunctionConcurrentInvocationLimitExceeded",
    "requests_per_s": "CallerRateLimitExceeded",
}
_CODES: tuple[tuple[type[e.DayflyError], str, int], ...] = (
    (e.TooLarge, "RequestTooLargeException", 413),
    (e.UnsupportedMedia, "UnsupportedMediaTypeException", 415),
    (e.MethodNotAllowed, "UnknownOperationException", 404),
    (e.BadPackage, "InvalidParameterValueException", 400),
    (e.BadInput, "InvalidParameterValueException", 400),
    (e.BuildFailed, "InvalidParameterValueException", 400),
    (e.Unauthenticated, "UnrecognizedClientException", 403),
    (e.Forbidden, "AccessDeniedException", 403),
    (e.NotFound, "ResourceNotFoundException", 404),
    (e.Conflict, "ResourceConflictException", 409),
    (e.Throttled, "TooManyRequestsException", 429),
    (e.Unavailable, "TooManyRequestsException", 429),
)


def worded(error: e.DayflyError) -> AwsError:
    """A platform error as one of AWS's."""
    if isinstance(error, AwsError):
        return error
    for kind, code, status in _CODES:
        if isinstance(error, kind):
            message = error.detail
            if isinstance(error, e.BadPackage):
                message = _TOO_LARGE if error.members.get("rule") == "total-size" else _UNZIP
            elif code == "TooManyRequestsException":
                reason = _REASONS.get(str(error.members.get("bound") or error.members.get("quota")), _REASONS[""])
                return AwsError(code, "Rate Exceeded.", status, Reason=reason)
            return AwsError(code, message, status)
    return AwsError("ServiceException", error.detail, 500)
