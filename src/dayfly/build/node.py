"""Dependencies of Node functions: package.json, with package-lock.json if there is one.

With a lock file `npm ci` installs exactly what it says, without one `npm install` resolves anew. Install scripts of dependencies run
where npm's own rules let them: they are in the same kind of sandbox as the function, which runs the same code. A package that
brings its node_modules is left alone.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from ..errors import BuildFailed
from .install import Blame, Install
from .interpreters import Interpreter
from .python import read

_LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
_LISTS = ("dependencies", "optionalDependencies", "devDependencies", "peerDependencies")
_KEPT = (*_LISTS, "peerDependenciesMeta", "overrides", "engines", "bundleDependencies", "bundledDependencies")
_SCRIPTS = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")


def plan(folder: Path, digest: str, interpreter: Interpreter) -> Install | None:
    """What to install for the package in `folder`; None if it asks for nothing. Raises BuildFailed for files that cannot be read."""
    manifest = manifest_of(folder)
    if (folder / "node_modules").is_dir() or not any(manifest.get(name) for name in _LISTS[:2]):
        return None
    lock = next((name for name in _LOCKS if (folder / name).is_file()), "")
    files = {name: _large(folder / name) for name in (lock, ".npmrc") if name and (folder / name).is_file()}
    alone = not _looks_around(manifest, files.get(lock, b""))
    wish = json.dumps({name: manifest[name] for name in _KEPT if name in manifest}, sort_keys=True)
    if alone:  # without its name and scripts, so that equal wishes are equal
        files["package.json"] = wish.encode()
    return Install(
        kind="node",
        label="package.json",
        wish=(
            "nodejs",
            ".".join(interpreter.version.split(".")[:2]),
            wish,
            *(data.decode("utf-8", "replace") for data in files.values()),
        )
        + (() if alone else (digest,)),
        files=files,
        tree=None if alone else folder,
        argv=(
            *(
                interpreter.executable,
                _npm(interpreter.executable),
                "ci" if lock else "install",
                "--omit=dev",
                "--install-links=true",
            ),
            *(
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--no-progress",
                "--cache=/build/tmp/npm",
                "--logs-max=0",
                "--color=false",
            ),
        ),
        env={"PATH": f"{os.path.dirname(interpreter.executable)}:/usr/local/bin:/usr/bin:/bin", "NODE_ENV": "production"},
        produced="src/node_modules",
        mount="/var/node_modules",
        blame=functools.partial(blame, read(folder / "package.json")),
    )


def manifest_of(folder: Path) -> dict[str, Any]:
    """package.json, or {} if there is none. Raises BuildFailed with the line if it is not a JSON object."""
    text = read(folder / "package.json")
    if not text:
        return {}
    try:
        manifest = json.loads(text)
    except json.JSONDecodeError as error:
        raise BuildFailed(
            f"package.json:{error.lineno}: {error.msg}", hint="correct it", file="package.json", line=error.lineno
        ) from None
    except RecursionError:
        manifest = None
    if not isinstance(manifest, dict) or not all(isinstance(manifest.get(name, {}), dict) for name in (*_LISTS, "scripts")):
        raise BuildFailed(
            "package.json is not an object of the form that npm knows", hint="correct it", file="package.json", line=1
        )
    return manifest


def _looks_around(manifest: dict[str, Any], lock: bytes) -> bool:
    """Whether installing needs other files of the package."""
    wanted = [str(version) for name in _LISTS for version in manifest.get(name, {}).values()]
    local = any(
        re.match(r"(file|link|workspace|portal):|[./~]", version)
        or ("://" not in version and version.endswith((".tgz", ".tar.gz")))
        for version in wanted
    )
    return (
        local or b'"file:' in lock or "workspaces" in manifest or any(name in manifest.get("scripts", {}) for name in _SCRIPTS)
    )


def _large(file: Path) -> bytes:
    if file.stat().st_size > 16 << 20:
        raise BuildFailed(f"{file.name} is over 16 MiB", hint="depend on less", file=file.name)
    return file.read_bytes()


def _npm(node: str) -> str:
    beside = os.path.join(os.path.dirname(node), "npm")
    found = beside if os.path.exists(beside) else shutil.which("npm")
    if found is None:
        raise BuildFailed("this machine has Node but no npm", hint="install npm, or pack node_modules with the function")
    return os.path.realpath(found)


_CULPRITS = (
    re.compile(r"No matching version found for (@?[^@\s]+)@"),
    re.compile(r"'(@?[^@\s']+)@[^']*' is not in this registry"),
    re.compile(r"Invalid dependency type requested: (\S+)"),
    re.compile(r"npm (?:error|ERR!) path \S*node_modules/((?:@[^/\s]+/)?[^/\s]+)"),
)


def blame(source: str, log: str) -> Blame:
    """The dependency that made npm fail, where its log tells."""
    errors = [
        re.sub(r"^npm (error|ERR!) ?(notarget |404  ?)?", "", line)
        for line in log.splitlines()
        if re.match(r"npm (error|ERR!)", line)
    ]
    said = [line for line in errors if line and not line.startswith(("code ", "A complete log", "path ", "errno "))]
    for pattern in _CULPRITS:
        if found := pattern.search(log):
            for number, line in enumerate(source.splitlines(), 1):
                if json.dumps(found[1]) in line:
                    return Blame("package.json", number, said[0][:300] if said else "")
    return Blame("package.json", 0, said[0][:300] if said else "")
