"""Collects the dead whose parents died first.

In a sandbox this process is number 1, so whatever user code leaves running in the background ends up as a child of ours, and stays in the
process table (which is small) until somebody waits for it. Nothing tells such an orphan from a child that user code started itself and may
still ask about. So a dead child is collected once nobody has asked for it from one sweep to the next, many calls later.
"""

from __future__ import annotations

import os

_PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT if hasattr(os, "WNOWAIT") else 0


class Orphans:
    """`sweep` costs a system call when there is nothing to do."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # dead at the last sweep

    def sweep(self) -> None:
        """Collect the children that were dead already at the last sweep."""
        dead = {pid for pid in _children() if _is_dead(pid)} if _is_dead(None) else set()
        for pid in dead & self._seen:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # user code was faster
                pass
        self._seen = dead - self._seen


def _is_dead(pid: int | None) -> bool:
    """Whether this child (or any) has ended and waits to be collected."""
    try:
        return os.waitid(os.P_ALL if pid is None else os.P_PID, pid or 0, _PEEK) is not None
    except ChildProcessError:
        return False


def _children() -> list[int]:
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
        except OSError:
            pass  # the thread has ended, or the kernel does not tell
    return found
