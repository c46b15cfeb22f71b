"""Starts a node agent that outlives the server: in a session of its own, no child of ours, its output in DATA/logs/node.log.

It tells by a line in a pipe that it inherits whether it serves or another agent is in its place, and that it failed by closing it:
nobody polls.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from msgspec import Struct

SOURCE = Path(__file__).resolve().parents[3]


class Starting(Struct):
    """An agent that has been started. `ready`: gets one line when it serves, or ends."""

    process: subprocess.Popen[bytes]  # ends as soon as it has forked the agent
    ready: IO[bytes]
    log: Path
    log_start: int  # bytes the log had before

    def said(self) -> str:
        """What it has written into its log."""
        self.process.kill()
        self.process.wait()
        text = self.log.read_bytes()[self.log_start :][-2000:].decode("utf-8", "replace")
        return text.strip() or "it says nothing"


def log_of(data: Path) -> Path:
    return data / "logs" / "node.log"


def spawn(data: Path, packages: Path, *, isolation: str, grace: float, open_networks: Sequence[str] = ()) -> Starting:
    """Start one for this data folder."""
    log_path = log_of(data)
    for folder in (data / "run", log_path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    command = [sys.executable, "-m", "dayfly.sandbox.node.agent", "--data", str(data), "--packages", str(packages)]
    command += ["--isolation", isolation, "--grace", str(grace), "--detach", str(theirs)]
    command += [f"--open-network={network}" for network in open_networks]
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH", ""))))
    with open(log_path, "ab") as log:
        start = log.tell()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return Starting(process, os.fdopen(ours, "rb"), log_path, start)
