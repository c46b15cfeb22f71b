"""Where a page is followed: a folder with what a checkout has, a server of its own on a free port, and a shell.

Pages say `http://127.0.0.1:8000` as readers would; here another port stands for 8000, and a third one for 8001. What is printed is turned back before
it is compared, and so is the folder's name (`/home/ada/dayfly`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dayfly.sandbox.node.protections import probe

from .shell import Ran, Shell
from .snippets import ROOT

HOME = "/home/ada/dayfly"  # what the folder is called in the pages
LENT = ("Makefile", "scripts", "pyproject.toml", "src", "bench", "tests", ".venv")  # of the checkout, as links
_FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "200", "NO_COLOR": "1"}


class Site:
    """A shell in which `dayfly` is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8000": _free_port(), "8001": _free_port()}
        self._running = False
        bin_ = Path(sys.executable).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAYFLY_", "MAKE", "XDG_"))}
        environment = {
            **kept,
            **_FIXED,
            "HOME": str(folder),
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "DAYFLY_DATA": str(folder / ".dayfly"),
            "DAYFLY_URL": f"http://127.0.0.1:{self.ports['8000']}",
            "DATA": str(folder / ".dayfly"),  # what the Makefile takes
            "PORT": str(self.ports["8000"]),
        }
        if any(protection.required and protection.state == "off" for protection in probe()):
            environment["DAYFLY_UP_ISOLATION"] = "process"
        self.shell = Shell(folder, environment)
        # The installation is what runs these tests: make must not touch it while they run.
        self.shell.run('make() { command make -o install "$@"; }')

    def run(self, command: str, timeout: float = 60.0) -> Ran:
        """Run a command of a page and tell what it printed in the page's words."""
        if not self._running and ("dayfly " in command or "curl " in command or "make up" in command):
            self._running = True
            if not command.startswith(("dayfly up", "make up", "dayfly down", "dayfly doctor")):
                started = self.shell.run(f"dayfly up --detach --port {self.ports['8000']}")
                assert started.status == 0, started.output
        for ours, real in self.ports.items():
            for before in (":", "=", "--port "):
                command = command.replace(f"{before}{ours}", f"{before}{real}")
        if command.startswith("dayfly up") and "--port" not in command:
            command += f" --port {self.ports['8000']}"
        status, output = self.shell.run(command, timeout)
        for ours, real in self.ports.items():
            output = output.replace(str(real), ours)
        return Ran(status, output.replace(str(self.folder), HOME))

    def close(self) -> None:
        """Stop whatever servers the page left."""
        self.shell.close()
        for pid_file in self.folder.glob("**/run/server.pid"):
            command = [sys.executable, "-m", "dayfly", "down", "--grace", "1", "--data", str(pid_file.parent.parent)]
            subprocess.run(command, check=True, capture_output=True)


@contextmanager
def opened(folder: Path) -> Iterator[Site]:
    for name in LENT:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(ROOT / "README.md", folder)
    site = Site(folder)
    try:
        yield site
    finally:
        site.close()


def _free_port() -> int:
    with socket.socket() as probe_:
        probe_.bind(("127.0.0.1", 0))
        return int(probe_.getsockname()[1])
