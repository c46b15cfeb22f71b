"""One instance, as the agent sees it: socket, pipes, cgroup and a child of a zygote.

The agent itself makes the listening socket, so a client can connect and send its first call while the process is still on its way. Only
where a sandbox cannot take that, it makes one itself, and `when_open` tells when.
An instance ends once: when its child has been reaped (as process 1 of its namespace it has taken all others with it), its output has
been read, and its cgroup and socket are gone, it says so with `on_exited`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from ...clock import Clock, Timer
from ..addresses import reachable
from ..port import BoxSpec
from . import processes
from .cgroups import Group
from .logbook import Logbook
from .messages import Exited, Line
from .net.router import Pair
from .pipes import Bucket, LineSplitter, Tap
from .plans import CannotStart, Package, Start
from .zygotes import Child, Ended, Zygote

LOOK_EVERY = 0.01  # seconds, for a socket that the sandbox makes
BACKLOG = 16  # connections waiting: a server and, after its restart, the next


class Instance:
    def __init__(
        self, spec: BoxSpec, folder: Path, *, clock: Clock, logbook: Logbook, on_exited: Callable[[Exited], None]
    ) -> None:
        self.spec = spec
        self.socket = folder / f"{spec.id}.sock"
        self._clock = clock
        self._logbook = logbook
        self._on_exited = on_exited
        self.group: Group | None = None
        self._zygote: Zygote | None = None
        self._child: Child | None = None
        self._bucket = Bucket(clock)
        self._taps: list[Tap] = []
        self._folder: Path | None = None
        self._wrapped = False  # whether the child stands for the process that it has put into a sandbox
        self._input = -1  # of one that waits: where its work is written to
        self._asked = False
        self._over = False
        self._late = 0.0  # monotonic seconds when a socket that the sandbox makes must be there; 0: the agent made it
        self.frozen = False
        self._kill: Timer | None = None

    def start(
        self, zygote: Zygote, start: Start, group: Group | None, pair: Pair | None = None, *, waiting: bool = False
    ) -> None:
        """Have it forked; the socket takes connections when this returns. Raises CannotStart.

        `pair`: its network. `waiting`: it gets a pipe as its input, and what it is to run later, by `specialise`.
        """
        self.group = group
        self._folder, self._wrapped = start.folder, start.wrapped
        fds: list[int] = []
        networks: list[int] = []
        inputs: list[int] = []
        try:
            if start.folder is not None:
                start.folder.mkdir(parents=True, exist_ok=True)
            if start.door is None:
                fds.append(_listen(self.socket))
            else:
                fds.append(os.open(os.devnull, os.O_RDONLY))
                self.socket.symlink_to(start.door)
                self._late = self._clock.monotonic() + self.spec.init_timeout_s
            for stream in ("stdout", "stderr"):
                fds.append(self._tap(stream))
            if group is not None:
                fds += group.descriptors()
            if pair is not None:
                networks.append(pair.lent())
            if waiting:
                theirs, self._input = os.pipe2(os.O_CLOEXEC)
                inputs.append(theirs)
        except OSError as error:
            for fd in (*fds, *networks, *inputs):
                os.close(fd)
            self._clean()
            raise CannotStart(f"the instance has no socket or pipes: {error}") from error
        self._zygote = zygote
        self._child = Child(self.spec.id, self._ended, self._failed)
        zygote.start(
            self._child, kind=start.kind, plan=start.plan, work=start.work, fds=fds, network_fds=networks, input_fds=inputs
        )

    def when_open(self, callback: Callable[[], None]) -> None:
        """Call back when the socket takes connections, at once if the agent made it; or when it should by now, so that who connects
        finds out. Never if the instance ends before."""
        if not self._late or self.socket.exists() or self._clock.monotonic() >= self._late:
            callback()
        elif not self._over:
            self._clock.call_later(LOOK_EVERY, lambda: self.when_open(callback))

    @property
    def running_program(self) -> bool:
        """Whether the child has become another program than its zygote: its jail is shut, then."""
        if self._child is None or self._zygote is None:
            return False
        try:
            return not os.path.samefile(f"/proc/{self._child.pid}/exe", f"/proc/{self._zygote.pid}/exe")
        except OSError:
            return False

    def specialise(self, spec: BoxSpec, package: Package) -> None:
        """Make the waiting process an instance of this revision. Its limits are the caller's to set, before."""
        assert self._zygote is not None
        assert self._child is not None
        self.spec = spec
        self._folder = package.folder
        if package.folder is not None:
            package.folder.mkdir(parents=True)
        binds, work = package.binds, package.work
        self._zygote.graft(self._child.id, binds=binds, hostname=package.hostname, work=work, input_fd=self._input)
        self._input = -1

    def destroy(self, after: float = 0.0) -> None:
        """Kill it, `after` seconds from now if it has not ended by then. Asking again can only make it sooner."""
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
        if after > 0 and not self._asked:
            self._kill = self._clock.call_later(after, self.destroy)
            return
        self._asked = True
        if self._zygote is not None and self._child is not None:
            self._zygote.kill(self._child.id)
        if self.frozen:
            self.freeze(False)  # version 1 of cgroups keeps even killed processes frozen

    def freeze(self, frozen: bool) -> None:
        """Stop or go on. Raises OSError if the kernel refuses."""
        self.frozen = frozen
        if self.group is not None:
            self.group.freeze(frozen)
        else:
            for pid in self.pids():
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def pids(self) -> list[int]:
        if self.group is not None:
            return self.group.pids()
        pid = self._child.pid if self._child is not None else 0
        return processes.family(pid) if pid else []

    def stats(self) -> tuple[int, int, int]:
        """Memory in KiB, processor time in microseconds, number of processes."""
        pids = self.pids()
        if self._wrapped and self._child is not None:  # who made the sandbox is not in it
            pids = [pid for pid in pids if pid != self._child.pid]
        cpu = self.group.usage().cpu_us if self.group is not None else processes.cpu_us(pids)
        return processes.memory_kb(pids), cpu, len(pids)

    def drain(self) -> None:
        """Take what it has printed until now."""
        for tap in self._taps:
            tap.drain()

    def _tap(self, stream: str) -> int:
        """A pipe for one stream: we read, the end to write is returned."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        splitter = LineSplitter(stream, self._bucket, self._clock, self._line)
        self._taps.append(Tap(ours, splitter, self._bucket, self._clock))
        return theirs

    def _line(self, line: Line) -> None:
        self._logbook.add(self.spec, line)

    def _failed(self, reason: str) -> None:
        self._clean()
        self._on_exited(Exited(self.spec.id, "start", reason))

    def _ended(self, ended: Ended) -> None:
        usage = self.group.usage() if self.group is not None else None
        self._clean()
        wait = processes.of_inner(ended.status) if self._wrapped else ended.status
        killed = os.WTERMSIG(wait) if os.WIFSIGNALED(wait) else 0
        oom = usage is not None and usage.oom_kills > 0 and killed == signal.SIGKILL
        if self._asked:
            reason = "asked"
        elif oom:
            reason = "oom"
        else:
            reason = "signal" if killed else "status"
        self._on_exited(
            Exited(
                self.spec.id,
                reason,
                processes.ending(wait, self.spec.memory_mb if oom else 0),
                status=0 if killed else os.waitstatus_to_exitcode(wait),
                signal=killed,
                oom=oom,
                peak_kb=usage.peak_kb if usage is not None and usage.peak_kb else ended.peak_kb,
                cpu_us=usage.cpu_us if usage is not None and usage.cpu_us else ended.cpu_us,
            )
        )

    def _clean(self) -> None:
        self._over = True
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
        for tap in self._taps:
            tap.close()
        if self._input >= 0:
            os.close(self._input)
        if self.group is not None:
            self.group.remove()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.socket.unlink(missing_ok=True)


def _listen(path: Path) -> int:
    """A listening Unix socket at `path`, as a descriptor of its own."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as address:
            server.bind(address)
        server.listen(BACKLOG)
        return server.detach()
    finally:
        server.close()
