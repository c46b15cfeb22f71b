"""Control groups: for real where this machine has them, and on a tree of plain files where it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dayfly.sandbox.node import cgroup_tree
from dayfly.sandbox.node.cgroup_tree import LEAF, LITTER_AGE, Cgroups, Group
from dayfly.sandbox.node.cgroup_v1 import CgroupsV1
from dayfly.sandbox.node.cgroup_v2 import CgroupsV2
from dayfly.sandbox.node.cgroups import detect, trees

MiB = 1 << 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="control groups are made as root here")


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """The kernel tells nobody when a process has left a group: look until it has."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        os.sched_yield()


def start(group: Group, code: str) -> subprocess.Popen[bytes]:
    """Python code in the group; its standard output is a pipe."""
    fds = group.descriptors()
    procs = "os.open('cgroup.procs', os.O_WRONLY, dir_fd={0}) if os.path.isdir('/proc/self/fd/{0}') else {0}"
    join = "".join(f"os.write({procs.format(fd)}, b'0');" for fd in fds)
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"import os, sys, time\n{join}\nprint(flush=True)\n{code}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
        )
    finally:
        for fd in fds:
            os.close(fd)


def joined(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"


def finish(process: subprocess.Popen[bytes]) -> bytes:
    """The rest of the output; the process has ended."""
    return process.communicate(timeout=60)[0]


@pytest.fixture
def v1() -> Iterator[Cgroups]:
    found = trees().v1
    if os.geteuid() != 0 or "memory" not in found:
        pytest.skip("no writable version 1 control groups on this machine")
    cgroups = CgroupsV1({controller: base / f"dayfly-test-{os.getpid()}" for controller, base in found.items()})
    yield cgroups
    cgroups.close()


@pytest.fixture
def v2() -> Iterator[Cgroups]:
    base = trees().v2
    if os.geteuid() != 0 or base is None:
        pytest.skip("no writable version 2 control groups on this machine")
    cgroups = CgroupsV2(base, f"dayfly-test-{os.getpid()}")
    yield cgroups
    cgroups.close()


@pytest.fixture(params=["v1", "v2"])
def real(request: pytest.FixtureRequest) -> Cgroups:
    cgroups: Cgroups = request.getfixturevalue(request.param)
    return cgroups


def test_memory_bomb_is_killed_alone_and_counted(v1: Cgroups) -> None:
    bomb = v1.create("bomb", memory_bytes=32 * MiB, cpu_cores=0, pids=16)
    neighbour = v1.create("neighbour", memory_bytes=32 * MiB, cpu_cores=0, pids=16)
    calm = start(neighbour, "sys.stdin.readline(); print('alive', end='')")
    victim = start(bomb, "x = bytearray(256 << 20); print('survived')")

    assert finish(victim) == b"\n"
    assert victim.returncode == -signal.SIGKILL
    assert finish(calm) == b"\nalive"
    assert bomb.usage().oom_kills >= 1
    assert neighbour.usage().oom_kills == 0
    assert 16 << 10 < bomb.usage().peak_kb <= 32 << 10


def test_process_limit_holds(v1: Cgroups) -> None:
    group = v1.create("forks", memory_bytes=256 * MiB, cpu_cores=0, pids=5)
    code = """
n = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        n += 1
except OSError:
    print(n, flush=True)
time.sleep(600)
"""
    with start(group, code) as process:
        joined(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"4\n"
        assert group.usage().pids == 5
        assert len(group.pids()) == 5
        group.remove()
        assert process.wait(20) == -signal.SIGKILL


def test_all_instances_together_leave_half_of_the_process_numbers(v1: Cgroups) -> None:
    group = v1.create("one", memory_bytes=64 * MiB, cpu_cores=0, pids=5)
    folder = next(folder for folder in group.folders if (folder / "pids.max").exists())
    assert int((folder.parent / "pids.max").read_text()) == cgroup_tree.machine_share()
    shares = group.folders[0].parent.parent.parent / "cpu" / folder.parent.name / "cpu.shares"
    assert not shares.exists() or int(shares.read_text()) == 1024 * cgroup_tree.processors()
    assert 0 < cgroup_tree.machine_share() * 2 <= int(Path("/proc/sys/kernel/pid_max").read_text())


def test_processor_time_is_counted_and_capped(v1: Cgroups) -> None:
    group = v1.create("busy", memory_bytes=64 * MiB, cpu_cores=0.25, pids=16)
    process = start(group, "end = time.monotonic() + 0.6\nwhile time.monotonic() < end: pass")
    finish(process)
    assert 10_000 < group.usage().cpu_us < 400_000  # a quarter of 0.6 s and one period, start of Python included


def test_freeze_stops_and_thaw_goes_on(real: Cgroups) -> None:
    group = real.create("frozen", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    with start(group, "while True: os.write(1, b'.')") as process:
        joined(process)
        out = process.stdout
        assert out is not None
        os.set_blocking(out.fileno(), False)
        group.freeze(True)
        wait_for(lambda: not out.read(1 << 20) and stopped(process.pid))
        group.freeze(False)
        wait_for(lambda: bool(out.read(1)))
        assert group.kill() == 1


def stopped(pid: int) -> bool:
    """Whether a process that would be busy gets no processor time: nanoseconds on it, looked at again and again."""
    return len({Path(f"/proc/{pid}/schedstat").read_text().split()[0] for _ in range(200)}) == 1


def test_kill_reaches_a_family_and_remove_never_waits(real: Cgroups) -> None:
    group = real.create("family", memory_bytes=256 * MiB, cpu_cores=0, pids=64)
    code = "for i in range(20):\n  if os.fork() == 0: time.sleep(600)\nprint(flush=True); time.sleep(600)"
    with start(group, code) as process:
        joined(process)
        joined(process)
        assert len(group.pids()) == 21
        group.remove()
        assert process.wait(20) == -signal.SIGKILL

    def gone() -> bool:
        """Each further group that comes and goes buries those that were still dying."""
        real.create("next", memory_bytes=64 * MiB, cpu_cores=0, pids=16).remove()
        return not any((parent / "family").exists() for parent in real.parents)

    wait_for(gone)
    group.remove()  # twice is harmless


def test_sweep_removes_what_a_dead_server_left_but_not_a_neighbours(real: Cgroups) -> None:
    left = real.create("left", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    successor, neighbour = like(real, ""), like(real, "-other")
    kept = neighbour.create("left", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    with start(left, "time.sleep(600)") as process:
        joined(process)
        try:
            assert successor.sweep() == 1
            assert process.wait(20) == -signal.SIGKILL
            assert not any(folder.exists() for folder in left.folders)
            assert all(folder.exists() for folder in kept.folders)
        finally:
            neighbour.close()


def test_sweep_takes_away_what_is_empty_and_old_of_servers_that_never_came_back(tmp_path: Path) -> None:
    def server(name: str, *groups: str) -> Path:
        for group in groups:
            (tmp_path / name / group).mkdir(parents=True)
        return tmp_path / name

    empty, old, young = server("dayfly-empty", ""), server("dayfly-old", "g"), server("dayfly-young", "g")
    busy, leaf, foreign = server("dayfly-busy", "g"), server(LEAF, ""), server("docker", "g")
    (busy / "g" / "process").touch()
    past = time.time() - LITTER_AGE - 1
    for folder in (old / "g", busy / "g"):
        os.utime(folder, (past, past))

    CgroupsV1({"pids": tmp_path / "dayfly-own"}).sweep()

    assert not empty.exists()
    assert not old.exists()
    assert all(folder.exists() for folder in (young / "g", busy / "g", leaf, foreign / "g"))


def test_a_server_whose_empty_folder_was_taken_makes_it_again(real: Cgroups) -> None:
    real.create("one", memory_bytes=64 * MiB, cpu_cores=0, pids=16).remove()
    like(real, "-other").sweep()
    assert not any(parent.exists() for parent in real.parents)
    group = real.create("two", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    assert all(folder.is_dir() for folder in group.folders)


def like(cgroups: Cgroups, suffix: str) -> Cgroups:
    """What a server of the same identity, or with the suffix of another, would use."""
    if isinstance(cgroups, CgroupsV1):
        return CgroupsV1({name: path.with_name(path.name + suffix) for name, path in cgroups._of.items()})
    (parent,) = cgroups.parents
    return CgroupsV2(parent.parent, parent.name + suffix)


def test_an_existing_group_is_not_taken_over(real: Cgroups) -> None:
    first = real.create("same", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    with pytest.raises(FileExistsError):
        real.create("same", memory_bytes=64 * MiB, cpu_cores=0, pids=16)
    assert all(folder.is_dir() for folder in first.folders)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\nb", "x" * 200])
def test_names_cannot_leave_the_tree(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        CgroupsV2(tmp_path, "dayfly-x").create(name, memory_bytes=MiB, cpu_cores=0, pids=1)


# The file-level logic of version 2 with controllers, on plain files -------------------------------------------------------------


def fake_group(folder: Path, controllers: str = "cpuset cpu io memory pids") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "cgroup.controllers": controllers + "\n",
        "cgroup.subtree_control": "",
        "cgroup.procs": "",
        "cgroup.kill": "",
        "cgroup.freeze": "0",
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.oom.group": "0",
        "memory.current": "2097152\n",
        "memory.peak": "4194304\n",
        "memory.events": "low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n",
        "pids.max": "max",
        "pids.current": "7\n",
        "cpu.weight": "100",
        "cpu.max": "max 100000",
        "cpu.stat": "usage_usec 123456\nuser_usec 100000\n",
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CgroupsV2:
    mkdir = Path.mkdir

    def kernel_mkdir(self: Path, *args: object, **options: object) -> None:
        mkdir(self, *args, **options)  # type: ignore[arg-type]
        if not (self / "cgroup.procs").exists():
            monkeypatch.setattr(Path, "mkdir", mkdir)
            fake_group(self)
            monkeypatch.setattr(Path, "mkdir", kernel_mkdir)

    fake_group(tmp_path)
    monkeypatch.setattr(Path, "mkdir", kernel_mkdir)
    return CgroupsV2(tmp_path, "dayfly-s")


def test_v2_hands_controllers_down_and_sets_limits(fake: CgroupsV2, tmp_path: Path) -> None:
    group = fake.create("i", memory_bytes=64 * MiB, cpu_cores=1.5, pids=40)
    folder = tmp_path / "dayfly-s" / "i"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (tmp_path / "dayfly-s" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (folder / "memory.max").read_text() == str(64 * MiB)
    assert (folder / "memory.swap.max").read_text().startswith("0")
    assert (folder / "memory.oom.group").read_text() == "1"
    assert (folder / "pids.max").read_text().startswith("40")
    assert (folder / "cpu.max").read_text() == "150000 100000"
    assert (folder / "cpu.weight").read_text() == "150"
    assert group.usage() == cgroup_tree.Usage(memory_kb=2048, peak_kb=4096, cpu_us=123456, pids=7, oom_kills=2)


def test_v2_without_a_ceiling_leaves_the_quota_alone(fake: CgroupsV2, tmp_path: Path) -> None:
    fake.create("i", memory_bytes=64 * MiB, cpu_cores=0, pids=40)
    assert (tmp_path / "dayfly-s" / "i" / "cpu.max").read_text() == "max 100000"
    assert (tmp_path / "dayfly-s" / "i" / "cpu.weight").read_text() == "100"


def test_v2_moves_processes_out_of_the_way(fake: CgroupsV2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group with processes refuses to hand controllers down (EBUSY) until they are in a leaf."""
    (tmp_path / "cgroup.procs").write_text("11\n22\n")
    really = cgroup_tree.write
    moved: list[str] = []

    def kernel_write(path: Path, value: str | int) -> None:
        if path == tmp_path / "cgroup.subtree_control" and len(moved) < 2:
            raise OSError(16, "Device or resource busy", str(path))
        if path == tmp_path / LEAF / "cgroup.procs":
            moved.append(str(value))
        really(path, value)

    monkeypatch.setattr("dayfly.sandbox.node.cgroup_v2.write", kernel_write)
    fake.create("i", memory_bytes=64 * MiB, cpu_cores=0, pids=40)
    assert moved == ["11", "22"]


def test_v2_puts_the_server_before_all_instances_together(fake: CgroupsV2, tmp_path: Path) -> None:
    """In a group of its own its priority means nothing outside; the group's weight does."""
    leaf = tmp_path / LEAF
    leaf.mkdir()
    (leaf / "cpu.weight").write_text("100")
    fake.create("i", memory_bytes=64 * MiB, cpu_cores=0, pids=40)
    assert int((leaf / "cpu.weight").read_text()) > 5 * 100


# Detection -----------------------------------------------------------------------------------------------------------------------


def proc(tmp_path: Path, mounts: list[str], own: str) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "mountinfo").write_text("\n".join(mounts) + "\n")
    (folder / "cgroup").write_text(own)
    return folder


def v1_mount(path: Path, controllers: str, root: str = "/") -> str:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.procs").touch()
    return f"30 25 0:26 {root} {str(path).replace(' ', chr(92) + '040')} rw - cgroup cgroup rw,{controllers}"


def v2_mount(path: Path, controllers: str) -> str:
    fake_group(path, controllers)
    return f"30 25 0:26 / {path} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def test_detects_v1_at_unusual_places(tmp_path: Path) -> None:
    mounts = [
        v1_mount(tmp_path / "odd place" / "m", "memory"),
        v1_mount(tmp_path / "c", "cpu,cpuacct"),
        v1_mount(tmp_path / "p", "pids"),
    ]
    cgroups = detect("data:/x y", proc=proc(tmp_path, mounts, "3:memory:/\n2:cpu,cpuacct:/\n1:pids:/\n0::/\n"))
    assert isinstance(cgroups, CgroupsV1)
    assert cgroups.controllers == {"memory", "cpu", "cpuacct", "pids"}
    name = "dayfly-data--x-y"
    assert cgroups.parents == [tmp_path / "odd place" / "m" / name, tmp_path / "p" / name, tmp_path / "c" / name]


def test_detects_v2(tmp_path: Path) -> None:
    found = detect("a", proc=proc(tmp_path, [v2_mount(tmp_path / "u", "cpuset cpu io memory pids")], "0::/\n"))
    assert isinstance(found, CgroupsV2)
    assert found.controllers == {"cpu", "memory", "pids"}
    assert found.parents == [tmp_path / "u" / "dayfly-a"]


def test_hybrid_goes_where_the_controllers_are(tmp_path: Path) -> None:
    empty_v2 = [v2_mount(tmp_path / "u", ""), v1_mount(tmp_path / "m", "memory"), v1_mount(tmp_path / "p", "pids")]
    found = detect("a", proc=proc(tmp_path, empty_v2, "2:memory:/\n1:pids:/\n0::/\n"))
    assert isinstance(found, CgroupsV1)

    (tmp_path / "u" / "cgroup.controllers").write_text("cpu memory pids\n")
    assert isinstance(detect("a", proc=tmp_path / "proc"), CgroupsV2)


def test_none_without_controllers(tmp_path: Path) -> None:
    assert detect("a", proc=proc(tmp_path, [v2_mount(tmp_path / "u", "")], "0::/\n")) is None
    (tmp_path / "proc" / "mountinfo").write_text("")
    assert detect("a", proc=tmp_path / "proc") is None
    assert detect("a", proc=tmp_path / "nowhere") is None, "a machine without /proc has none either"


def test_an_earlier_move_into_the_leaf_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delegated: the top of the tree is not ours, our own group is."""
    mount = v2_mount(tmp_path / "u", "cpu memory pids")
    mine = fake_group(tmp_path / "u" / "user" / "service")
    fake_group(mine / LEAF)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "u" and access(path, mode))
    found = detect("a", proc=proc(tmp_path, [mount], f"0::/user/service/{LEAF}\n"))
    assert found is not None
    assert found.parents == [mine / "dayfly-a"]


@needs_root
def test_this_machine_has_something(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (trees().v1 or trees().v2):
        pytest.skip("no control groups mounted")
    found = detect(f"test-{os.getpid()}")
    assert found is not None
    assert not any(parent.exists() for parent in found.parents), "detecting must not write"
