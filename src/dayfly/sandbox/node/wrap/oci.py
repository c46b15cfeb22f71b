"""Runtimes of the Open Container Initiative: a bundle (config.json) in the instance's folder, and a command that runs it.

Format: github.com/opencontainers/runtime-spec, config.md and config-linux.md, version 1.0.2.

crun is run with `--cgroup-manager=disabled`: the group is ours, and everything is born in it. It stays as the container's parent, so
that its exit status is the container's; when it is killed, the container's first process is killed by the kernel (PR_SET_PDEATHSIG).

runsc, gVisor's runtime, has a kernel of its own, so a hole in the host's is not one in the sandbox.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ....runtime.python.jail import MASKED
from ..cgroup_tree import read
from .view import DOOR, View, located

_CAPABILITIES = ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]  # to become somebody without any
_SAFE = ["nosuid", "nodev"]
_STACKS = {"none": "none", "host": "host", "pair": "sandbox"}  # whose TCP gVisor speaks: its own takes the pair's address over
_PRIVATELY = ["unshare", "--mount", "--propagation", "private"]  # what is mounted from here on goes with the sandbox


def crun(view: View) -> list[str]:
    """Write the bundle; the command line that runs it, with descriptors 3 and 4."""
    bundle(view)
    state = ["--root", str(view.folder / "state"), "--cgroup-manager=disabled"]
    return [
        *_out_of_sight(),
        located("crun"),
        *state,
        "run",
        "--preserve-fds=2",
        "--no-new-keyring",
        "--bundle",
        str(view.folder),
        view.id,
    ]


def _out_of_sight(unified: Path = Path("/sys/fs/cgroup/unified")) -> list[str]:
    """Where version 1 of control groups is in use and version 2 beside it has controllers, crun refuses to start, also if it is to
    leave control groups alone. So it does not see the second tree there."""
    if not read(unified / "cgroup.controllers"):
        return []
    script = 'umount -l "$0"; exec "$@"'
    return [*_PRIVATELY, "/bin/sh", "-c", script, str(unified)]


def runsc(view: View) -> list[str]:
    """The same for gVisor."""
    most = max(view.pids - 1, 1)  # besides the first process, which it counts as root's; its users are nobody else's
    limit = {"type": "RLIMIT_NPROC", "hard": most, "soft": most}
    bundle(view, rlimits=[limit])
    options = ["--root", str(view.folder / "state"), "--ignore-cgroups", "--host-uds=create"]
    options.append(f"--network={_STACKS[view.network]}")
    run = ["run", "--pass-fd=3:3", "--pass-fd=4:4", "--bundle", str(view.folder), view.id]
    return [*_PRIVATELY, located("runsc"), *options, *run]  # it mounts a namespace in its folder, which would stay


def bundle(view: View, **process: Any) -> None:
    """Write config.json into the view's folder. `process`: more of what it says of the first process."""
    view.folder.mkdir(parents=True, exist_ok=True)
    made = config(view)
    made["process"].update(process)
    (view.folder / "config.json").write_text(json.dumps(made))


def config(view: View) -> dict[str, Any]:
    """The configuration of the container."""
    namespaces: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")]
    if view.network == "none":
        namespaces.append({"type": "network"})
    elif view.network == "pair":
        namespaces.append({"type": "network", "path": "/proc/self/ns/net"})
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": view.argv,
            "env": [],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "oomScoreAdj": 500,
        },
        "root": {"path": str(view.root), "readonly": True},
        "hostname": view.hostname or "dayfly",
        "mounts": _mounts(view),
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": [f"/proc/{name}" for name in MASKED],
        },
    }


def _mounts(view: View) -> list[dict[str, Any]]:
    shown = [(source, target, "ro") for source, target in view.visible]
    shown += [(source, target, mode) for source, target, mode in view.binds]
    if view.door is not None:
        view.door.mkdir(parents=True, mode=0o700)
        shown.append((str(view.door), DOOR, "rw"))
    binds = [
        {"type": "bind", "source": source, "destination": target, "options": ["rbind", mode, "rprivate", *_SAFE]}
        for source, target, mode in shown
    ]
    return [
        {"type": "proc", "source": "proc", "destination": "/proc", "options": [*_SAFE, "noexec", "ro"]},
        _tmpfs("/dev", ["mode=755", "size=64k", "noexec", "nosuid"]),
        _tmpfs("/tmp", [*_SAFE, "mode=1777", f"size={view.tmp_mb}m", f"nr_inodes={256 * view.tmp_mb}"]),
        _tmpfs("/dev/shm", [*_SAFE, "mode=1777", f"size={view.tmp_mb}m"]),
        *binds,
    ]


def _tmpfs(at: str, options: list[str]) -> dict[str, Any]:
    return {"type": "tmpfs", "source": "tmpfs", "destination": at, "options": options}
