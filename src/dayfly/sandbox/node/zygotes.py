"""The agent's side of a zygote (see `runtime/python/zygote.py`, which explains the conversation).

A zygote is started with the first instance that needs it. What is asked of it before it is up waits in its socket. If it dies, its
instances die with it and are reported, and the next start makes a new zygote.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .interpreters import Interpreter
from .messages import MalformedMessage, Splitter
from .plans import PATH

SCRIPT = Path(__file__).resolve().parents[2] / "runtime" / "python" / "zygote.py"
ENV = {"PATH": PATH, "LANG": "C.UTF-8"}


class Ended(Struct, frozen=True):
    """How a child ended. `status` as of wait(2)."""

    status: int
    cpu_us: int = 0
    peak_kb: int = 0


class Child(Struct):
    """What one start asks for, and whom to tell. Exactly one of `on_ended` and `on_failed` is called, in the end."""

    id: str
    on_ended: Callable[[Ended], None]
    on_failed: Callable[[str], None]
    pid: int = 0  # 0: not forked yet


class _Report(Struct):
    id: str
    pid: int = 0
    error: str = ""
    status: int = -1
    cpu_us: int = 0
    peak_kb: int = 0


_decode = msgspec.json.Decoder(_Report).decode


class Zygote:
    """One running zygote. `modules`: what of the runtime its children need.

    `on_lost` is called once, when it is gone and all its children have been reported.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        template: Mapping[str, Any] | None,
        modules: Sequence[str],
        on_lost: Callable[[Zygote], None],
    ) -> None:
        self.interpreter = interpreter
        self._on_lost = on_lost
        self._children: dict[str, Child] = {}
        self._splitter = Splitter()
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [interpreter.executable, "-I", "-S", "-B", str(SCRIPT), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=ENV,
                cwd="/",
                umask=0o022,  # functions must be able to look into what the zygote makes for them
                start_new_session=True,  # a ^C at the terminal is for the server alone
            )
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)
        path = list(interpreter.path)
        self._send({"op": "open", "template": template, "modules": list(modules), "path": path}, [])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether it has children."""
        return bool(self._children)

    def start(
        self,
        child: Child,
        *,
        kind: str,
        plan: Mapping[str, Any] | None,
        work: bytes,
        fds: Sequence[int],
        network_fds: Sequence[int] = (),
        input_fds: Sequence[int] = (),
    ) -> None:
        """Fork one child. `fds`: listening socket, stdout, stderr, then cgroups; at most one of each more: a network namespace
        made for it, its input. All are closed here once they are sent."""
        self._children[child.id] = child
        message = {"op": "start", "id": child.id, "kind": kind, "cgroups": len(fds) - 3, "networks": len(network_fds)}
        given = b'{"plan":%s,"task":%s}' % (msgspec.json.encode(plan), work)
        self._send(message, [_work_file(given), *fds, *network_fds, *input_fds])

    def graft(self, identifier: str, *, binds: Sequence[Sequence[str]], hostname: str, work: bytes, input_fd: int) -> None:
        """Give a child that waits for it its package and its work. `input_fd`: its input, closed here once it is sent."""
        given = {"binds": binds, "hostname": hostname, "input": work.decode()}
        self._send({"op": "graft", "id": identifier}, [_work_file(msgspec.json.encode(given)), input_fd])

    def kill(self, identifier: str) -> None:
        """SIGKILL to a child, and without a jail to its process group. Nothing happens if it has ended."""
        if identifier in self._children:
            self._send({"op": "kill", "id": identifier}, [])

    async def close(self) -> None:
        """End the zygote; its children end with it."""
        if self._process.returncode is None:
            self._socket.shutdown(socket.SHUT_WR)  # it sees the end of the conversation and leaves
            await self._loop.run_in_executor(None, self._process.wait)

    def _send(self, message: Mapping[str, Any], fds: list[int]) -> None:
        data = msgspec.json.encode(message)
        self._out.append((memoryview(struct.pack("<I", len(data)) + data), fds))
        if len(self._out) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._out:
            data, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
            try:
                sent = self._socket.sendmsg([data], rights)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:  # it is gone; the reader learns it too, and reports
                sent = len(data)
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._out[0] = (data[sent:], [])
            else:
                self._out.popleft()
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            for message in self._splitter.feed(data):
                self._report(_decode(message))
        except (MalformedMessage, msgspec.DecodeError):
            data = b""
        if not data:
            self._gone()

    def _report(self, report: _Report) -> None:
        child = self._children.get(report.id)
        if child is None:
            return
        if report.pid:
            child.pid = report.pid
            return
        del self._children[report.id]
        if report.error:
            child.on_failed(report.error)
        else:
            child.on_ended(Ended(report.status, report.cpu_us, report.peak_kb))

    def _gone(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, fds in self._out:
            for fd in fds:
                os.close(fd)
        self._out.clear()
        self._process.kill()
        self._process.wait()
        children, self._children = self._children, {}
        for child in children.values():
            if child.pid:
                child.on_ended(_bury(child.pid))
            else:
                child.on_failed(f"the {self.interpreter.name} zygote died first; logs/node.log of the server's folder says why")
        self._on_lost(self)


def _work_file(work: bytes) -> int:
    """An anonymous file with the child's work: only the child reads it, so nothing of it is ever in the zygote."""
    fd = os.memfd_create("work", os.MFD_CLOEXEC)
    os.write(fd, work)
    return fd


def _bury(pid: int) -> Ended:
    """Kill and reap a child whose zygote died: the agent has adopted it (PR_SET_CHILD_SUBREAPER)."""
    for target in (-pid, pid):
        try:
            os.kill(target, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    try:
        _, status, usage = os.wait4(pid, 0)
    except ChildProcessError:
        return Ended(signal.SIGKILL)
    return Ended(status, int((usage.ru_utime + usage.ru_stime) * 1e6), usage.ru_maxrss)
