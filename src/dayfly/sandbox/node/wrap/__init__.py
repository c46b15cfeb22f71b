"""Sandboxes that another program makes: bubblewrap, or a runtime of the Open Container Initiative (crun, gVisor's runsc).

Such a back end is one function, `View -> command line`: the program makes namespaces and mounts, and runs `runtime/python/inside.py` in
them, which gives up the user and every capability, loads the same seccomp filter as everywhere, and then becomes what it is to be. All
else is shared: control groups, sockets, logs, limits, the life of an instance. There is no fork of a zygote: each instance starts a
Python of its own, which is what these back ends cost (see `python -m bench backends`).
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from ..cgroup_tree import Limits
from . import bubblewrap, oci
from .view import DOOR, View

__all__ = ["DOOR", "OVERHEADS", "OWN_KERNEL", "PROGRAMS", "WRAPS", "View", "Wrap", "missing"]

Wrap = Callable[[View], list[str]]

WRAPS: dict[str, Wrap] = {"bubblewrap": bubblewrap.command, "crun": oci.crun, "runsc": oci.runsc}
PROGRAMS = {"bubblewrap": "bwrap", "crun": "crun", "runsc": "runsc"}

# gVisor's hands a listening socket of the host into its sandbox, but accept4 on it is EINVAL (seen in September 2026). And what of
# the machine's kernel a job restricts for itself, it cannot restrict there.
OWN_KERNEL = frozenset({"runsc"})


class Overhead(NamedTuple):
    """What a sandbox itself takes of its control group, added to what the function is allowed."""

    memory_mb: int = 0
    pids: int = 0
    pids_each: int = 1  # of the machine, for one of the function

    def limits(self, memory_mb: int, cpu: float, pids: int) -> Limits:
        """Those of the control group, for what the function is allowed."""
        return Limits((memory_mb + self.memory_mb) << 20, cpu, pids * self.pids_each + self.pids)


# gVisor's kernel and its server of files run in the group too: 46 threads and 20 MiB with an idle function, more when memory is short,
# and a thread more for each process. It counts processes itself (RLIMIT_NPROC).
OVERHEADS = defaultdict(Overhead, runsc=Overhead(memory_mb=64, pids=64, pids_each=2))


def missing(isolation: str) -> str:
    """Why this back end cannot be used on this machine; empty if it can."""
    program = PROGRAMS.get(isolation, "")
    if not program:
        return ""
    if not shutil.which(program):
        package = "see gvisor.dev" if program == "runsc" else f"apt install {isolation}"
        return f"the program {program} is not installed ({package})"
    return ""
