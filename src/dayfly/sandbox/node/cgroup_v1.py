"""Control groups, version 1: every controller has a tree of its own, and a group is a folder in each.

Controllers may share a tree (`cpu,cpuacct`), so folders are counted once. Memory has two limits, one with swap and one without; the one
with swap exists only where the kernel counts it, and must never be below the other. Interface: Documentation/admin-guide/cgroup-v1.
"""

from __future__ import annotations

from pathlib import Path

from .cgroup_tree import CPU_PERIOD, Cgroups, Group, Usage, field, machine_share, number, processors, quota, read, write

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "freezer")
SHARES = 1024  # cpu.shares of one core's worth


class GroupV1(Group):
    # A thread that moves itself needs no stable thread group, so the kernel skips a lock whose first taker waits for every processor
    # (some 10 ms, cgroup_procs_write_start). Who joins has one thread: it is the child of a zygote.
    joined_by = "tasks"

    def __init__(self, by_controller: dict[str, Path], tree: Cgroups) -> None:
        super().__init__(list(dict.fromkeys(by_controller.values())), tree)
        self._of = by_controller

    def file(self, controller: str, name: str) -> Path:
        """A control file; one that does not exist if the controller does not."""
        return self._of.get(controller, Path("/nonexistent")) / f"{controller}.{name}"

    def usage(self) -> Usage:
        return Usage(
            memory_kb=number(self.file("memory", "usage_in_bytes")) >> 10,
            peak_kb=number(self.file("memory", "max_usage_in_bytes")) >> 10,
            cpu_us=number(self.file("cpuacct", "usage")) // 1000,
            pids=number(self.file("pids", "current")),
            oom_kills=field(self.file("memory", "oom_control"), "oom_kill"),
        )

    def freeze(self, frozen: bool) -> None:
        write(self.file("freezer", "state"), "FROZEN" if frozen else "THAWED")

    def kill(self) -> int:
        # Frozen, a fork bomb cannot outrun its killer; thawed, the signal reaches it. The usual group is empty by now.
        if not self.pids():
            return 0
        freezer = self.file("freezer", "state")
        can_freeze = bool(read(freezer))
        if can_freeze:
            write(freezer, "FROZEN")
        try:
            return super().kill()
        finally:
            if can_freeze:
                write(freezer, "THAWED")


class CgroupsV1(Cgroups):
    version = 1

    def __init__(self, by_controller: dict[str, Path]) -> None:
        """`by_controller`: the server's own folder in the tree of each controller that is mounted."""
        super().__init__(list(dict.fromkeys(by_controller.values())))
        self.controllers = frozenset(by_controller)
        self._of = by_controller

    def open(self) -> None:
        for parent in self.parents:
            parent.mkdir(exist_ok=True)
        if "pids" in self._of:
            write(self._of["pids"] / "pids.max", machine_share())
        if "cpu" in self._of:
            write(self._of["cpu"] / "cpu.shares", SHARES * processors())

    def group(self, name: str) -> GroupV1:
        return GroupV1({controller: parent / name for controller, parent in self._of.items()}, self)

    def limit(self, group: Group, memory_bytes: int, cpu_cores: float, pids: int) -> None:
        assert isinstance(group, GroupV1)
        if "memory" in self.controllers:
            write(group.file("memory", "limit_in_bytes"), memory_bytes)
            with_swap = group.file("memory", "memsw.limit_in_bytes")
            if with_swap.exists():
                write(with_swap, memory_bytes)
            else:
                write(group.file("memory", "swappiness"), 0)
        if "pids" in self.controllers:
            write(group.file("pids", "max"), pids)
        if "cpu" in self.controllers:
            write(group.file("cpu", "shares"), max(2, round(SHARES * (cpu_cores or 1.0))))
            if cpu_cores > 0:
                write(group.file("cpu", "cfs_period_us"), CPU_PERIOD)
                write(group.file("cpu", "cfs_quota_us"), quota(cpu_cores))
