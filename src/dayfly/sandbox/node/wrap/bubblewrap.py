"""bubblewrap: one command line says everything. Needs 0.8 (Debian 12).

Started by root it makes no user namespace, because the user that it would map is root itself, who may write to /proc/sys whatever its
capabilities are. `inside.py` becomes the instance's own user instead, and needs three capabilities until then.
"""

from __future__ import annotations

import os

from ....runtime.python.jail import FUNCTION_ID, MASKED
from .view import DEVICES, View, located


def command(view: View) -> list[str]:
    """The command line that starts an instance."""
    words = [located("bwrap"), "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--hostname", view.hostname or "dayfly"]
    if view.network == "none":
        words.append("--unshare-net")
    if view.root_user:
        words += ["--cap-drop", "ALL", *(w for cap in ("SETUID", "SETGID", "SETPCAP") for w in ("--cap-add", f"CAP_{cap}"))]
    else:
        words += ["--unshare-user", "--disable-userns", "--uid", str(FUNCTION_ID), "--gid", str(FUNCTION_ID)]
    words += ["--ro-bind", str(view.root), "/"]
    for source, target in view.visible:
        words += ["--ro-bind", source, target]
    for name in DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    words += ["--perms", "1777", "--size", str(view.tmp_mb << 20), "--tmpfs", "/tmp", "--proc", "/proc"]
    for path in map("/proc/".__add__, MASKED):
        if os.path.isdir(path):
            words += ["--tmpfs", path, "--remount-ro", path]
        elif os.path.exists(path):
            words += ["--ro-bind", "/dev/null", path]
    words += ["--remount-ro", "/proc"]
    for source, target, mode in view.binds:
        words += ["--bind" if mode == "rw" else "--ro-bind", source, target]
    return [*words, "--chdir", "/", "--", *view.argv]
