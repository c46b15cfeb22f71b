"""Finding, claiming and ending the server of a data folder, with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dayfly.cli import pidfile
from tests.support.cli import Run, no_settings, run

__all__ = ["no_settings", "run"]

Start = Callable[[str], "subprocess.Popen[bytes]"]
PATIENT = "import time; print(flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
AGENT = """
import socket, sys, time
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Python script that has printed a line when this returns."""
    started: list[subprocess.Popen[bytes]] = []

    def start_it(script: str) -> subprocess.Popen[bytes]:
        (tmp_path / "run").mkdir(exist_ok=True)
        command = [sys.executable, "-c", script, str(tmp_path / "run" / "node.sock")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start_it
    for process in started:
        with process:
            process.kill()


def write(data: Path, pid: int, started: str) -> pidfile.Running:
    running = pidfile.Running(pid, started, "http://127.0.0.1:1")
    path = pidfile.pid_path(data)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(running._asdict()))
    return running


def test_a_server_is_found_by_id_and_start_time(tmp_path: Path, start: Start) -> None:
    process = start(PATIENT)
    running = write(tmp_path, process.pid, pidfile.start_time(process.pid))
    assert pidfile.find(tmp_path) == running
    process.kill()
    process.wait()
    assert pidfile.find(tmp_path) is None


def test_a_stranger_under_the_same_id_is_not_taken_for_the_server(tmp_path: Path, start: Start, run: Run) -> None:
    stranger = start(PATIENT)
    running = write(tmp_path, stranger.pid, "12345")
    assert pidfile.find(tmp_path) is None
    assert not pidfile.stop(running, tmp_path, 0.1)
    assert run("down", "--data", str(tmp_path)).code == 0
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "12", '{"pid": "x"}', '{"pid": 0, "started": "", "url": ""}'])
def test_a_damaged_file_means_no_server(tmp_path: Path, text: str) -> None:
    pidfile.pid_path(tmp_path).parent.mkdir()
    pidfile.pid_path(tmp_path).write_text(text)
    assert pidfile.find(tmp_path) is None
    with pidfile.claimed(tmp_path, "http://x"):
        assert pidfile.find(tmp_path) is not None


def test_claiming_names_this_process_and_leaves_nothing(tmp_path: Path) -> None:
    with pidfile.claimed(tmp_path, "http://127.0.0.1:9"):
        assert pidfile.find(tmp_path) == (os.getpid(), pidfile.start_time(os.getpid()), "http://127.0.0.1:9")
    assert not pidfile.pid_path(tmp_path).exists()


def test_a_folder_has_one_server(tmp_path: Path, start: Start) -> None:
    process = start(PATIENT)
    running = write(tmp_path, process.pid, pidfile.start_time(process.pid))
    with pytest.raises(pidfile.AlreadyRunning) as caught, pidfile.claimed(tmp_path, "http://x"):
        pass
    assert caught.value.running == running
    assert pidfile.find(tmp_path) == running


def test_down_ends_the_server_and_is_idempotent(tmp_path: Path, start: Start, run: Run) -> None:
    process = start(PATIENT)
    write(tmp_path, process.pid, pidfile.start_time(process.pid))
    ran = run("down", "--data", str(tmp_path))
    assert ran == (0, "", "Dayfly at http://127.0.0.1:1 has stopped.\n")
    assert process.wait() == -15
    assert not pidfile.pid_path(tmp_path).exists()
    again = run("down", "--data", str(tmp_path))
    assert again == (0, "", f"No Dayfly runs on the data in {tmp_path}.\n")


def test_down_uses_force_when_asking_does_not_help(tmp_path: Path, start: Start, run: Run) -> None:
    process = start(STUBBORN)
    write(tmp_path, process.pid, pidfile.start_time(process.pid))
    ran = run("down", "--data", str(tmp_path), "--grace", "0.05")
    assert ran.code == 0
    assert "was killed" in ran.err
    assert process.wait() == -9


def test_down_ends_a_node_agent_whose_server_was_killed(tmp_path: Path, start: Start, run: Run) -> None:
    agent = start(AGENT)
    ran = run("down", "--data", str(tmp_path))
    assert ran == (0, "", "Instances that a killed server had left behind are stopped.\n")
    assert agent.wait() == -15


def test_down_of_a_folder_that_never_was(tmp_path: Path, run: Run) -> None:
    missing = tmp_path / ("x" * 200)
    assert run("down", "--data", str(missing)).code == 0
    assert not missing.exists()
