"""Makes a freshly forked process nobody's: environment, randomness, working directory and module search path."""

from __future__ import annotations

import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What plain Python has imported before it runs a line of user code; a user's file of such a name is never found there either.
_CORE = frozenset(sys.builtin_module_names) | frozenset(
    "__main__ _collections_abc _frozen_importlib _frozen_importlib_external _sitebuiltins abc codecs encodings "
    "genericpath io ntpath os posixpath site stat zipimport importlib".split()
)


def environment(work: dict[str, Any]) -> dict[str, str]:
    """All that user code finds in its environment: a minimum, who it is, and what its revision configures."""
    tmp = str(work.get("tmp") or "/tmp")
    base = {
        "PATH": PATH,
        "HOME": tmp,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "DAYFLY_FUNCTION": str(work["function"]),
        "DAYFLY_NAMESPACE": str(work["namespace"]),
        "DAYFLY_REVISION": str(work["revision"]),
        "DAYFLY_MEMORY_MB": str(work["memory_mb"]),
        "DAYFLY_INSTANCE": str(work["id"]),
    }
    base.update(work.get("platform") or {})  # where the platform answers this function, and as whom
    base.update(work.get("env") or {})
    return base


def run(
    what: str,
    serve: Callable[[dict[str, Any], socket.socket], int],
    work: dict[str, Any],
    listen_fd: int,
    environment: Callable[[dict[str, Any]], dict[str, str]] = environment,
) -> NoReturn:
    """Settle this process, let it serve calls, and end it with the status that `serve` returns; 70 if it fails itself."""
    try:
        listener = socket.socket(fileno=listen_fd)
        listener.setblocking(True)
        os.set_inheritable(listen_fd, False)
        settle(work, environment(work))
        status = serve(work, listener)
    except SystemExit as stop:  # user code may end the process while it is loaded
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        os.write(2, f"dayfly: the {what} failed: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        status = 70
    os._exit(status & 0xFF)


def settle(work: dict[str, Any], environment: dict[str, str]) -> None:
    """Replace what this process inherited from the one it was forked from."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.umask(0o022)
    os.chdir(str(work["task_root"]))
    reseed()
    search(str(work["task_root"]), [str(folder) for folder in work.get("deps_roots") or ()])


def reseed() -> None:
    """Give this process randomness of its own, whichever way it was forked.

    OpenSSL needs no help from 1.1.1 on: its generators notice that the process id is another one (and to ask them costs 1 ms).
    """
    loaded: Any = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "ssl" in loaded and loaded["ssl"].OPENSSL_VERSION_INFO < (1, 1, 1):
        loaded["ssl"].RAND_add(os.urandom(32), 32.0)
    if "uuid" in loaded:
        loaded["uuid"]._last_timestamp = None
        loaded["uuid"]._node = None
    if "tempfile" in loaded:
        loaded["tempfile"]._name_sequence = None
        loaded["tempfile"].tempdir = None


def search(task_root: str, deps_roots: list[str]) -> None:
    """Let user code find its own modules first, then the standard library, then its dependencies: the order of any Python.

    A module of the package may bear the name of one that was imported before the fork (`queue.py`, `token.py`); the
    early one is forgotten, so that an import finds the user's, as it would in a Python of its own.
    """
    sys.path.insert(0, task_root)
    sys.path.extend(deps_roots)
    sys.path_importer_cache.clear()
    for entry in os.scandir(task_root):
        name, dot, kind = entry.name.partition(".")
        if name in sys.modules and name not in _CORE and (kind == "py" or (not dot and _is_package(entry.path))):
            for loaded in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[loaded]


def _is_package(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "__init__.py"))
