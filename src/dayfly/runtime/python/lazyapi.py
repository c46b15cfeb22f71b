"""The Runtime API in an instance whose runtime needs none, since it gets its calls over frames (`awslambda`): for extensions within
the function's own process, and whoever else asks.

The socket listens from the start, but nobody waits at it: the kernel sends a signal (SIGIO) when the first client connects, and only
then is there a thread that serves. So a function that never asks pays for one socket.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading

from . import awsenv, httpserver
from .extensions import Extensions
from .telemetry import Telemetry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Dict, Optional

    from .httpserver import Exchange

_RUNTIME = "/2018-06-01/runtime/"
_TAKEN = "State transition is not allowed: the function's own runtime takes its calls"


class LazyApi:
    """`live` once somebody has asked; until then nothing else of it may be used. `say` writes a line of the platform to the log."""

    def __init__(self, work: dict[str, Any], say: Callable[[str], object]) -> None:
        self.live = False
        self._work = work
        self._say = say
        self._started = False
        self._change = threading.Condition()
        self._server: Optional[socket.socket] = None
        self.telemetry: Telemetry
        self.extensions: Extensions

    def listen(self, address: str) -> None:
        """Take connections at this address. Raises OSError."""
        host, _, port = address.partition(":")
        self._server = server = socket.create_server((host, int(port)))
        signal.signal(signal.SIGIO, self._knocked)
        fcntl.fcntl(server, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(server, fcntl.F_SETFL, fcntl.fcntl(server, fcntl.F_GETFL) | os.O_ASYNC)

    def _knocked(self, *_: Any) -> None:
        server = self._server
        if self.live or server is None:
            return
        fcntl.fcntl(server, fcntl.F_SETFL, fcntl.fcntl(server, fcntl.F_GETFL) & ~os.O_ASYNC)
        self.telemetry = Telemetry(self._work["options"].get("format") == "JSON")
        self.extensions = Extensions(awsenv.about(self._work), self._change, self.telemetry, self._failed, self._say)
        self.extensions.closed = self._started
        self.telemetry.event("platform.initStart", awsenv.init_start(self._work))
        self.live = True
        threading.Thread(target=httpserver.accept, args=(server, self._answer), daemon=True).start()

    def started(self) -> float:
        """The function is loaded: wait for its extensions. Seconds that they ask for at the end."""
        self._started = True
        if not self.live:
            return 0.0
        with self._change:
            while not self.extensions.ready:
                self._change.wait()
        self.extensions.close()
        self.telemetry.started()
        return self.extensions.grace_s

    def rest(self) -> None:
        """Wait until the extensions are done with the call before."""
        with self._change:
            while not self.extensions.at_rest:
                self._change.wait()

    def begin(self, request: Any) -> None:
        """Tell of a call."""
        self._tracing = {"type": "X-Amzn-Trace-Id", "value": request.x_amzn_trace_id}
        version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.telemetry.event("platform.start", {"requestId": request.invoke_id, "version": version, "tracing": self._tracing})
        with self._change:
            self.extensions.tell(
                {
                    "eventType": "INVOKE",
                    "deadlineMs": request.deadline_time_in_ms,
                    "requestId": request.invoke_id,
                    "invokedFunctionArn": request.invoked_function_arn,
                    "tracing": self._tracing,
                }
            )

    def done(self, identifier: str, took_ms: float, size: int, rss_kb: int, kind: str = "") -> None:
        """Tell how it ended."""
        told: Dict[str, Any] = {"requestId": identifier, "status": "error" if kind else "success"}
        if kind:
            told["errorType"] = kind
        ran = {"durationMs": round(took_ms, 3), "producedBytes": size}
        self.telemetry.event("platform.runtimeDone", {**told, "metrics": ran, "tracing": self._tracing})
        report = awsenv.metrics(took_ms, int(self._work["memory_mb"]), rss_kb)
        self.telemetry.event("platform.report", {**told, "metrics": report, "tracing": self._tracing})

    def stop(self) -> None:
        """End in order: the function's handler of SIGTERM, then what waits for subscribers."""
        if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.raise_signal(signal.SIGTERM)
        if self.live:
            self.telemetry.close(0.3)
        os._exit(0)

    def _answer(self, exchange: Exchange) -> None:
        if exchange.path == "/2018-06-01/ping":
            exchange.reply(200, b"pong", kind="text/plain")
        elif exchange.path.startswith(_RUNTIME):
            exchange.body()
            exchange.refuse(403, "InvalidStateTransition", _TAKEN)
        elif not self.extensions.answer(exchange):
            exchange.refuse(404, "Runtime.UnknownPath", "there is no %s %s" % (exchange.method, exchange.path[:200]))

    def _failed(self, kind: str, message: str) -> None:
        self._say("%s: %s\n" % (kind, message))
        os._exit(1)
