"""The action of the hot path."""

from __future__ import annotations

from msgspec import Struct

from ..model.call import HttpRequest, Mode


class Invoke(Struct, kw_only=True, omit_defaults=True):
    """Call a function. -> model.call.Result; for Mode.ASYNC a Result with only the invocation id.

    The one action of the hot path, hence not frozen and with nothing to compute. The gateway performs it through the
    dispatcher by callbacks; `Platform.perform` does the same for everybody else.
    """

    namespace: str
    function: str
    qualifier: str = ""  # revision number, alias or tag; empty: the function's traffic split
    mode: Mode = Mode.SYNC
    http: HttpRequest | None = None  # None: an event call, `body` is JSON
    body: bytes = b""
    content_type: str = "application/json"
    invocation: str = ""  # given by the edge; made if empty
    idempotency_key: str = ""
    timeout_s: float = 0.0  # 0: the function's own; never longer than that
    cause: str = ""
    depth: int = 0  # function called by function called by ...
    root: str = ""  # id of the call from outside that it comes of, where a function made it
    trace_parent: str = ""  # W3C traceparent
    attempt: int = 1
    delay_s: float = 0.0  # asynchronous only: not before this many seconds from now
    client: str = ""  # contract-specific extra, opaque to the core (Lambda's client context, ...)
    owner: str = ""  # namespace on whose account it runs and whose records tell of it; empty: the function's own
    note: str = ""  # kept with the record, opaque to the core
    wait_s: float = 0.0  # synchronous only: then its caller gets a Result with status 202, and the call goes on. 0: to its end
