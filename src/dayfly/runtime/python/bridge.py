"""The runtime `provided`: any program that serves HTTP on $PORT, behind our frames.

The package holds an executable `bootstrap`. We start it, wait until it takes connections, and from then on each call is one HTTP/1.1
request over a connection that is kept: an HTTP call as it came (path rest, query, headers), an event as `POST /` with its JSON. Both
bodies pass in pieces. `Dayfly-Invocation-Id` and `Dayfly-Deadline` (seconds since the epoch) go along.

In a sandbox this process is number 1: the network is the instance's own, so the port is always 8080, and orphans are ours to
reap. Without isolation a free port is taken, and the program stays in our process group, which is what the node kills. When the
program ends, so does the instance.

What the program prints goes to the log directly. With one call at a time, the call's marker is written before its request, so
every line is tagged; with several nobody can tell whose a line is, and none is.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import sys
import threading
import time

from . import errors, frames, http1, process
from .call import cancelled_frame
from .threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .contract import Rest

PORT = 8080
_RETRY = 0.001  # seconds until the second attempt to connect; doubles
_RETRY_LIMIT = 0.05  # seconds
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def main(work: dict[str, Any], listen_fd: int) -> NoReturn:
    """Run the program of `work` (see `worker.main`) until the process is killed. Never returns."""
    process.run("bridge", _serve, work, listen_fd)


def _serve(work: dict[str, Any], listener: socket.socket) -> int:
    port = PORT if os.getpid() == 1 else _free_port()
    limit = int(work.get("concurrency") or 1)
    started = time.perf_counter()
    try:
        pid = _start(os.path.join(str(work["task_root"]), "bootstrap"), port)
        address = _wait(pid, port, started + float(work.get("init_timeout_s") or 10.0))
    except errors.LoadFailed as error:
        return _report_failure(listener, error, str(work["task_root"]))
    ready = frames.encode(frames.READY, 0, b'{"init_s":%.6f}' % (time.perf_counter() - started))
    threading.Thread(target=_reap, args=(pid,), daemon=True).start()
    exchanges = Exchanges(address, pid, tagged=limit == 1)
    gc.freeze()
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return 0
        conn = frames.Connection(sock)
        conn.send(ready)
        Threads(exchanges, limit).serve(conn)
        conn.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(path: str, port: int) -> int:
    """The program's process id. Raises LoadFailed."""
    if not os.path.isfile(path):
        raise errors.LoadFailed(
            "the package has no file `bootstrap` at its top: the program to run, which serves HTTP on $PORT"
        )
    if not os.access(path, os.X_OK):
        raise errors.LoadFailed("`bootstrap` is not executable; run: chmod +x bootstrap", path)
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # that Python ignores, and a child would
    try:
        return os.posix_spawn(path, [path], dict(os.environ, PORT=str(port)), setsigdef=ignored)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.ENOEXEC:
            reason = "it is neither a program for this machine nor a script that begins with #!"
        elif error.errno == errno.ENOENT:
            reason = "its interpreter (the #! line) or loader does not exist here"
        raise errors.LoadFailed(f"`bootstrap` does not start: {reason}", path) from None


def _wait(pid: int, port: int, deadline: float) -> tuple[str, int]:
    """Where the program listens. Raises LoadFailed if it ends, or does not listen in time.

    A foreign server tells nobody that it is ready; to try is the only way to find out.
    """
    pause = _RETRY
    while True:
        for host in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((host, port)).close()
                return host, port
            except OSError:
                pass
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == pid:
                raise errors.LoadFailed(f"`bootstrap` {_how(status)} before it listened on port {port} ($PORT)")
            if not ended:
                break
        if time.perf_counter() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise errors.LoadFailed(f"`bootstrap` does not listen on port {port} ($PORT) in the time it has to start")
        time.sleep(pause)
        pause = min(2 * pause, _RETRY_LIMIT)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by signal {os.WTERMSIG(status)}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def _reap(pid: int) -> None:
    """Collect every child; end with the program."""
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(1)
        if ended == pid:
            os.write(2, f"`bootstrap` {_how(status)}: this instance ends\n".encode())
            os._exit(1)


def _report_failure(listener: socket.socket, error: errors.LoadFailed, root: str) -> int:
    described = errors.describe_load(error, root)
    os.write(2, errors.log_text(described).encode("utf-8", "replace"))
    sock, _ = listener.accept()
    frames.Connection(sock).send(frames.encode(frames.FAILED | frames.END, 0, errors.pack(described)))
    return 1


