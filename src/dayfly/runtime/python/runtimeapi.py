"""The contract of AWS Lambda for any program: a `bootstrap` that pulls its calls from the Runtime API.

This process, number 1 of the sandbox, is the Runtime API on the loopback of the instance's own network, and the end of the
gateway's frames. What the program prints comes through a pipe of ours, so that each line is tagged with its call, and a caller
can have the end of it.

Wire: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, and for extensions .../runtimes-extensions-api.html
(register, next, errors). Bodies are HTTP/1.1, sized or chunked.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import threading
import time
import uuid

from . import awsenv, frames, httpserver, process
from .errors import pack
from .output import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional

    from .httpserver import Exchange

PORT = 9001
RESPONSE_LIMIT = 6 * 1024 * 1024 + 100  # bytes, as Lambda counts
TAIL = 4096  # bytes of log that a caller can have
ACCOUNT = "000000000000"
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_OK = b'{"status":"OK"}'
_V = "/2018-06-01/runtime/"
_X = "/2020-01-01/extension/"


def main(work: dict[str, Any], listen_fd: int) -> NoReturn:
    """Run the `bootstrap` of `work` (see `worker.main`) until the process is killed. Never returns."""
    port = PORT if os.getpid() == 1 else _free_port()
    address = "127.0.0.1:%d" % port
    process.run(
        "Runtime API",
        lambda task, listener: RuntimeApi(task, listener, port).serve(),
        work,
        listen_fd,
        lambda task: awsenv.environment(task, address),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Call:
    """One call on its way through the runtime."""

    def __init__(self, stream: int, head: dict[str, Any], body: bytes) -> None:
        self.stream = stream
        self.head = head
        self.body = body
        self.told = json.loads(head["client"]) if "client" in head else {}
        name = head["id"]
        self.id = "%s-%s-%s-%s-%s" % (name[:8], name[8:12], name[12:16], name[16:20], name[20:])
        self.given = False
        self.answered = False


class _Extension:
    def __init__(self, name: str, events: List[str]) -> None:
        self.name = name
        self.events = events
        self.waits = False  # for an event: it is ready
        self.inbox: List[bytes] = []


class RuntimeApi:
    """One runtime, its extensions, and the gateway."""

    def __init__(self, work: dict[str, Any], listener: socket.socket, port: int) -> None:
        self._work = work
        self._listener = listener
        self._port = port
        self._change = threading.Condition()
        self._call: Optional[_Call] = None
        self._ready = False  # the runtime has asked for its first call
        self._failed: Optional[dict[str, Any]] = None
        self._conn: Optional[frames.Connection] = None
        self._extensions: Dict[str, _Extension] = {}
        self._external: List[str] = []  # names of those that must register before the first call
        self._arn = "arn:aws:lambda:%s:%s:function:%s" % (
            os.environ["AWS_REGION"], work["options"].get("account", ACCOUNT), work["function"],
        )  # fmt: skip
        self._tail = Tail(TAIL)
        self._printed, self._theirs = os.pipe()
        os.set_inheritable(self._theirs, True)
        self._marked = ""
        self._pid = 0  # of the runtime
        self._ticks = 0  # of processor time, that it had used at its last answer
        self._log_lock = threading.Lock()

    def serve(self) -> int:
        """Until the gateway's listener or the runtime is gone."""
        started = time.perf_counter()
        server = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._print, daemon=True).start()
        threading.Thread(target=httpserver.accept, args=(server, self._answer), daemon=True).start()
        opt = str(self._work["opt_root"])
        folder = os.path.join(opt, "extensions")
        if os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                self._external.append(name)
                self._spawn(os.path.join(folder, name))
        root = str(self._work["task_root"])
        paths = [path for path in (root + "/bootstrap", opt + "/bootstrap") if os.path.isfile(path)]
        if not paths:
            self._fail("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
        else:
            self._pid = self._spawn(paths[0])
        if self._pid:
            threading.Thread(target=self._reap, args=(self._pid,), daemon=True).start()
        with self._change:
            while not self._failed and not self._loaded():
                self._change.wait()
        if self._failed:
            conn = self._accept()
            if conn is not None:
                conn.send(frames.encode(frames.FAILED | frames.END, 0, pack(self._failed)))
            return 1
        ready = frames.encode(frames.READY, 0, b'{"init_s":%.6f}' % (time.perf_counter() - started))
        gc.freeze()
        while True:
            conn = self._accept()
            if conn is None:
                return 0
            conn.send(ready)
            self._conn = conn
            self._pass(conn)

    def _loaded(self) -> bool:
        registered = {extension.name for extension in self._extensions.values() if extension.waits}
        return self._ready and registered.issuperset(self._external)

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
            if kind & 0x7F == frames.REQUEST:
                head, stream, parts = json.loads(payload), number, []
            elif number == stream and payload:
                parts.append(payload)
            if number == stream and kind & frames.END and head:
                self._begin(_Call(stream, head, b"".join(parts)))
                head = {}
            frame = conn.frame()

    def _begin(self, call: _Call) -> None:
        self._mark(call.head["id"])
        self._tail.begin("tail" in call.told)
        event = json.dumps(
            {
                "eventType": "INVOKE",
                "deadlineMs": int(call.head["deadline"] * 1000),
                "requestId": call.id,
                "invokedFunctionArn": call.told.get("arn") or self._arn,
                "tracing": {"type": "X-Amzn-Trace-Id", "value": self._trace(call)},
            }
        ).encode()
        with self._change:
            self._call = call
            for extension in self._extensions.values():
                if "INVOKE" in extension.events:
                    extension.inbox.append(event)
            self._change.notify_all()

    def _trace(self, call: _Call) -> str:
        name = call.head["id"]
        return call.told.get("trace") or "Root=1-%s-%s;Parent=%s;Sampled=0" % (name[:8], name[8:], name[8:24])

    # --- what the runtime and the extensions ask ------------------------------------------------------------------------

    def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == _V + "invocation/next" and exchange.method == "GET":
            self._next(exchange)
        elif path.startswith(_V + "invocation/") and exchange.method == "POST":
            self._outcome(exchange, *path[len(_V + "invocation/") :].partition("/")[::2])
        elif path == _V + "init/error" and exchange.method == "POST":
            self._init_error(exchange)
        elif path == _X + "register" and exchange.method == "POST":
            self._register(exchange)
        elif path == _X + "event/next" and exchange.method == "GET":
            self._next_event(exchange)
        elif path in (_X + "init/error", _X + "exit/error") and exchange.method == "POST":
            exchange.body()
            exchange.reply(202, _OK)
            os._exit(1)
        elif path == "/2018-06-01/ping":
            exchange.reply(200, b"pong", kind="text/plain")
        else:
            exchange.refuse(404, "Runtime.UnknownPath", "there is no %s %s" % (exchange.method, path[:200]))

    def _next(self, exchange: Exchange) -> None:
        with self._change:
            self._ready = True
            self._change.notify_all()
            while self._call is None or self._call.given:
                self._change.wait()
            call = self._call
            call.given = True
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", call.id),
            ("Lambda-Runtime-Deadline-Ms", str(int(call.head["deadline"] * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", call.told.get("arn") or self._arn),
            ("Lambda-Runtime-Trace-Id", self._trace(call)),
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
        if what == "error":
            call.answered = True
            self._error(call, exchange.body(RESPONSE_LIMIT), exchange.headers.get("lambda-runtime-function-error-type", ""))
            exchange.reply(202, _OK)
        elif what != "response":
            exchange.refuse(404, "Runtime.UnknownPath", "there is no %s" % what[:200])
        elif exchange.headers.get("lambda-runtime-function-response-mode", "").lower() == "streaming":
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
        if self._conn is not None:
            self._conn.send_answer(call.stream, json.dumps(head).encode("ascii"), body)

    def _head(self, call: _Call) -> dict[str, Any]:
        self._drain()
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
        return {"cpu_us": max(0, used) * 1_000_000 // _TICK, "rss_kb": int(fields[21]) * _PAGE_KB}

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
        for piece in pieces:
            conn.send_data(call.stream, piece, False)
        broken = exchange.trailers.get("lambda-runtime-function-error-type")
        if broken:
            described = {"type": broken[:256], "message": exchange.trailers.get("lambda-runtime-function-error-body", "")}
            conn.send(frames.encode(frames.ERROR | frames.END, call.stream, pack(described)))
        else:
            conn.send(frames.encode(frames.DATA | frames.END, call.stream))
        exchange.reply(202, _OK)

    def _error(self, call: _Call, body: bytes, kind: str) -> None:
        described = _described(body, kind)
        described["payload"] = body.decode("utf-8", "replace")
        self._drain()
        if self._tail.wanted:
            described["log"] = self._tail.text()
        described.update(self._usage())
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
        self._failed = {"type": kind, "message": message, "trace": []}

    def _register(self, exchange: Exchange) -> None:
        name = exchange.headers.get("lambda-extension-name", "")
        try:
            events = json.loads(exchange.body(65536) or b"{}").get("events", [])
        except ValueError:
            events = []
        identifier = str(uuid.uuid4())
        with self._change:
            self._extensions[identifier] = _Extension(name, events)
        told = {
            "functionName": self._work["function"],
            "functionVersion": self._work["options"].get("version", "$LATEST"),
            "handler": self._work["handler"],
        }
        if "accountId" in exchange.headers.get("lambda-extension-accept-feature", ""):
            told["accountId"] = self._work["options"].get("account", ACCOUNT)
        exchange.reply(200, json.dumps(told).encode(), [("Lambda-Extension-Identifier", identifier)])

    def _next_event(self, exchange: Exchange) -> None:
        extension = self._extensions.get(exchange.headers.get("lambda-extension-identifier", ""))
        if extension is None:
            exchange.refuse(403, "Extension.UnknownExtensionIdentifier", "Unknown extension identifier")
            return
        with self._change:
            extension.waits = True
            self._change.notify_all()
            while not extension.inbox:
                self._change.wait()
            event = extension.inbox.pop(0)
        exchange.reply(200, event, [("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))])

    # --- processes and what they print ------------------------------------------------------------------------------------

    def _spawn(self, path: str) -> int:
        """The process id of a program; 0 if it does not start, and then why is `_failed`."""
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # that Python ignores, and a child would
        files = [(os.POSIX_SPAWN_DUP2, self._theirs, 1), (os.POSIX_SPAWN_DUP2, self._theirs, 2)]
        try:
            return os.posix_spawn(path, [path], dict(os.environ), file_actions=files, setsigdef=ignored)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                try:
                    return os.posix_spawn("/bin/sh", ["/bin/sh", path], dict(os.environ), file_actions=files, setsigdef=ignored)
                except OSError:
                    pass
            self._fail("Runtime.InvalidEntrypoint", "fork/exec %s: %s" % (path, os.strerror(error.errno or 0).lower()))
            return 0

    def _reap(self, pid: int) -> None:
        """Collect every child; end as the runtime ends."""
        while True:
            try:
                ended, status = os.waitpid(-1, 0)
            except ChildProcessError:
                os._exit(1)
            if ended == pid and not self._failed:
                self._drain()
                os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))

    def _mark(self, name: str) -> None:
        """What is printed from now on is this call's."""
        self._drain()
        with self._log_lock:
            if name != self._marked:
                self._marked = name
                os.write(1, b"\x1e" + name.encode("ascii") + b"\n")

    def _print(self) -> None:
        while True:
            try:
                data = os.read(self._printed, 65536)
            except OSError:
                return
            self._put(data)

    def _put(self, data: bytes) -> None:
        with self._log_lock:
            if self._tail.wanted:
                self._tail.add(data)
            os.write(1, data)

    def _drain(self) -> None:
        """Bring out what was printed so far: it was written before what we just heard."""
        os.set_blocking(self._printed, False)
        try:
            while True:
                self._put(os.read(self._printed, 65536))
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(self._printed, True)


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
