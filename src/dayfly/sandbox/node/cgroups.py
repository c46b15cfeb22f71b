"""Control groups: limits and accounts of memory, processor and processes, on whatever this machine has.

    cgroups = detect("8f3a...")                      # None: no usable control groups
    cgroups.sweep()                                  # what a dead server left
    group = cgroups.create("INSTANCE", memory_bytes=..., cpu_cores=0, pids=128)
    ... hand group.descriptors() to the child, which joins by them ...
    group.usage()  group.freeze(True)  group.kill()  group.remove()

Machines come with version 1 (one tree a controller), version 2 (one tree), or both at once, with each controller in one of them.
The kernel's own list of mounts is read, since the trees are not always where custom puts them; the version that carries more of the
controllers we need is taken, and version 2 if they are equal. Nothing is written before the first `create`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

from . import cgroup_v1, cgroup_v2
from .cgroup_tree import LEAF, Cgroups, Group, Limits, Usage, read
from .cgroup_v1 import CgroupsV1
from .cgroup_v2 import CgroupsV2

__all__ = ["Cgroups", "Group", "Limits", "Trees", "Usage", "detect", "trees"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


class Trees(Struct, frozen=True):
    """Where this process may make groups: version 1 by controller, and the one place of version 2. Writable ones only."""

    v1: dict[str, Path]
    v2: Path | None


def detect(server: str, *, proc: Path = Path("/proc/self")) -> Cgroups | None:
    """The groups of the server with this identity (any text that is its own on this machine); None if there are none to use."""
    name = "dayfly-" + (_UNSAFE.sub("-", server)[:64] or "server")
    found = trees(proc)
    limits = {"memory", "pids", "cpu"}
    in_v1 = limits & found.v1.keys()
    in_v2 = cgroup_v2.available(found.v2) if found.v2 else frozenset()
    if found.v2 is not None and len(in_v2) >= max(1, len(in_v1)):
        return CgroupsV2(found.v2, name)
    if in_v1:
        return CgroupsV1({controller: base / name for controller, base in found.v1.items()})
    return None


def trees(proc: Path = Path("/proc/self")) -> Trees:
    """Read `mountinfo` and `cgroup` of a process. For every tree: its top if we may write there, else our own group."""
    own = _own_groups(read(proc / "cgroup"))
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in read(proc / "mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        root, mount = map(_unescape, left.split()[3:5])
        fstype, _, options = right.split()[:3]
        if fstype == "cgroup2":
            v2 = v2 or _writable(Path(mount), root, own.get("", "/"))
        elif fstype == "cgroup":
            for controller in set(options.split(",")) & set(cgroup_v1.CONTROLLERS):
                base = _writable(Path(mount), root, own.get(controller, "/"))
                if base is not None:
                    v1.setdefault(controller, base)
    return Trees({controller: v1[controller] for controller in cgroup_v1.CONTROLLERS if controller in v1}, v2)


def _own_groups(text: str) -> dict[str, str]:
    """Lines `7:cpu,cpuacct:/path` to a path for each controller; the empty name is version 2."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _writable(mount: Path, root: str, own: str) -> Path | None:
    """The top of the tree, or our own group in it, whichever we may make groups in. `root`: what of the tree is mounted."""
    inside = os.path.relpath(own, root)
    places = [mount] if inside.startswith("..") else [mount, mount / inside]
    if places[-1].name == LEAF:
        places[-1] = places[-1].parent  # an earlier server moved us there
    for place in places:
        if os.access(place, os.W_OK | os.X_OK) and os.access(place / "cgroup.procs", os.W_OK):
            return place
    return None


def _unescape(text: str) -> str:
    """Paths in mountinfo have spaces and the like as `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
