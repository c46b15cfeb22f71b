"""The process inside a sandbox that runs one Python function.

Layout. This folder is a private package: whoever starts us (the zygote, `worker_main.py`) makes it importable as `dayfly_runtime` without
putting it on `sys.path`, and all modules here import each other relatively. So a user's `errors.py`, `context.py` or `output.py` never
meets ours:

    package = type(sys)("dayfly_runtime"); package.__path__ = [FOLDER]; sys.modules["dayfly_runtime"] = package
    import dayfly_runtime.worker                       # before the fork, once: everything below comes with it
    dayfly_runtime.worker.main(work, listen_fd)        # in the child, after the jail; never returns

`main` needs no file of ours any more: after the jail this folder may be out of reach. `work` is a dict: id, namespace, function,
revision, runtime, handler, flavour, contract, concurrency, memory_mb, timeout_s, env, task_root, deps_roots, tmp. `listen_fd` is
a Unix stream socket that listens; the gateway connects to it, and again after it was restarted.

Life: settle (environment, randomness, paths) -> load user code, measured -> accept -> READY -> calls, until the gateway goes -> accept.
If loading fails: accept -> FAILED -> exit status 1. Standard output and error are file descriptors 1 and 2.

The loop for one call at a time is blocking: one receive, the handler, one send. Nothing else runs, so nothing is locked or scheduled.
"""

from __future__ import annotations

import asyncio  # before the fork: it costs a fork 0.1 ms, and the first call of an async handler 30 ms
import gc
import os
import socket
import sys
import time

from . import output, process, sdk
from .call import Calls
from .contract import load
from .errors import describe_load, log_text, pack
from .frames import DATA, END, FAILED, READY, REQUEST, Connection, encode, loads
from .tasks import Tasks
from .threads import BROKEN_OFF, ContextTag, Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, NoReturn

    from .contract import Entry


def main(work: dict[str, Any], listen_fd: int) -> NoReturn:
    """Run the function described by `work` until the process is killed. Never returns."""
    process.run("runtime", _serve, work, listen_fd)


def _serve(work: dict[str, Any], listener: socket.socket) -> int:
    sys.modules["dayfly_sdk"] = sdk
    limit = int(work.get("concurrency") or 1)
    tag = output.Tag() if limit == 1 else ContextTag()
    out, err = output.install(tag)
    root = str(work["task_root"])
    started = time.perf_counter()
    try:
        entry = load(work)
    except BaseException as error:
        return _report_failure(listener, error, root, err)
    ahead = Solo.AHEAD if limit == 1 else 0
    ready = encode(READY, 0, b'{"init_s":%.6f,"ahead":%d}' % (time.perf_counter() - started, ahead))
    out.finish("")
    err.finish("")
    calls = Calls(entry, root, out, err)
    gc.freeze()  # what is loaded stays: no collection looks at it again
    os.register_at_fork(after_in_child=lambda: _forked(out, err))
    serve = _server(entry, calls, tag, limit)
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return 0  # the listener is gone: nobody can ever call again
        conn = Connection(sock)
        conn.send(ready)
        serve(conn)
        conn.close()


def _server(entry: Entry, calls: Calls, tag: output.Tag, limit: int) -> Callable[[Connection], None]:
    if limit == 1:
        return Solo(calls, tag).serve
    if entry.is_async:
        return Tasks(calls).serve
    return Threads(calls, limit).serve


def _report_failure(listener: socket.socket, error: BaseException, root: str, err: output.Writer) -> int:
    described = describe_load(error, root)
    err.write(log_text(described))
    try:
        sock, _ = listener.accept()
        Connection(sock).send(encode(FAILED | END, 0, pack(described)))
        sock.close()
    except OSError:
        pass
    return 1


def _forked(out: output.Writer, err: output.Writer) -> None:
    """A process that user code forked must not answer in its parent's name: it ends where it would."""
    out.unlock()
    err.unlock()
    Connection.send = Connection.fill = _end_child  # type: ignore[assignment, method-assign]


def _end_child(*_: Any) -> NoReturn:
    os._exit(0)


class Solo:
    """One call at a time, in order. What comes meanwhile waits in the socket."""

    AHEAD = 3  # calls that may wait there: more would not be quicker

    def __init__(self, calls: Calls, tag: output.Tag) -> None:
        self._calls = calls
        self._tag = tag
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve(self, conn: Connection) -> None:
        """Answer calls until the gateway goes."""
        run, tag, wait = self._calls.run, self._tag, self._wait
        while True:
            frame = conn.frame()
            if frame is None:
                return
            kind, stream, payload = frame
            if kind & 0x7F != REQUEST:
                continue  # what was left of an earlier call's body, or its cancellation
            head = loads(payload)
            tag.id = head["id"]
            body, rest = b"", None
            if not kind & END:
                more = conn.take()  # most bodies came along with the head
                if more is not None and more[0] == DATA | END and more[1] == stream:
                    body = more[2]
                else:
                    rest = _rest(conn, stream, more)
            run(conn, stream, head, body, rest, wait)

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run an awaitable on a loop that lasts as long as the instance, so that clients bound to a loop can be kept."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(awaitable)


def _rest(conn: Connection, stream: int, first: tuple[int, int, bytes] | None) -> Callable[[], bytes]:
    """Reads the body of a call piece by piece, straight from the connection; b"" at its end.

    Raises ConnectionResetError if it breaks off: half a body must not pass for a whole one.
    """
    state = [first]
    done = False

    def rest() -> bytes:
        nonlocal done
        while not done:
            frame = state.pop() if state else None
            if frame is None:
                frame = conn.frame()
            if frame is None:
                raise ConnectionResetError(BROKEN_OFF)
            kind, number, data = frame
            if number != stream:
                continue
            if kind & 0x7F != DATA:
                raise ConnectionResetError(BROKEN_OFF)
            done = kind & END != 0
            if data:
                return data
        return b""

    return rest
