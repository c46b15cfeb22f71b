"""Forking into a control group: the child is born there, and is a child like any other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dayfly.sandbox.node.cgroup_v2 import CgroupsV2
from dayfly.sandbox.node.cgroups import trees
from dayfly.sandbox.node.interpreters import find

RUNTIME = Path(__file__).resolve().parents[2] / "src" / "dayfly" / "runtime" / "python"

PROGRAM = """
import ctypes, importlib.util, os, signal, sys, threading
spec = importlib.util.spec_from_file_location("clone", sys.argv[1])
clone = importlib.util.module_from_spec(spec)
spec.loader.exec_module(clone)
folder = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
pid = clone.fork_into(folder)
if pid == 0:
    group = [line for line in open("/proc/self/cgroup").read().splitlines() if line.startswith("0::")][0]
    thread = threading.Thread(target=lambda: print("thread", flush=True))
    thread.start()
    thread.join()
    inner = os.fork()
    if inner == 0:
        os._exit(5)
    status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else 5
    print(group, status, threading.main_thread() is threading.current_thread(), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    ctypes.CDLL(None)["raise"](signal.SIGTERM)  # finds its own thread by the id that the C library keeps
    signal.pause()
assert os.waitpid(pid, 0)[1] >> 8 == 9
try:
    clone.fork_into(os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY))
except OSError as error:
    print("refused", flush=True)
print("parent goes on", os.getpid() > 0, flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    base = trees().v2
    if base is None or os.geteuid() != 0:
        pytest.skip("needs root and a version 2 tree of control groups")
    groups = CgroupsV2(base, f"dayfly-test-{os.getpid()}")
    group = groups.create("born", memory_bytes=1 << 30, cpu_cores=0, pids=100)
    yield group.folders[0]
    group.remove()
    groups.close()


@pytest.mark.parametrize("version", [f"python3.{minor}" for minor in range(8, 14)])
def test_a_child_is_born_in_the_group_and_is_whole(folder: Path, version: str) -> None:
    interpreter = find().get(version)
    if interpreter is None:
        pytest.skip(f"this machine has no {version}")
    command = [interpreter.executable, "-I", "-S", "-c", PROGRAM, str(RUNTIME / "clone.py"), str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = ran.stdout.splitlines()
    assert lines[0] == "thread", ran.stderr
    assert folder.name in lines[1]
    assert lines[1].endswith("5 True")
    assert lines[2:] == ["refused", "parent goes on True"]
