"""Which language runtimes this machine has: every Python from 3.8 to 3.13, Node and Go.

Version managers put small scripts ("shims") on PATH that look for the real interpreter each time: slow, and useless inside a sandbox.
So the managers' own folders are read, and of PATH only what is a real executable (ELF or Mach-O) counts. A folder usually tells
the version; where it does not, the executable itself is asked, once. Nothing is looked for before `find` is called.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

PYTHONS = tuple(f"python3.{minor}" for minor in range(8, 14))
PROBE_TIMEOUT = 5.0  # seconds an interpreter may take to tell its version

_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_VERSION = re.compile(r"(\d+\.\d+(?:\.\d+)?)")

# Where installers put things: (what, environment variable of the root, default root, glob of the executable).
_MANAGERS = (
    ("python", "PYENV_ROOT", "~/.pyenv", "versions/*/bin/python3.*"),
    ("python", "ASDF_DATA_DIR", "~/.asdf", "installs/python/*/bin/python3.*"),
    ("python", "UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", "*/bin/python3.*"),
    ("python", "MISE_DATA_DIR", "~/.local/share/mise", "installs/python/*/bin/python3.*"),
    ("python", "CONDA_PREFIX", "~/miniconda3", "bin/python3.*"),
    ("python", "CONDA_PREFIX", "~/miniconda3", "envs/*/bin/python3.*"),
    ("python", "", "~/miniforge3", "bin/python3.*"),
    ("python", "", "~/miniforge3", "envs/*/bin/python3.*"),
    ("python", "", "~/anaconda3", "bin/python3.*"),
    ("python", "", "~/anaconda3", "envs/*/bin/python3.*"),
    ("python", "", "/opt", "*/bin/python3.*"),
    ("python", "", "/opt/python", "*/bin/python3.*"),
    ("node", "NVM_DIR", "~/.nvm", "versions/node/*/bin/node"),
    ("node", "FNM_DIR", "~/.local/share/fnm", "node-versions/*/installation/bin/node"),
    ("node", "ASDF_DATA_DIR", "~/.asdf", "installs/nodejs/*/bin/node"),
    ("node", "MISE_DATA_DIR", "~/.local/share/mise", "installs/node/*/bin/node"),
    ("node", "VOLTA_HOME", "~/.volta", "tools/image/node/*/bin/node"),
    ("node", "", "/opt", "*/bin/node"),
    ("go", "ASDF_DATA_DIR", "~/.asdf", "installs/golang/*/go/bin/go"),
    ("go", "MISE_DATA_DIR", "~/.local/share/mise", "installs/go/*/bin/go"),
    ("go", "", "~/sdk", "go*/bin/go"),
    ("go", "", "/usr/local/go", "bin/go"),
    ("go", "", "/usr/lib", "go-*/bin/go"),
)
_SYSTEM = ("/usr/local/bin", "/usr/bin")


class Interpreter(Struct, frozen=True, kw_only=True):
    """One runtime of this machine. `prefix` is the folder that must be visible for it to work."""

    name: str  # python3.11, node, go
    version: str  # 3.11.7
    executable: str  # resolved: neither a link nor a shim
    prefix: str
    preload: tuple[str, ...] = ()  # modules of the runtime that its zygote imports, if not the usual ones
    path: tuple[str, ...] = ()  # further folders where these find what they import


@functools.cache
def find() -> dict[str, Interpreter]:
    """The newest interpreter of each name (python3.8 ... python3.13, node, go) that really starts."""
    best: dict[str, Interpreter] = {}
    seen: set[str] = set()
    for name, path in _candidates():
        real = os.path.realpath(path)
        if (real in seen) or not _native(real):
            continue
        seen.add(real)
        found = _identify(name, real)
        if found is not None and (found.name not in best or _order(best[found.name]) < _order(found)):
            best[found.name] = found
    return {name: best[name] for name in (*PYTHONS, "node", "go") if name in best}


def runtimes() -> tuple[str, ...]:
    """The values of `runtime` that functions can use on this machine."""
    found = find()
    nodejs = ("nodejs",) if "node" in found else ()
    return (*(name for name in PYTHONS if name in found), *nodejs, "provided")


def _candidates() -> Iterator[tuple[str, str]]:
    names = (*PYTHONS, "node", "go")
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), *_SYSTEM):
        if os.path.isabs(folder):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.exists(path):
                    yield name, path
    for name, variable, default, pattern in _MANAGERS:
        root = Path((variable and os.environ.get(variable)) or default).expanduser()
        for found in root.glob(pattern):
            if name != "python":
                yield name, str(found)
            elif found.name in PYTHONS:
                yield found.name, str(found)


def _native(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) in _MAGIC and os.access(path, os.X_OK)
    except OSError:
        return False


def _identify(name: str, real: str) -> Interpreter | None:
    """Name, version and prefix of an executable; None if it is something else or does not start."""
    prefix = os.path.dirname(os.path.dirname(real))
    version = ""
    if name in PYTHONS:
        match = re.search(rf"{re.escape(name[6:])}\.\d+", os.path.basename(prefix))
        if match and os.path.exists(os.path.join(prefix, "lib", name, "os.py")):
            version = match.group()
        else:
            version = _ask(real, "-I", "-S", "-c", "import sys; print(sys.version.split()[0])")
        if not version.startswith(f"{name[6:]}."):
            return None
    elif name == "node":
        version = _ask(real, "--version")
    else:
        version = _ask(real, "version")
    if not version:
        return None
    return Interpreter(name=name, version=version, executable=real, prefix=prefix)


def _ask(*command: str) -> str:
    try:
        answer = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_TIMEOUT, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    match = _VERSION.search(answer.stdout)
    return match.group() if match else ""


def _order(interpreter: Interpreter) -> tuple[int, ...]:
    return tuple(int(part) for part in interpreter.version.split("."))
