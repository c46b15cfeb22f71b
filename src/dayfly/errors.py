"""Every error that Dayfly raises on purpose, in one tree.

    DayflyError
    |-- BadInput                 400  the request cannot be understood
    |   |-- NameInvalid          400  a name breaks the naming rule
    |   |-- MethodNotAllowed     405
    |   |-- TooLarge             413  a body, package or header is over its limit
    |   |-- UnsupportedMedia     415  the content type is not one this call takes
    |   `-- BadPackage           422  an archive is damaged, hostile or empty
    |-- Unauthenticated          401
    |-- Forbidden                403
    |   `-- QuotaExceeded        403  the namespace has all that it may have (quota, limit)
    |-- NotFound                 404
    |-- Conflict                 409  the thing exists, or changed under the caller
    |-- BuildFailed              422  dependencies or source do not build (file, line, log)
    |-- Throttled                429  a limit of the caller's own is reached (retry_after)
    |-- InitFailed               502  the function's code fails while it is loaded (file, line)
    |-- InstanceDied             502  the instance ended in the middle of a call
    |-- BadResponse              502  the function answered what the contract does not allow
    |-- Unavailable              503  no instance can be had in time (retry_after)
    |-- TimedOut                 504  the function ran out of its time
    |-- Cancelled                499  somebody cancelled the call
    `-- Internal                 500  a fault of Dayfly itself

The class docstring is the title of the problem document (RFC 9457); the message is its detail; `hint` says what to do.
What user code raises is *not* here: it is data (`dayfly.model.call.FunctionError`), never a platform error.
"""

from __future__ import annotations

from typing import ClassVar


class DayflyError(Exception):
    """Something went wrong in Dayfly"""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"  # last path segment of the problem type; stable, dialects map on the class

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        invocation: str = "",
        retry_after: float | None = None,
        **members: object,
    ) -> None:
        """`retry_after` in seconds; `members` are extra members of the problem document (file, line, limit...)."""
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.invocation = invocation
        self.retry_after = retry_after
        self.members = members
        self.instance = ""  # id of the instance that failed, where the call had begun on none

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().splitlines()[0]

    def problem(self) -> dict[str, object]:
        """The RFC 9457 members of this error, ready for JSON."""
        body: dict[str, object] = {
            "type": f"https://dayfly.dev/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.hint:
            body["hint"] = self.hint
        if self.invocation:
            body["invocation"] = self.invocation
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        body.update(self.members)
        return body


class BadInput(DayflyError):
    """The request cannot be understood"""

    status = 400
    kind = "bad-input"


class NameInvalid(BadInput):
    """A name breaks the naming rule"""

    kind = "name-invalid"


class MethodNotAllowed(BadInput):
    """This method is not allowed here"""

    status = 405
    kind = "method-not-allowed"


class TooLarge(BadInput):
    """Larger than the limit allows"""

    status = 413
    kind = "too-large"


class UnsupportedMedia(BadInput):
    """This content type is not understood here"""

    status = 415
    kind = "unsupported-media"


class BadPackage(BadInput):
    """The package cannot be used"""

    status = 422
    kind = "bad-package"


class Unauthenticated(DayflyError):
    """Who is calling is not known"""

    status = 401
    kind = "unauthenticated"


class Forbidden(DayflyError):
    """The caller may not do this"""

    status = 403
    kind = "forbidden"


class QuotaExceeded(Forbidden):
    """The namespace may not have more"""

    kind = "quota-exceeded"


class NotFound(DayflyError):
    """There is no such thing"""

    status = 404
    kind = "not-found"


class Conflict(DayflyError):
    """The thing exists already, or changed meanwhile"""

    status = 409
    kind = "conflict"


class BuildFailed(DayflyError):
    """The function does not build"""

    status = 422
    kind = "build-failed"


class Throttled(DayflyError):
    """Too many calls"""

    status = 429
    kind = "throttled"


class InitFailed(DayflyError):
    """The function's code fails while it is loaded"""

    status = 502
    kind = "init-failed"


class InstanceDied(DayflyError):
    """The instance ended in the middle of the call"""

    status = 502
    kind = "instance-died"


class BadResponse(DayflyError):
    """The function answered something that the contract does not allow"""

    status = 502
    kind = "bad-response"


class Unavailable(DayflyError):
    """No instance could be had in time"""

    status = 503
    kind = "unavailable"


class TimedOut(DayflyError):
    """The function ran out of time"""

    status = 504
    kind = "timed-out"


class Cancelled(DayflyError):
    """The call was cancelled"""

    status = 499
    kind = "cancelled"


class Internal(DayflyError):
    """A fault of Dayfly itself"""
