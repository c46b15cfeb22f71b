"""Sandboxes that another program makes: bubblewrap, or a runtime of the Open Container Initiative (crun, gVisor's runsc).

Such a back end is one function, `View -> command line`: the program makes namespaces and mounts, and runs `runtime/python/inside.py` in
them, which gives up the user and every capability, loads the same seccomp filter as everywhere, and then becomes what it is to be. All
else is shared: control groups, sockets, logs, limits, the life of an instance. There is no fork of a zygote: each instance starts a
Python of its own, which is what these back ends cost (see `python -m bench backends`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from . import bubblewrap, oci
from .view import DOOR, View

__all__ = ["DOOR", "OWN_SOCKET", "PROGRAMS", "WRAPS", "View", "Wrap", "missing"]

Wrap = Callable[[View], list[str]]

WRAPS: dict[str, Wrap] = {"bubblewrap": bubblewrap.command, "crun": oci.crun, "runsc": oci.runsc}
PROGRAMS = {"bubblewrap": "bwrap", "crun": "crun", "runsc": "runsc"}

# gVisor hands a listening socket of the host into its sandbox, but accept4 on it is EINVAL (seen in September 2026).
OWN_SOCKET = frozenset({"runsc"})


def missing(isolation: str) -> str:
    """Why this back end cannot be used on this machine; empty if it can."""
    program = PROGRAMS.get(isolation, "")
    if not program:
        return ""
    if not shutil.which(program):
        package = "see gvisor.dev" if program == "runsc" else f"apt install {isolation}"
        return f"the program {program} is not installed ({package})"
    return ""
