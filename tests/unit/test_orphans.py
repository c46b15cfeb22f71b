"""Dead children that nobody waits for are collected; those that somebody may still ask about are left."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from instance import PYTHON, running, write_files

from dayfly.runtime.python.orphans import Orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PID namespaces")


def spawn(*argv: str) -> int:
    return os.posix_spawn(argv[0], list(argv), {})


def wait_for_death(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_the_dead_are_collected_at_the_second_sweep() -> None:
    orphans = Orphans()
    orphans.sweep()
    dead, alive = spawn("/bin/true"), spawn("/bin/sleep", "60")
    try:
        wait_for_death(dead)
        orphans.sweep()
        assert os.waitid(os.P_PID, dead, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        orphans.sweep()
        with pytest.raises(ChildProcessError):
            os.waitpid(dead, os.WNOHANG)
        assert os.waitpid(alive, os.WNOHANG) == (0, 0)
    finally:
        os.kill(alive, 9)
        os.waitpid(alive, 0)


def test_a_child_that_is_waited_for_in_time_keeps_its_status() -> None:
    orphans = Orphans()
    pid = spawn("/bin/false")
    wait_for_death(pid)
    orphans.sweep()
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 1
    orphans.sweep()


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_an_instance_that_leaks_processes_does_not_fill_its_process_table(tmp_path: Path) -> None:
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    os.system('true & true &')\n"
        "    return [os.getpid(), len([p for p in os.listdir('/proc') if p.isdigit()])]\n"
    )
    write_files(tmp_path, {"handler.py": source})
    with running(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *PYTHON], tmp_path) as instance:
        link = instance.connect()
        link.ready()
        counts = [link.call().json for _ in range(100)]
    assert counts[0][0] == 1
    assert max(count for _, count in counts) < 80  # of 200 that were left behind
