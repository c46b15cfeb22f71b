"""Jailed code that takes all it can get: the control groups hold, and a neighbour goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from jail_run import MiB, jailed, needs_root, says

from dayfly.sandbox.node.cgroups import Cgroups, Group, detect

pytestmark = needs_root


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    found = detect(f"isolation-{os.getpid()}")
    if found is None or not {"memory", "pids"} <= found.controllers:
        pytest.skip("no control groups for memory and processes on this machine")
    yield found
    found.close()


def run_in(group: Group, code: str, **options: object) -> subprocess.CompletedProcess[str]:
    fds = group.descriptors()
    try:
        return jailed(code, cgroups=fds, **options)  # type: ignore[arg-type]
    finally:
        for fd in fds:
            os.close(fd)


def test_fork_bomb_stops_at_the_limit(cgroups: Cgroups) -> None:
    group = cgroups.create("forks", memory_bytes=256 * MiB, cpu_cores=0, pids=20)
    code = """
    import time
    def bomb():
        while True:
            if os.fork() == 0:
                time.sleep(600)
    print(attempt(bomb), len([name for name in os.listdir("/proc") if name.isdigit()]))
    """
    result = run_in(group, code)
    assert result.stdout == "EAGAIN 20\n", result.stderr
    assert group.pids() == [], "what it forked went with it"


def test_thread_bomb_stops_at_the_limit(cgroups: Cgroups) -> None:
    group = cgroups.create("threads", memory_bytes=256 * MiB, cpu_cores=0, pids=20)
    code = """
    import threading
    stop, started = threading.Event(), 0
    try:
        while True:
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        print(started)
    """
    assert run_in(group, code).stdout == "19\n"


@pytest.mark.parametrize(
    "eat",
    [
        "x = bytearray(512 << 20)",
        "x = open('/tmp/x', 'wb', 0); [x.write(bytes(1 << 20)) for _ in range(512)]",
        "x = open(os.memfd_create('x'), 'wb', 0); [x.write(bytes(1 << 20)) for _ in range(512)]",
        "import mmap; x = mmap.mmap(-1, 512 << 20); [x.write(bytes(1 << 20)) for _ in range(512)]",
    ],
    ids=["heap", "tmp", "memfd", "shared mapping"],
)
def test_memory_bomb_is_killed_alone(cgroups: Cgroups, eat: str) -> None:
    bomb = cgroups.create("bomb", memory_bytes=64 * MiB, cpu_cores=0, pids=20)
    calm = cgroups.create("calm", memory_bytes=64 * MiB, cpu_cores=0, pids=20)

    result = run_in(bomb, eat + "; print('survived')", plan={"tmp_mb": 1024})

    assert result.returncode == 128 + 9
    assert result.stdout == ""
    assert bomb.usage().oom_kills >= 1
    assert bomb.usage().peak_kb <= 64 << 10
    assert run_in(calm, "print('alive')").stdout == "alive\n"


def test_a_frozen_instance_can_still_be_removed(cgroups: Cgroups) -> None:
    group = cgroups.create("frozen", memory_bytes=64 * MiB, cpu_cores=0, pids=20)
    code = "import os, sys\nfor fd in sys.argv[1:]: os.write(int(fd), b'0')\nprint(flush=True)\nwhile True: pass"
    fds = group.descriptors()
    argv = ["python3", "-I", "-S", "-c", code, *map(str, fds)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=fds) as process:
        for fd in fds:
            os.close(fd)
        assert process.stdout is not None
        process.stdout.readline()
        group.freeze(True)
        group.remove()
        assert process.wait(20) == -9


def test_control_groups_cannot_be_seen_nor_changed_from_inside(cgroups: Cgroups) -> None:
    group = cgroups.create("inside", memory_bytes=64 * MiB, cpu_cores=0, pids=20)
    code = """
    print({line.strip().split(":", 2)[2] for line in open("/proc/self/cgroup")} - {"/"})
    print(os.path.exists("/sys/fs/cgroup"))
    """
    lines = run_in(group, code).stdout.splitlines()
    assert "isolation" not in lines[0], "the names of groups are the platform's business"
    assert lines[1] == "False"


def test_messages_and_locks_are_bounded() -> None:
    code = """
    import resource as r
    print(r.getrlimit(r.RLIMIT_MSGQUEUE)[1] <= 64 << 10, r.getrlimit(r.RLIMIT_MEMLOCK)[1] <= 64 << 10)
    """
    assert says(code) == ["True True"]
