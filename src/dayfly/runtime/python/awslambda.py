"""The contract of AWS Lambda for Python: AWS's own runtime interface client (`awslambdaric`), unmodified, over our frames.

The client comes with a place for another transport: `bootstrap.run` takes a runtime client, whose few methods fetch the next call
and post its outcome. `FrameClient` is one that speaks to the gateway directly instead of HTTP to a Runtime API. All that user code
can notice (how the handler is found, the context, JSON of events and answers, the wording of errors, logging) is AWS's code.

`awslambdaric` is imported in the zygote, from the installation of the node. Inside a sandbox its files are out of reach, so all of it has
to be loaded by then. It needs Python 3.10 or later.

`work["options"]` holds: runtime (as Lambda calls it, python3.12), version, account, region, group (of logs), format (Text or JSON),
level. A call's `client` is a JSON object: arn (as the caller named the function), context, identity, trace, tenant, and tail, if the
caller wants the end of what the call prints.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import linecache
import os
import resource
import sys
import time

sys.modules["runtime_client"] = None  # type: ignore[assignment]  # AWS's own transport, with libcurl
import awslambdaric.bootstrap
import awslambdaric.lambda_literals
import awslambdaric.lambda_runtime_client
import awslambdaric.lambda_runtime_hooks_runner
import awslambdaric.lambda_runtime_log_utils
import awslambdaric.lambda_runtime_marshaller

del sys.modules["runtime_client"]

from . import awsenv, output, process, sdk
from .errors import pack
from .frames import DATA, END, ERROR, FAILED, READY, REQUEST, STOP, Connection, encode
from .lazyapi import LazyApi
from .orphans import Orphans


def _imported_for_json() -> Any:
    """Its `bootstrap` once more: which way it logs is decided while it is imported, by the environment."""
    spec = importlib.util.find_spec("awslambdaric.bootstrap")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    os.environ["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
    try:
        spec.loader.exec_module(made)
    finally:
        del os.environ["AWS_LAMBDA_LOG_FORMAT"]
    return made


_json_bootstrap = _imported_for_json()


def _remember_source(module: Any) -> None:
    """Tracebacks quote lines of it, and its file will be out of reach. Without a time, `linecache` does not ask the disk again."""
    lines = linecache.getlines(module.__file__)
    linecache.cache[module.__file__] = (sum(map(len, lines)), None, lines, module.__file__)


_remember_source(awslambdaric.bootstrap)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, NoReturn

RESPONSE_LIMIT = 6 * 1024 * 1024 + 100  # bytes, as Lambda counts
TAIL = 4096  # bytes of log that a caller can have
_SWEEP = 16  # calls from one collection of orphans to the next
_loads = json.JSONDecoder().decode


def main(work: dict[str, Any], listen_fd: int) -> NoReturn:
    """Run the function of `work` (see `worker.main`) until the process is killed. Never returns."""
    process.run("Lambda runtime", _serve, work, listen_fd, awsenv.environment)


def _serve(work: dict[str, Any], listener: socket.socket) -> int:
    sys.modules["dayfly_sdk"] = sdk
    opt = str(work["opt_root"])
    version = "python%d.%d" % sys.version_info[:2]
    sys.path[1:1] = ["%s/python/lib/%s/site-packages" % (opt, version), opt + "/python"]
    sys.path += work["deps_roots"]  # what AWS's runtimes bring along
    bootstrap = _json_bootstrap if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON" else awslambdaric.bootstrap
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL")
    bootstrap._AWS_LAMBDA_LOG_LEVEL = awslambdaric.lambda_runtime_log_utils._get_log_level_from_env_var(level)
    client = FrameClient(work, listener)
    os.register_at_fork(after_in_child=client.forked)
    try:
        bootstrap.run(str(work["handler"]), client)
    except _Gone:
        return 0
    return 1


class _Gone(Exception):
    """Nobody can ever call again."""


class FrameClient(awslambdaric.lambda_runtime_client.LambdaRuntimeClient):  # type: ignore[misc]
    """What `bootstrap.run` asks for calls and tells their outcome."""

    def __init__(self, work: dict[str, Any], listener: socket.socket) -> None:
        super().__init__(os.environ["AWS_LAMBDA_RUNTIME_API"])
        self.marshaller = awslambdaric.lambda_runtime_marshaller.LambdaMarshaller()  # which depends on the environment
        self._arn = "arn:aws:lambda:%s:%s:function:%s" % (
            os.environ["AWS_REGION"], work["options"].get("account", "000000000000"), work["function"],
        )  # fmt: skip
        self._tag = output.Tag()
        self._tail = output.Tail(TAIL)
        self._out, self._err = output.install(self._tag, self._tail)
        self._orphans = Orphans() if os.getpid() == 1 else None
        self._listener = listener
        self._conn: Connection | None = None
        self._stream = 0
        self._count = 0
        self._cpu = 0.0
        self._ready = b""
        self._started = time.perf_counter()
        self._api = LazyApi(work, lambda text: self._out.write(text))
        self._api.listen(os.environ["AWS_LAMBDA_RUNTIME_API"])
        self._began = 0.0  # the running call; for who subscribed to telemetry

    def wait_next_invocation(self) -> Any:
        """The next call. The first time it says that the function is loaded."""
        if not self._ready:
            stop = self._api.started()
            told = b'{"init_s":%.6f,"stop_s":%.1f}' if stop else b'{"init_s":%.6f}'
            took = time.perf_counter() - self._started
            self._ready = encode(READY, 0, told % ((took, stop) if stop else took))
            self._flush("")
            self._usage()
            gc.freeze()  # what is loaded stays: no collection looks at it again
        if self._api.live:
            self._api.rest()
        while True:
            call = self._receive(self._conn) if self._conn is not None else None
            if call is not None:
                return self._request(*call)
            self._conn = self._accept()
            self._conn.send(self._ready)

    def post_invocation_result(
        self, invoke_id: str, result_data: Any, content_type: str = "application/json", invocation_id: Any = None
    ) -> None:
        """The handler has returned; the data is JSON text, or bytes that the handler made."""
        data = result_data if isinstance(result_data, bytes) else result_data.encode("utf-8")
        if len(data) > RESPONSE_LIMIT:
            message = "Response payload size exceeded maximum allowed payload size (%d bytes)." % RESPONSE_LIMIT
            self._fail({"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"})
            return
        self._flush(self._tag.id)
        if self._began:
            self._done(len(data))
        fields = b"{"
        if content_type != "application/json":
            fields += b'"headers":[["content-type","application/octet-stream"]],'
        if self._tail.wanted:
            fields += b'"log":' + json.dumps(self._tail.text()).encode("ascii") + b","
        assert self._conn is not None
        self._conn.send_answer(self._stream, fields + self._usage(), data)

    def post_invocation_error(
        self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: Any = None
    ) -> None:
        """The handler has raised; the data is the error as Lambda words it, JSON text."""
        self._fail(json.loads(error_response_data), error_response_data)

    def post_init_error(self, error_response_data: dict[str, Any], error_type_override: Any = None) -> None:
        """The function cannot be loaded. The process ends after this."""
        self._flush("")
        described = self._described(error_response_data)
        conn = self._accept()
        conn.send(encode(FAILED | END, 0, pack(described)))
        conn.close()

    def restore_next(self) -> None:
        """Nothing is ever frozen into a snapshot here; whoever restores goes on at once."""

    def report_restore_error(self, restore_error_data: Any) -> None:
        self.post_init_error(restore_error_data)

    def forked(self) -> None:
        """In a process that user code forked: it must not answer in its parent's name; it ends where it would."""
        self._out.unlock()
        self._err.unlock()
        Connection.send = Connection.fill = _end_child  # type: ignore[assignment, method-assign]

    def _accept(self) -> Connection:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            raise _Gone from None
        return Connection(sock)

    def _receive(self, conn: Connection) -> tuple[dict[str, Any], bytes] | None:
        """Head and body of a call; None if the gateway has gone."""
        frame = conn.frame()
        while frame is not None:
            kind, stream, payload = frame
            if kind & 0x7F == REQUEST:
                self._stream = stream
                parts: list[bytes] = []
                while not kind & END:
                    frame = conn.frame()
                    if frame is None:
                        return None
                    kind = frame[0]
                    if frame[1] == stream and kind & 0x7F == DATA:
                        parts.append(frame[2])
                return _loads(payload.decode("utf-8")), parts[0] if len(parts) == 1 else b"".join(parts)
            if kind == STOP:
                self._api.stop()
            frame = conn.frame()  # what was left of an earlier call
        return None

    def _request(self, head: dict[str, Any], body: bytes) -> Any:
        name = head["id"]
        told = _loads(head["client"]) if "client" in head else {}
        self._tag.id = name
        self._tail.begin("tail" in told)
        request = awslambdaric.lambda_runtime_client.InvocationRequest(
            invoke_id="%s-%s-%s-%s-%s" % (name[:8], name[8:12], name[12:16], name[16:20], name[20:]),
            x_amzn_trace_id=told.get("trace") or "Root=1-%s-%s;Parent=%s;Sampled=0" % (name[:8], name[8:], name[8:24]),
            invoked_function_arn=told.get("arn") or self._arn,
            deadline_time_in_ms=int(head["deadline"] * 1000),
            client_context=told.get("context"),
            cognito_identity=told.get("identity"),
            tenant_id=told.get("tenant"),
            content_type="application/json",
            event_body=body,
            invocation_id=None,
        )
        if self._api.live:
            if self._tail.listener is None:
                self._tail.listen(lambda data: self._api.telemetry.lines("function", data))
            self._began = time.perf_counter()
            self._api.begin(request)
        return request

    def _done(self, size: int, kind: str = "") -> None:
        """For who subscribed to telemetry."""
        took = (time.perf_counter() - self._began) * 1000
        rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._api.done(awsenv.request_id(self._tag.id), took, size, rss_kb, kind)

    def _fail(self, error: dict[str, Any], payload: str = "") -> None:
        self._flush(self._tag.id)
        described = self._described(error)
        if self._began:
            self._done(0, described["type"])
        described["payload"] = payload or json.dumps(error)
        if self._tail.wanted:
            described["log"] = self._tail.text()
        described.update(json.loads(b"{" + self._usage()))
        assert self._conn is not None
        self._conn.send(encode(ERROR | END, self._stream, pack(described)))

    def _described(self, error: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": str(error.get("errorType", ""))[:256] or "Error",
            "message": str(error.get("errorMessage", "")),
            "trace": [str(line) for line in error.get("stackTrace") or ()],
        }

    def _flush(self, ident: str) -> None:
        if self._out.partial or self._err.partial:
            self._out.finish(ident)
            self._err.finish(ident)

    def _usage(self) -> bytes:
        """End of a response head (see `call.Calls.usage`)."""
        self._count += 1
        if self._orphans is not None and not self._count % _SWEEP:
            self._orphans.sweep()
        now = resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime
        used, self._cpu = cpu - self._cpu, cpu
        return b'"cpu_us":%d,"rss_kb":%d}' % (used * 1e6 if used > 0 else 0, now.ru_maxrss)


def _end_child(*_: Any) -> NoReturn:
    os._exit(0)
