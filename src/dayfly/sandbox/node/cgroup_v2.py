"""Control groups, version 2: one tree for all controllers, handed down level by level.

A controller works in a group only if every group above has it in `cgroup.subtree_control`, and a group that hands controllers down may
hold no processes itself (the root excepted). So where the place we were given holds processes, this one among them, they first move into a
leaf beside the instances. Interface: Documentation/admin-guide/cgroup-v2.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .cgroup_tree import CPU_PERIOD, LEAF, Cgroups, Group, Usage, field, machine_share, number, processors, quota, read, write

CONTROLLERS = ("memory", "pids", "cpu")
WEIGHT = 100  # cpu.weight of one core's worth; the kernel takes 1 to 10000
SUPERVISOR_WEIGHT = 10  # times that of all instances together: of the server, whose priority counts inside its group only


class GroupV2(Group):
    def __init__(self, folder: Path, tree: Cgroups) -> None:
        super().__init__([folder], tree)
        self.folder = folder

    def descriptors(self) -> list[int]:
        return [os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def usage(self) -> Usage:
        return Usage(
            memory_kb=number(self.folder / "memory.current") >> 10,
            peak_kb=number(self.folder / "memory.peak") >> 10,  # since Linux 5.19
            cpu_us=field(self.folder / "cpu.stat", "usage_usec"),
            pids=number(self.folder / "pids.current"),
            oom_kills=field(self.folder / "memory.events", "oom_kill"),
        )

    def freeze(self, frozen: bool) -> None:
        write(self.folder / "cgroup.freeze", int(frozen))

    def kill(self) -> int:
        whole = self.folder / "cgroup.kill"  # since Linux 5.14; reaches what is being forked, too
        if not whole.exists():
            return super().kill()
        count = len(self.pids())
        if count:
            write(whole, 1)
        return count


class CgroupsV2(Cgroups):
    version = 2

    def __init__(self, base: Path, name: str) -> None:
        """`base`: the group that was given to us; `name`: of the server's own group in it."""
        super().__init__([base / name])
        self._base = base
        self.controllers = available(base)

    def open(self) -> None:
        (parent,) = self.parents
        self._hand_down(self._base)
        beside = self._base / LEAF / "cpu.weight"
        if beside.exists():
            write(beside, min(10_000, SUPERVISOR_WEIGHT * WEIGHT * processors()))
        parent.mkdir(exist_ok=True)
        if "pids" in self.controllers:
            write(parent / "pids.max", machine_share())
        if "cpu" in self.controllers:
            write(parent / "cpu.weight", min(10_000, WEIGHT * processors()))
        self._hand_down(parent)

    def group(self, name: str) -> GroupV2:
        return GroupV2(self.parents[0] / name, self)

    def limit(self, group: Group, memory_bytes: int, cpu_cores: float, pids: int) -> None:
        (folder,) = group.folders
        if "memory" in self.controllers:
            write(folder / "memory.max", memory_bytes)
            if (folder / "memory.swap.max").exists():
                write(folder / "memory.swap.max", 0)
            write(folder / "memory.oom.group", 1)  # half an instance is of no use
        if "pids" in self.controllers:
            write(folder / "pids.max", pids)
        if "cpu" in self.controllers:
            write(folder / "cpu.weight", min(10_000, max(1, round(WEIGHT * (cpu_cores or 1.0)))))
            if cpu_cores > 0:
                write(folder / "cpu.max", f"{quota(cpu_cores)} {CPU_PERIOD}")

    def _hand_down(self, folder: Path) -> None:
        control = folder / "cgroup.subtree_control"
        missing = self.controllers - set(read(control).split())
        if not missing:
            return
        wanted = " ".join(f"+{controller}" for controller in sorted(missing))
        try:
            write(control, wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._clear(folder)
            write(control, wanted)

    @staticmethod
    def _clear(folder: Path) -> None:
        leaf = folder / LEAF
        leaf.mkdir(exist_ok=True)
        for pid in read(folder / "cgroup.procs").split():
            try:
                write(leaf / "cgroup.procs", pid)
            except ProcessLookupError:
                pass  # ended meanwhile


def available(base: Path) -> frozenset[str]:
    """The controllers that groups below `base` can have."""
    return frozenset(read(base / "cgroup.controllers").split()) & frozenset(CONTROLLERS)
