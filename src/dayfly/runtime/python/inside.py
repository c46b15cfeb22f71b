"""What runs first in a sandbox that another program made: shuts the door behind it, then becomes what it is to be.

    python -I -S -B inside.py       descriptor 3: the listening socket of an instance
                                    descriptor 4: a file with {"kind", "task", "shut", "path": [...], "door"?}

`kind` and `task` are those of `zygote.py`; `shut` is what `jail.shut` takes. `door`: where the socket is to be made, if the sandbox takes
no connections on one from outside; then descriptor 3 is of no use. Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKAGE = "_dayfly"
LISTEN_FD, INPUT_FD = 3, 4
BACKLOG = 16


def main() -> None:
    package: Any = type(sys)(PACKAGE)
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[PACKAGE] = package
    with open(INPUT_FD, "rb") as file:
        given = json.loads(file.read())
    kind, task = given["kind"], given["task"]
    sys.path.extend(given["path"])
    if given.get("door"):
        _open(given["door"])
    if "input" in task:
        held = os.memfd_create("input")  # takes the number that has just become free
        os.write(held, task["input"].encode())
        os.lseek(held, 0, os.SEEK_SET)
        os.set_inheritable(held, True)
        assert held == INPUT_FD
    work = None if kind == "exec" else importlib.import_module(PACKAGE + "." + kind)
    importlib.import_module(PACKAGE + ".jail").shut(given["shut"])
    if work is None:
        os.chdir(task["cwd"])
        os.execve(task["argv"][0], task["argv"], task["env"])
    os.set_inheritable(LISTEN_FD, False)
    work.main(task, LISTEN_FD)


def _open(door: str) -> None:
    """Make the socket, while its folder can still be written to: what runs afterwards is another user and cannot replace it."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(door + ".new")
    server.listen(BACKLOG)
    os.rename(door + ".new", door)  # whoever sees it can connect
    os.dup2(server.fileno(), LISTEN_FD, inheritable=True)
    server.close()


if __name__ == "__main__":
    main()
