"""Which server runs on a data folder: `DIR/run/server.pid`.

The file names a process by its id and its start time, because ids are used again: a stale file left by a crash or a reboot
never leads to a signal for a stranger. The kernel's handle on a process (pidfd) closes the gap between looking and
signalling, and tells of the end without asking again and again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..sandbox.addresses import reachable

KILL_LIMIT = 10.0  # seconds the kernel may take to end a process by force


class Running(NamedTuple):
    pid: int
    started: str  # as `start_time` gives it
    url: str


class AlreadyRunning(Exception):
    """A server runs on this data folder."""

    def __init__(self, running: Running) -> None:
        super().__init__(running)
        self.running = running


def pid_path(data: Path) -> Path:
    return data / "run" / "server.pid"


def start_time(pid: int) -> str:
    """When a process began, in a form that only serves to compare; empty if there is none (a zombie is none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return ""
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
        found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout.strip()  # systems without /proc
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]


def find(data: Path) -> Running | None:
    """The server that runs on the folder, if one does."""
    try:
        entry = json.loads(pid_path(data).read_text())
        running = Running(int(entry["pid"]), str(entry["started"]), str(entry["url"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return None  # half written by a machine that lost power
    return running if running.pid > 0 and start_time(running.pid) == running.started else None


@contextlib.contextmanager
def claimed(data: Path, url: str) -> Iterator[None]:
    """Be the server of the folder. Raises AlreadyRunning; removes the file at the end."""
    path = pid_path(data)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        running = find(data)
        if running is not None and running.pid != os.getpid():
            raise AlreadyRunning(running)
        mine = Running(os.getpid(), start_time(os.getpid()), url)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(mine._asdict()))
        fresh.replace(path)
    try:
        yield
    finally:
        if find(data) == mine:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two servers that start at the same moment look one after the other."""
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stop(running: Running, data: Path, grace: float) -> bool:
    """End the server: gracefully, and after `grace` seconds by force. Whether force was needed."""
    forced = _end(running.pid, lambda: start_time(running.pid) == running.started, grace)
    if find(data) is None:
        for suffix in (".pid", ".lock"):
            pid_path(data).with_suffix(suffix).unlink(missing_ok=True)
    return forced


def stop_node(data: Path, grace: float) -> bool:
    """End a node agent that its server, killed, has left behind, and with it all instances. Whether there was one.

    It waits half a minute for the next server to adopt them. Who listens on its socket is known to the kernel.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            with reachable(data / "run" / "node.sock") as address:
                probe.connect(address)
        except OSError:  # nobody there
            return False
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    _end(pid, lambda: True, grace)
    return True


def _end(pid: int, is_it: Callable[[], bool], grace: float) -> bool:
    """End a process and return when it has: SIGTERM, and after `grace` seconds SIGKILL. Whether it took that."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_it():  # asked once the handle is held: from here on the id cannot change its meaning
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if _ended(handle, grace):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return _ended(handle, KILL_LIMIT)
    except ProcessLookupError:  # it ended by itself meanwhile
        return False
    finally:
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
