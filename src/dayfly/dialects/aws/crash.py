"""What Lambda says of a call whose environment failed: it ran out of time, its runtime ended, its code did not load."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from ... import errors as e

OF_PLATFORM = ("Extension.", "Runtime.ExitError", "Runtime.InvalidEntrypoint")  # kinds of errors that no runtime described
_SIGNALS = {
    "HUP": "hangup", "INT": "interrupt", "QUIT": "quit", "ILL": "illegal instruction", "TRAP": "trace/breakpoint trap",
    "ABRT": "aborted (core dumped)", "BUS": "bus error", "FPE": "floating point exception", "KILL": "killed",
    "SEGV": "segmentation fault (core dumped)", "PIPE": "broken pipe", "ALRM": "alarm clock", "TERM": "terminated",
}  # fmt: skip
_END = re.compile(
    r"(?P<memory>out of memory)|exit status (?P<status>\d+)|killed by (?:SIG(?P<signal>\w+)|signal (?P<number>\d+))"
)
_encode = msgspec.json.encode


class Crash(Struct, frozen=True):
    kind: str  # errorType
    message: str  # errorMessage; of what the platform says: without the request's id
    own: bool = True  # the platform says so, not the function's runtime
    payload: bytes = b""  # as the runtime worded it

    def body(self, request: str) -> bytes:
        """The payload that the caller gets."""
        return self.payload or _encode({"errorType": self.kind, "errorMessage": self.line(request)})

    def line(self, request: str) -> str:
        return f"RequestId: {request} Error: {self.message}"


def timed_out(seconds: float) -> Crash:
    return Crash("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")


def ended(detail: str) -> Crash:
    """From the platform's words for the end of a process (`sandbox.node.processes.ending`), in which they stand."""
    found = _END.search(detail)
    if found is None or found["status"] == "0":
        return Crash("Runtime.ExitError", "Runtime exited without providing a reason")
    if found["memory"]:
        return Crash("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")
    if found["status"]:
        return Crash("Runtime.ExitError", f"Runtime exited with error: exit status {found['status']}")
    name = _SIGNALS.get(found["signal"] or "", f"signal {found['number'] or found['signal']}")
    return Crash("Runtime.ExitError", f"Runtime exited with error: signal: {name}")


def crash_of(error: e.DayflyError) -> Crash | None:
    """None if the call never got as far as an environment."""
    members: dict[str, Any] = error.members
    if isinstance(error, e.TimedOut):
        return timed_out(float(members.get("timeout_s", 0.0)))
    if isinstance(error, e.InitFailed | e.InstanceDied):
        kind = str(members.get("error_type") or "")
        if not kind:
            return ended(error.detail)
        message = error.detail.removeprefix(f"{kind}: ")
        if kind.startswith(OF_PLATFORM):
            return Crash(kind, message)
        told = {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": members.get("trace") or []}
        return Crash(kind, message, False, str(members.get("payload") or "").encode() or _encode(told))
    if isinstance(error, e.BadResponse):
        kind, message = str(members.get("error_type", "Runtime.Unknown")), str(members.get("error_message", error.detail))
        return Crash(kind, message, False, _encode({"errorType": kind, "errorMessage": message}))
    return None
