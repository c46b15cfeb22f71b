"""One bash in which a page's commands run in order, as a reader would type them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

_MARK = "--- end of command ---"


class Ran(NamedTuple):
    status: int
    output: str  # stdout and stderr as they came


class Shell:
    """Everything it starts is one session, which `close` ends."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, timeout: float = 60.0) -> Ran:
        """Run it to its end. Raises TimeoutError with what it printed so far."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        script = f"{{\n{command}\n}} </dev/null\n__status=$?\nprintf '%s %d\\n' '{_MARK}' $__status\n(exit $__status)\n"
        self._bash.stdin.write(script.encode())
        self._bash.stdin.flush()
        out, until = b"", time.monotonic() + timeout
        while True:
            ready, _, _ = select.select([self._bash.stdout], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(self._bash.stdout.fileno(), 1 << 16) if ready else b""
            out += piece
            before, found, status = out.decode(errors="replace").rpartition(_MARK)
            if found and status.endswith("\n"):
                return Ran(int(status), before)
            if not piece:
                why = "the shell ended" if ready else f"no end after {timeout:g} s"
                raise TimeoutError(f"{why}: {command}\n{out.decode(errors='replace')}")

    def close(self) -> None:
        try:
            os.killpg(self._bash.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._bash.communicate()
