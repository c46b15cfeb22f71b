"""What both versions of control groups have in common: one group an instance, below one group a server.

    .../dayfly-SERVER/INSTANCE

The middle folder carries the identity of the server, so two servers on one machine never touch each other's groups, and what a
server that was killed left behind is found again by its successor (`sweep`). Where no successor comes, any server's sweep takes away
what is empty and old.

A group can be removed only when its last process is gone, and that is not at once after SIGKILL. So `remove` never waits: a group that
is still busy is kept in a list and tried again whenever another one is made or removed.
"""

from __future__ import annotations

import abc
import errno
import os
import re
import signal
import time
from pathlib import Path

from msgspec import Struct

CPU_PERIOD = 100_000  # microseconds over which a quota is counted
MIN_QUOTA = 1_000  # microseconds; the kernel takes no less
SWEEP_LIMIT = 5.0  # seconds to wait for the processes of a dead server to go
LITTER_AGE = 3600.0  # seconds after which an empty group of another server is nobody's

LEAF = "dayfly-supervisor"  # version 2: where processes go that stand in the way

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")


def machine_share(proc: Path = Path("/proc/sys/kernel")) -> int:
    """Processes and threads that all instances together may have: half of what this machine can."""
    return min(number(proc / "pid_max") or 32768, number(proc / "threads-max") or 32768) // 2


def processors() -> int:
    """Of this machine. The group of all instances has so many times one process's share: the kernel splits it over them."""
    return os.cpu_count() or 1


class Usage(Struct, frozen=True, kw_only=True):
    """What a group used so far. 0 where the kernel does not tell."""

    memory_kb: int = 0  # with page cache and kernel memory
    peak_kb: int = 0
    cpu_us: int = 0
    pids: int = 0
    oom_kills: int = 0  # processes that the kernel killed because of the memory limit


class Limits(Struct, frozen=True):
    """Of one group; see `Cgroups.create`."""

    memory_bytes: int
    cpu_cores: float
    pids: int


