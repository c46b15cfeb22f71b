"""The contract of AWS Lambda for programs that pull their calls from the Runtime API: a `bootstrap`, or a runtime that a wrapper or
extensions stand beside.

This process, number 1 of the sandbox, is the Runtime API on the loopback of the instance's own network, and the end of the
gateway's frames. It starts the external extensions, then the runtime; it lets everything stand still while there is nothing to do,
and ends it in order.

`work` of `worker.main`, and `program`: the command of the runtime; without it, it is the package's or a layer's `bootstrap`.

Wire: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Bodies are HTTP/1.1, sized or chunked.
"""

from __future__ import annotations

import base64
import errno
import gc
import json
import os
import signal
import socket
import threading
import time

from . import awsenv, frames, httpserver, process
from .children import Children, ending
from .errors import pack
from .extensions import Extensions
from .output import Tail
from .telemetry import Telemetry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional

    from .httpserver import Exchange

RESPONSE_LIMIT = 6 * 1024 * 1024 + 100  # bytes, as Lambda counts
TAIL = 4096  # bytes of log that a caller can have
TERM_S = 0.3  # seconds that a runtime has to end, where external extensions have yet to
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_OK = b'{"status":"OK"}'
_V = "/2018-06-01/runtime/"


def main(work: dict[str, Any], listen_fd: int) -> NoReturn:
    """Run the function of `work` until the process is killed. Never returns."""
    process.run("Runtime API", lambda task, listener: RuntimeApi(task, listener).serve(), work, listen_fd, awsenv.environment)


class _Call:
    """One call on its way through the runtime."""

    def __init__(self, stream: int, head: dict[str, Any], body: bytes) -> None:
        self.stream = stream
        self.head = head
        self.body = body
        self.told = json.loads(head["client"]) if "client" in head else {}
        self.id = awsenv.request_id(head["id"])
        self.given = False
        self.answered = False
        self.began = time.perf_counter()
        self.tracing: Dict[str, str] = {}