class Exchanges:
    """Turns calls into HTTP requests. Connections are kept for the next call."""

    def __init__(self, address: tuple[str, int], pid: int, tagged: bool) -> None:
        self._address = address
        self._host = f"{address[0]}:{address[1]}" if ":" not in address[0] else f"[{address[0]}]:{address[1]}"
        self._tagged = tagged
        self._idle: list[http1.Client] = []
        self._busy: dict[int, http1.Client] = {}
        self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC) if sys.platform == "linux" else -1
        self._ticks = 0

    def run(
        self, conn: frames.Connection, stream: int, head: dict[str, Any], body: bytes, rest: Rest, wait: Callable[[Any], Any]
    ) -> None:
        """One call from head to answer, in this thread."""
        if self._tagged:
            marker = b"\x1e" + head["id"].encode("ascii") + b"\n"
            os.write(1, marker)
            os.write(2, marker)
        client = None
        try:
            client = self._busy[stream] = self._connect()
            self._exchange(client, conn, stream, head, body, rest)
        except (OSError, http1.BadServer) as error:
            if stream not in self._busy:
                conn.send(cancelled_frame(stream))
            else:
                message = f"the server on $PORT failed: {error}"
                conn.send(frames.encode(frames.REFUSED | frames.END, stream, json.dumps({"message": message}).encode()))
            if client is not None:
                client.close()
        else:
            if client.reusable:
                self._idle.append(client)
            else:
                client.close()
        finally:
            self._busy.pop(stream, None)

    def cancel(self, stream: int) -> None:
        """Break the connection off: that is how an HTTP server learns that nobody waits any more."""
        client = self._busy.pop(stream, None)
        if client is not None:
            client.abort()

    def _connect(self) -> http1.Client:
        while self._idle:
            client = self._idle.pop()
            if client.alive():
                return client
            client.close()
        return http1.Client(self._address)

    def _exchange(
        self, client: http1.Client, conn: frames.Connection, stream: int, head: dict[str, Any], body: bytes, rest: Rest
    ) -> None:
        http = head.get("http")
        if http is None:
            body += b"".join(iter(rest, b"")) if rest is not None else b""
            rest = None
            http = {"method": "POST", "path": "/", "query": "", "headers": [("content-type", "application/json")]}
        method = http["method"]
        target = (http["path"] or "/") + ("?" + http["query"] if http["query"] else "")
        headers, chunked = self._headers(http["headers"], head, len(body) if rest is None else None, method)
        client.send(method, target, headers, body)
        sender = None
        if rest is not None:
            sender = threading.Thread(target=_send_rest, args=(client, rest, chunked), daemon=True)
            sender.start()
        answer = client.response(method)
        payload = json.dumps({"status": answer.status, "headers": answer.headers, **self._usage()}).encode("ascii")
        if len(payload) > errors.PAYLOAD_LIMIT:
            raise http1.BadServer("the headers of its answer are too long")
        conn.send(frames.encode(frames.RESPONSE, stream, payload))
        for piece in answer.pieces:
            conn.send_data(stream, piece, False)
        if sender is not None and sender.is_alive():  # it answered before it had the whole request: the two are out of step
            client.reusable = False
        conn.send(frames.encode(frames.DATA | frames.END, stream))

    def _headers(self, given: Any, head: dict[str, Any], length: int | None, method: str) -> tuple[list[tuple[str, str]], bool]:
        """Headers of the request, and whether its body is chunked. `length` is None while the body still comes."""
        headers = [("host", self._host)]
        chunked = length is None
        for name, value in given:
            if name == "host":
                headers[0] = (name, value)
            elif name == "content-length":
                if length is None:
                    headers.append((name, value))
                    chunked = False
            elif name not in http1.HOP_BY_HOP and name not in ("expect", "dayfly-invocation-id", "dayfly-deadline"):
                headers.append((name, value))
        if chunked:
            headers.append(("transfer-encoding", "chunked"))
        elif length or (length == 0 and method in ("POST", "PUT", "PATCH")):
            headers.append(("content-length", str(length)))
        headers.append(("dayfly-invocation-id", head["id"]))
        headers.append(("dayfly-deadline", f"{head['deadline']:.3f}"))
        if head.get("trace") and not any(name == "traceparent" for name, _ in headers):
            headers.append(("traceparent", head["trace"]))
        return headers, chunked

    def _usage(self) -> dict[str, int]:
        """Processor time of the program since the last answer, and its resident memory (proc(5), fields 14, 15 and 24)."""
        if self._stat < 0:
            return {}
        try:
            fields = os.pread(self._stat, 1024, 0).rpartition(b") ")[2].split()
        except OSError:
            return {}
        ticks = int(fields[11]) + int(fields[12])
        used, self._ticks = ticks - self._ticks, ticks
        return {"cpu_us": max(0, used) * 1_000_000 // _TICK, "rss_kb": int(fields[21]) * _PAGE_KB}


def _send_rest(client: http1.Client, rest: Callable[[], bytes], chunked: bool) -> None:
    """Pass on what follows of a request's body, while the answer may already come."""
    try:
        for piece in iter(rest, b""):
            if chunked:
                client.send_chunk(piece)
            else:
                client.sock.sendall(piece)
        if chunked:
            client.send_chunk(b"")
    except OSError:
        client.abort()  # whoever reads the answer notices