class Group(abc.ABC):
    """The control group of one instance. `folders`: where it is, one for each hierarchy."""

    joined_by = "cgroup.procs"  # the file that a process writes `0` to

    def __init__(self, folders: list[Path], tree: Cgroups) -> None:
        self.folders = folders
        self._tree = tree

    def descriptors(self) -> list[int]:
        """How a process gets into the group: open files to write `0` to, or (version 2) the open folder, to be born in. The
        caller closes them."""
        fds: list[int] = []
        try:
            for folder in self.folders:
                fds.append(os.open(folder / self.joined_by, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def pids(self) -> list[int]:
        """Process ids, as this process sees them; none if the group is gone."""
        return [int(pid) for pid in read(self.folders[0] / "cgroup.procs").split()] if self.folders else []

    @abc.abstractmethod
    def usage(self) -> Usage: ...

    @abc.abstractmethod
    def freeze(self, frozen: bool) -> None:
        """Stop all processes, or let them go on. Raises OSError if this machine cannot."""

    def kill(self) -> int:
        """SIGKILL to every process. Returns how many there were: 0 means that the group is empty."""
        pids = self.pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return len(pids)

    def remove(self) -> None:
        """Kill what is left and delete the group; at the latest when the next one is made or removed. Twice is harmless."""
        self._tree.retire(self)

    def try_remove(self) -> bool:
        """Whether the group is gone now."""
        for folder in list(self.folders):
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
            self.folders.remove(folder)
        return True


class Cgroups(abc.ABC):
    """The groups of one server. `parents`: its own folder in each hierarchy; `controllers`: what can be limited."""

    version: int
    controllers: frozenset[str]

    def __init__(self, parents: list[Path]) -> None:
        self.parents = parents
        self._ready = False
        self._dying: list[Group] = []

    def create(self, name: str, *, memory_bytes: int, cpu_cores: float, pids: int) -> Group:
        """A fresh group with its limits set.

        `memory_bytes` includes swap where the kernel counts it; `cpu_cores` 0 means a fair share without a ceiling; `pids` counts
        threads, too. Limits whose controller is missing are left out (`doctor` says so). Raises OSError, ValueError.
        """
        self._bury()
        return self.make(name, Limits(memory_bytes, cpu_cores, pids))

    def make(self, name: str, limits: Limits) -> Group:
        """What `create` does, in any thread."""
        if not _NAME.match(name):
            raise ValueError(f"a control group cannot be called {name!r}")
        if not self._ready:
            self.open()
            self._ready = True
        group = self.group(name)
        made: list[Path] = []
        try:
            for folder in group.folders:
                self._mkdir(folder)
                made.append(folder)
            self.limit(group, limits.memory_bytes, limits.cpu_cores, limits.pids)
        except OSError:
            for folder in made:
                folder.rmdir()
            raise
        return group

    def _mkdir(self, folder: Path) -> None:
        try:
            folder.mkdir()
        except FileNotFoundError:
            self.open()  # a sweeping neighbour saw our folder empty and took it for litter
            folder.mkdir()

    def retire(self, group: Group) -> None:
        self._dying.append(group)
        self._bury()

    def sweep(self) -> int:
        """Kill and remove all groups of this server, those of a dead predecessor above all. Returns how many. Blocks until gone."""
        names = {child.name for parent in self.parents for child in folders(parent)}
        groups = [*map(self.group, sorted(names)), *self._dying]
        self._dying = []
        until = time.monotonic() + SWEEP_LIMIT
        for group in groups:
            group.folders = [folder for folder in group.folders if folder.is_dir()]
            while not self._gone(group) and time.monotonic() < until:
                time.sleep(0.002)
        for parent in self.parents:
            _tidy(parent)
        return len(groups)

    def close(self) -> None:
        """Remove everything, the server's own folder included; what does not go within SWEEP_LIMIT stays for a later sweep."""
        self.sweep()
        for parent in self.parents:
            _rmdir(parent)
        self._ready = False

    @abc.abstractmethod
    def open(self) -> None:
        """Make the server's own folder, once, before the first group."""

    @abc.abstractmethod
    def group(self, name: str) -> Group: ...

    @abc.abstractmethod
    def limit(self, group: Group, memory_bytes: int, cpu_cores: float, pids: int) -> None: ...

    def _bury(self) -> None:
        self._dying = [group for group in self._dying if not self._gone(group)]

    @staticmethod
    def _gone(group: Group) -> bool:
        group.kill()
        return group.try_remove()


def _tidy(own: Path) -> None:
    """Remove the folders of other servers beside ours, if they are empty, and old empty groups in them."""
    for server in own.parent.glob("dayfly-*"):
        if server != own and server.name != LEAF:
            try:
                for group in folders(server):
                    if time.time() - group.stat().st_mtime > LITTER_AGE:
                        _rmdir(group)
            except OSError:
                continue  # it lives, and has just removed the group itself
            _rmdir(server)


def _rmdir(folder: Path) -> None:
    """Remove a group; the kernel refuses if there is a process or a group in it."""
    try:
        folder.rmdir()
    except OSError:
        pass


def quota(cpu_cores: float) -> int:
    """Microseconds of processor time a period of CPU_PERIOD."""
    return max(MIN_QUOTA, round(cpu_cores * CPU_PERIOD))


def folders(parent: Path) -> list[Path]:
    """The groups below a group."""
    return [child for child in parent.iterdir() if child.is_dir()] if parent.is_dir() else []


def read(path: Path) -> str:
    """The text of a control file; empty if there is none, or its group is gone."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def number(path: Path) -> int:
    """The number in a control file; 0 if there is none, or it says `max`."""
    text = read(path).strip()
    return int(text) if text.isdigit() else 0


def field(path: Path, key: str) -> int:
    """The number after `key` in a control file of `key value` lines; 0 if it is not there."""
    for line in read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def write(path: Path, value: str | int) -> None:
    """Set a control file. One write, as the kernel wants it; raises OSError with the file's name."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, f"{os.strerror(error.errno or 0)} (writing {value!r})", str(path)) from error
    finally:
        os.close(fd)
