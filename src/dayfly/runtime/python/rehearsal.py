"""A rehearsal of the jail on this machine: what works, as JSON on standard output. A program of its own; changes nothing.

    python -I rehearsal.py        {"mount": "", "net": "Operation not permitted", ..., "jail": "...", "seccomp": "..."}

An empty text means that it works. Namespaces are tried one by one, each in a child that ends at once; then the whole jail is entered,
without a filter and with one. Nothing outlives the program: no mount, no process, no file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

_PACKAGE = "dayfly_rehearsal"


def rehearse() -> Dict[str, str]:
    """Everything that can be tried, and what the kernel says to it."""
    jail, sys_, landlock = _load("jail"), _load("syscalls"), _load("landlock")
    kinds = {
        "mount": sys_.CLONE_NEWNS,
        "pid": sys_.CLONE_NEWPID,
        "net": sys_.CLONE_NEWNET,
        "ipc": sys_.CLONE_NEWIPC,
        "uts": sys_.CLONE_NEWUTS,
        "cgroup": sys_.CLONE_NEWCGROUP,
    }

    def unshare(flag: int) -> Callable[[], None]:
        def attempt() -> None:
            if os.geteuid() != 0:
                jail.enter_user_namespace()
            sys_.unshare(flag)

        return attempt

    steps = {kind: unshare(flag) for kind, flag in kinds.items()}
    steps["user"] = lambda: _make_user(jail)
    steps["no_new_privs"] = lambda: sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1)
    steps["jail"] = lambda: _enter(jail, False)
    steps["seccomp"] = lambda: _enter(jail, True)
    began = {name: _begin(step) for name, step in steps.items()}  # side by side: the end of a namespace takes its time
    said = {name: _finish(*child) for name, child in began.items()}
    said["landlock"] = (
        "" if landlock.abi() >= landlock.ABI_PORTS else "it needs Linux 6.7, with landlock among its security modules"
    )
    return said


def _make_user(jail: Any) -> None:
    if os.geteuid() != 0:
        jail.enter_user_namespace()
    jail.try_user_namespace(jail.is_rootless())


def _enter(jail: Any, seccomp: bool) -> None:
    plan = {"isolation": "namespace", "seccomp": seccomp, "tmp_mb": 1}
    jail.prepare({"isolation": "namespace", "seccomp": seccomp})
    jail.before_fork()
    failed = _finish(*_begin(lambda: jail.enter(plan)))
    jail.after_fork()
    if failed:
        raise RuntimeError(failed)


def _begin(step: Callable[[], None]) -> Tuple[int, int]:
    """Do it in a child: its number, and where the text of what it raises will come."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(theirs, 2)  # a descriptor that jails keep
        try:
            step()
        except BaseException as error:
            os.write(2, (str(error) or type(error).__name__).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    return pid, ours


def _finish(pid: int, ours: int) -> str:
    with open(ours, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def _load(name: str) -> Any:
    """A module of this folder, under a package name that no function can import by accident."""
    if _PACKAGE not in sys.modules:
        folder = os.path.dirname(os.path.abspath(__file__))
        path = os.path.join(folder, "__init__.py")
        spec = importlib.util.spec_from_file_location(_PACKAGE, path, submodule_search_locations=[folder])
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    return importlib.import_module(_PACKAGE + "." + name)


if __name__ == "__main__":
    print(json.dumps(rehearse()))