class RuntimeApi:
    """One runtime, its extensions, and the gateway."""

    def __init__(self, work: dict[str, Any], listener: socket.socket) -> None:
        options = work["options"]
        self._work = work
        self._listener = listener
        self._change = threading.Condition()
        self._call: Optional[_Call] = None
        self._count = 0  # of calls
        self._ready = False  # the runtime has asked for its first call
        self._asks = False  # the runtime waits for a call
        self._failed: Optional[dict[str, Any]] = None
        self._ending = False
        self._frozen = False
        self._conn: Optional[frames.Connection] = None
        self._arn = "arn:aws:lambda:%s:%s:function:%s" % (
            os.environ["AWS_REGION"], options.get("account", awsenv.ACCOUNT), work["function"],
        )  # fmt: skip
        self._version = options.get("version", "$LATEST")
        self._tail = Tail(TAIL)
        self._telemetry = Telemetry(options.get("format") == "JSON")
        self._children = Children(self._tail, self._telemetry.lines)
        self._extensions = Extensions(
            awsenv.about(work), self._change, self._telemetry, self._extension_failed, self._children.say
        )
        self._pid = 0  # of the runtime
        self._gone = threading.Event()  # so is the runtime
        self._ticks = 0  # of processor time, that it had used at its last answer
        self._rss_kb = 0

    def serve(self) -> int:
        """Until the gateway's listener or the runtime is gone."""
        started = time.perf_counter()
        host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
        server = socket.create_server((host, int(port)))
        threading.Thread(target=httpserver.accept, args=(server, self._answer), daemon=True).start()
        self._telemetry.event("platform.initStart", awsenv.init_start(self._work))
        self._launch()
        took = time.perf_counter() - started
        init = {"initializationType": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "phase": "init"}
        if self._failed:
            failed = {"status": "error", "errorType": self._failed["type"]}
            self._telemetry.event("platform.initRuntimeDone", {**init, **failed})
            self._telemetry.event("platform.initReport", {**init, **failed, "metrics": {"durationMs": round(took * 1000, 3)}})
            conn = self._accept()
            if conn is not None:
                conn.send(frames.encode(frames.FAILED | frames.END, 0, pack(self._failed)))
            self._end("failure")
            return 1
        self._telemetry.event("platform.initRuntimeDone", {**init, "status": "success"})
        self._telemetry.event("platform.initReport", {**init, "metrics": {"durationMs": round(took * 1000, 3)}})
        self._extensions.close()
        self._telemetry.started()
        ready = frames.encode(
            frames.READY, 0, b'{"init_s":%.6f,"stop_s":%.1f,"freezes":true}' % (took, self._extensions.grace_s)
        )
        gc.freeze()
        after = float(self._work.get("freeze_s") or 0)
        if after and os.getpid() == 1:  # without a sandbox, "everybody else" would be the machine
            threading.Thread(target=self._freeze, args=(after,), daemon=True).start()
        while True:
            conn = self._accept()
            if conn is None:
                return 0
            conn.send(ready)
            self._conn = conn
            self._pass(conn)

    def _launch(self) -> None:
        """Start the extensions, then the runtime, and wait until they are ready, or one has failed."""
        opt = str(self._work["opt_root"])
        for name, path in awsenv.extensions(opt):
            extension = self._extensions.launch(name)
            try:
                extension.pid = self._children.spawn([path], "extension")
            except OSError as error:
                self._fail("Extension.LaunchError", "fork/exec %s: %s" % (path, os.strerror(error.errno or 0).lower()))
                return
        command = self._command(opt)
        if not command:
            message = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
            self._fail("Runtime.InvalidEntrypoint", message)
            return
        threading.Thread(target=self._children.reap, args=(self._ended,), daemon=True).start()
        self._wait(lambda: self._extensions.registered)
        if self._failed:
            return
        try:
            with self._change:  # so that nobody asks which process it is before we know
                self._pid = self._children.spawn(command, "function")
        except OSError as error:
            if "program" in self._work:  # its wrapper, which a shell would not have found, or not have been allowed to run
                status = 127 if error.errno == errno.ENOENT else 126
                self._fail("Runtime.ExitError", "Runtime exited with error: exit status %d" % status)
            else:
                self._fail(
                    "Runtime.InvalidEntrypoint", "fork/exec %s: %s" % (command[0], os.strerror(error.errno or 0).lower())
                )
            return
        self._wait(lambda: self._ready and self._extensions.ready)

    def _command(self, opt: str) -> List[str]:
        """What runs the function; empty if there is nothing."""
        if "program" in self._work:
            wrapper = os.environ.get("AWS_LAMBDA_EXEC_WRAPPER")
            return ([wrapper] if wrapper else []) + list(self._work["program"])
        paths = (str(self._work["task_root"]) + "/bootstrap", opt + "/bootstrap")
        return [path for path in paths if os.path.isfile(path)][:1]

    def _wait(self, done: Any) -> None:
        with self._change:
            while not self._failed and not done():
                self._change.wait()

    def _accept(self) -> Optional[frames.Connection]:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return None
        return frames.Connection(sock)

    def _pass(self, conn: frames.Connection) -> None:
        """Hand the calls that come on this connection to the runtime."""
        parts: List[bytes] = []
        head: dict[str, Any] = {}
        stream = 0
        frame = conn.frame()
        while frame is not None:
            kind, number, payload = frame
            if kind & 0x7F == frames.STOP:
                self._end(json.loads(payload)["reason"])
            elif kind & 0x7F == frames.REQUEST:
                head, stream, parts = json.loads(payload), number, []
            elif number == stream and payload:
                parts.append(payload)
            if number == stream and kind & frames.END and head:
                self._begin(_Call(stream, head, b"".join(parts)))
                head = {}
            frame = conn.frame()

    def _begin(self, call: _Call) -> None:
        with self._change:
            self._thaw()
            while not self._extensions.at_rest:  # at work for the call before
                self._change.wait()
            self._count += 1
        self._children.mark(call.head["id"])
        self._tail.begin("tail" in call.told)
        call.tracing = {"type": "X-Amzn-Trace-Id", "value": awsenv.trace(call.head["id"], call.told)}
        self._telemetry.event("platform.start", {"requestId": call.id, "version": self._version, "tracing": call.tracing})
        event = {
            "eventType": "INVOKE",
            "deadlineMs": int(call.head["deadline"] * 1000),
            "requestId": call.id,
            "invokedFunctionArn": call.told.get("arn") or self._arn,
            "tracing": call.tracing,
        }
        with self._change:
            self._call = call
            self._extensions.tell(event)

    # --- standing still, and the end ----------------------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        return self._asks and (self._call is None or self._call.answered) and self._extensions.at_rest

    def _freeze(self, after: float) -> None:
        """Stop all other processes once nothing has happened for `after` seconds, until the next call."""
        while True:
            with self._change:
                while self._frozen or self._ending or not self._at_rest():
                    self._change.wait()
                count = self._count
            time.sleep(after)
            with self._change:
                if count == self._count and self._at_rest() and not self._ending and self._telemetry.hold():
                    self._frozen = True
                    os.kill(-1, signal.SIGSTOP)

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            os.kill(-1, signal.SIGCONT)
            self._telemetry.go()
            self._change.notify_all()

    def _ended(self, pid: int, status: int) -> None:
        """A child has ended. If it matters, so does the instance."""
        if pid == self._pid:
            self._gone.set()
            if self._ending:
                return
            self._children.drain()
            if not self._extensions.any and not self._failed:
                os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
            self._crash("Runtime.ExitError", ending(status))
            return
        for extension in self._extensions:
            if extension.pid == pid:
                with self._change:
                    extension.ended = True
                    self._change.notify_all()
                if not self._ending:
                    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
                    self._crash("Extension.Crash", "exit code %d" % code)

    def _extension_failed(self, kind: str, message: str) -> None:
        self._crash(kind, message)

    def _crash(self, kind: str, message: str) -> None:
        """Tell the gateway why this instance ends, and end it in order."""
        started = self._extensions.closed
        self._fail(kind, message)
        if not started:
            return  # whoever waits for the start hears of it
        call = self._call
        if call is not None and not call.answered:
            call.answered = True
            self._done(call, "failure", 0, kind)
        if self._conn is not None:
            assert self._failed is not None
            self._conn.send(frames.encode(frames.FAILED | frames.END, 0, pack(self._failed)))
        threading.Thread(target=self._end, args=("failure",), daemon=True).start()

    def _end(self, reason: str) -> None:
        """End this process and all others: the runtime first, then the extensions, as long as Lambda leaves them. Never returns,
        but to a second caller."""
        with self._change:
            if self._ending:
                return
            self._ending = True
            self._thaw()
        grace = self._extensions.grace_s
        until = time.monotonic() + grace
        call = self._call
        if call is not None and not call.answered:
            self._done(call, "timeout" if reason == "timeout" else "failure", 0)
        if self._pid and not self._gone.is_set():
            if reason == "spindown" and grace:
                os.kill(self._pid, signal.SIGTERM)
                self._gone.wait(min(TERM_S, grace))
            if not self._gone.is_set():
                os.kill(self._pid, signal.SIGKILL)
        with self._change:
            deadline = int((time.time() + until - time.monotonic()) * 1000)
            self._extensions.tell({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline})
        self._telemetry.close(max(0.0, (until - time.monotonic()) / 2))
        with self._change:
            waits = [extension for extension in self._extensions if "SHUTDOWN" in extension.events]
            while time.monotonic() < until and not all(extension.ended for extension in waits):
                self._change.wait(until - time.monotonic())
        self._children.drain()
        os._exit(0)

    # --- what the runtime and the extensions ask ------------------------------------------------------------------------

    def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == _V + "invocation/next" and exchange.method == "GET":
            self._next(exchange)
        elif path.startswith(_V + "invocation/") and exchange.method == "POST":
            self._outcome(exchange, *path[len(_V + "invocation/") :].partition("/")[::2])
        elif path == _V + "init/error" and exchange.method == "POST":
            self._init_error(exchange)
        elif path == "/2018-06-01/ping":
            exchange.reply(200, b"pong", kind="text/plain")
        elif not self._extensions.answer(exchange):
            exchange.refuse(404, "Runtime.UnknownPath", "there is no %s %s" % (exchange.method, path[:200]))

    def _next(self, exchange: Exchange) -> None:
        with self._change:
            self._ready = self._asks = True
            self._change.notify_all()
            while self._call is None or self._call.given:
                self._change.wait()
            call = self._call
            call.given = True
            self._asks = False
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", call.id),
            ("Lambda-Runtime-Deadline-Ms", str(int(call.head["deadline"] * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", call.told.get("arn") or self._arn),
            ("Lambda-Runtime-Trace-Id", call.tracing["value"]),
        ]
        for name, key in (("Client-Context", "context"), ("Cognito-Identity", "identity"), ("Aws-Tenant-Id", "tenant")):
            if call.told.get(key):
                headers.append(("Lambda-Runtime-" + name, call.told[key]))
        exchange.reply(200, call.body, headers)

    def _outcome(self, exchange: Exchange, identifier: str, what: str) -> None:
        call = self._call
        if call is None or call.id != identifier or call.answered:
            exchange.body()
            exchange.refuse(400, "InvalidRequestID", "Invalid request ID")
            return
        mode = exchange.headers.get("lambda-runtime-function-response-mode", "").lower()
        if what == "error":
            call.answered = True
            self._error(call, exchange.body(RESPONSE_LIMIT), exchange.headers.get("lambda-runtime-function-error-type", ""))
            exchange.reply(202, _OK)
        elif what != "response":
            exchange.refuse(404, "Runtime.UnknownPath", "there is no %s" % what[:200])
        elif mode not in ("", "streaming"):
            exchange.body()
            exchange.refuse(400, "InvalidFunctionResponseMode", "Invalid function response mode: " + mode[:64])
        elif mode:
            call.answered = True
            self._stream(call, exchange)
        else:
            call.answered = True
            body = exchange.body(RESPONSE_LIMIT)
            if len(body) > RESPONSE_LIMIT:
                message = "Response payload size exceeded maximum allowed payload size (%d bytes)." % RESPONSE_LIMIT
                self._error(
                    call, json.dumps({"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}).encode(), ""
                )
                exchange.refuse(
                    413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (%d bytes)." % RESPONSE_LIMIT
                )
                return
            self._send_answer(call, body)
            exchange.reply(202, _OK)

    def _send_answer(self, call: _Call, body: bytes) -> None:
        head = self._head(call)
        self._done(call, "success", len(body))
        if self._conn is not None:
            self._conn.send_answer(call.stream, json.dumps(head).encode("ascii"), body)

    def _head(self, call: _Call) -> dict[str, Any]:
        self._children.drain()
        return {**({"log": self._tail.text()} if self._tail.wanted else {}), **self._usage()}

    def _usage(self) -> dict[str, Any]:
        """Processor time of the runtime since its last answer, and its resident memory (proc(5), fields 14, 15 and 24)."""
        try:
            with open("/proc/%d/stat" % self._pid) as file:
                fields = file.read().rpartition(") ")[2].split()
        except OSError:
            return {}
        ticks = int(fields[11]) + int(fields[12])
        used, self._ticks = ticks - self._ticks, ticks
        self._rss_kb = int(fields[21]) * _PAGE_KB
        return {"cpu_us": max(0, used) * 1_000_000 // _TICK, "rss_kb": self._rss_kb}

    def _stream(self, call: _Call, exchange: Exchange) -> None:
        """Pass the answer on as it comes."""
        conn = self._conn
        if conn is None:
            return
        head: dict[str, Any] = {"headers": [["content-type", exchange.headers.get("content-type", "application/octet-stream")]]}
        pieces = exchange.pieces()
        first = b""
        if call.told.get("url") and exchange.headers.get("content-type") == httpserver.PRELUDE:
            head, first = httpserver.prelude(pieces)
        conn.send(frames.encode(frames.RESPONSE, call.stream, json.dumps(head).encode("ascii")))
        if first:
            conn.send_data(call.stream, first, False)
        size = len(first)
        for piece in pieces:
            conn.send_data(call.stream, piece, False)
            size += len(piece)
        broken = exchange.trailers.get("lambda-runtime-function-error-type")
        self._children.drain()
        self._done(call, "error" if broken else "success", size, broken or "")
        if broken:
            text = exchange.trailers.get("lambda-runtime-function-error-body", "")
            try:
                described = _described(base64.b64decode(text, validate=True), broken)
            except ValueError:
                described = {"type": broken[:256], "message": text}
            conn.send(frames.encode(frames.ERROR | frames.END, call.stream, pack(described)))
        else:
            conn.send(frames.encode(frames.DATA | frames.END, call.stream))
        exchange.reply(202, _OK)

    def _error(self, call: _Call, body: bytes, kind: str) -> None:
        described = _described(body, kind)
        described["payload"] = body.decode("utf-8", "replace")
        self._children.drain()
        if self._tail.wanted:
            described["log"] = self._tail.text()
        described.update(self._usage())
        self._done(call, "error", len(body), described["type"])
        if self._conn is not None:
            self._conn.send(frames.encode(frames.ERROR | frames.END, call.stream, pack(described)))

    def _init_error(self, exchange: Exchange) -> None:
        body = exchange.body(RESPONSE_LIMIT)
        exchange.reply(202, _OK)
        with self._change:
            self._failed = _described(body, exchange.headers.get("lambda-runtime-function-error-type", ""))
            self._failed["payload"] = body.decode("utf-8", "replace")
            self._change.notify_all()

    def _fail(self, kind: str, message: str) -> None:
        """Remember why this instance cannot be used; the first reason counts."""
        with self._change:
            self._failed = self._failed or {"type": kind, "message": message, "trace": []}
            self._change.notify_all()

    def _done(self, call: _Call, status: str, size: int, kind: str = "") -> None:
        """Tell subscribers how a call ended."""
        took = (time.perf_counter() - call.began) * 1000
        told: dict[str, Any] = {"requestId": call.id, "status": status, **({"errorType": kind} if kind else {})}
        metrics = {"durationMs": round(took, 3), "producedBytes": size}
        self._telemetry.event("platform.runtimeDone", {**told, "metrics": metrics, "tracing": call.tracing})
        report = awsenv.metrics(took, int(self._work["memory_mb"]), self._rss_kb)
        self._telemetry.event("platform.report", {**told, "metrics": report, "tracing": call.tracing})


def _described(body: bytes, kind: str) -> dict[str, Any]:
    """An error as the runtime posted it, for the gateway."""
    try:
        error = json.loads(body)
    except ValueError:
        error = None
    if not isinstance(error, dict):
        error = {}
    trace = error.get("stackTrace") or error.get("trace") or ()
    return {
        "type": str(error.get("errorType") or kind or "Runtime.Unknown")[:256],
        "message": str(error.get("errorMessage", "")),
        "trace": [str(line) for line in trace] if isinstance(trace, list) else [],
    }
