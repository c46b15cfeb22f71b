"""`dev`: a real folder is watched, saves are deployed over a real API, Ctrl-C ends it cleanly."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from dayfly import actions as a
from dayfly.build.pack import pack
from dayfly.cli.dev import function_name
from tests.support.cli import api, no_settings, platform
from tests.support.fake_platform import FakePlatform

__all__ = ["api", "no_settings", "platform"]

GOOD = "def handler(event, context):\n    return {}\n"  # to be formatted with a number


class Session:
    """A running `dayfly dev`, which ends by itself if a test waits for what never comes."""

    def __init__(self, path: Path, *options: str) -> None:
        command = [sys.executable, "-m", "dayfly", "dev", str(path), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def said(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def until(self, text: str) -> str:
        """Read what it says on stderr up to a line with this text, and return that line."""
        for line in self.said:
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "My Shop"
    path.mkdir()
    (path / "handler.py").write_text(GOOD.format(1))
    return path


@pytest.fixture
def session(platform: FakePlatform, folder: Path) -> Iterator[Session]:
    running = Session(folder, "--memory", "512")
    yield running
    with running.process as process:
        process.kill()


def test_every_save_is_deployed_and_a_broken_one_does_not_end_it(
    platform: FakePlatform, folder: Path, session: Session
) -> None:
    assert "revision 1 is live" in session.until("my-shop:")

    (folder / "handler.py").write_text(GOOD.format(2))
    assert "revision 2 is live" in session.until("my-shop: revision")

    (folder / "link").symlink_to("/etc/hostname")  # may not be packed
    assert "'link' links to '/etc/hostname'" in session.until("Error: ")

    (folder / "link").unlink()
    (folder / "handler.py").write_text(GOOD.format(3))
    session.until("revision 3 is live")
    puts = [action for action, _ in platform.performed if isinstance(action, a.PutFunction)]
    assert {put.config.memory_mb for put in puts} == {512}


def test_a_save_during_the_first_deployment_is_not_missed(platform: FakePlatform, folder: Path, session: Session) -> None:
    session.until("Watching")
    (folder / "handler.py").write_text(GOOD.format(2))
    session.until("is live")
    want = hashlib.sha256(pack(folder)).hexdigest()
    while want not in platform.packages:  # the first deployment may have taken the old text
        session.until("my-shop: revision")


def test_logs_are_shown(platform: FakePlatform, folder: Path, session: Session) -> None:
    line = platform.say("hello from the function", time=4_000_000_000.0)
    session.until("Watching")
    assert session.process.stdout is not None
    assert line.text in session.process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_without_a_trace(session: Session, number: signal.Signals) -> None:
    session.until("is live")
    session.process.send_signal(number)
    assert session.said.read() == "\n"
    assert session.process.wait() == 0


def test_a_single_file_can_be_watched(platform: FakePlatform, folder: Path) -> None:
    running = Session(folder / "handler.py", "--name", "one")
    try:
        running.until("one: revision 1")
        (folder / "other.py").write_text("")
        (folder / "handler.py").write_text(GOOD.format(2))
        assert "one: revision 2 is live" in running.until("one:")  # and nothing was said of the other file
    finally:
        with running.process as process:
            process.kill()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("My Shop!", "my-shop"), ("x" * 80, "x" * 63), ("...", "function"), ("a_b", "a_b"), ("-é-", "function")],
)
def test_a_folder_gives_a_valid_function_name(tmp_path: Path, name: str, expected: str) -> None:
    path = tmp_path / name
    path.mkdir()
    assert function_name(path) == expected
