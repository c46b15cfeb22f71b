"""Run hostile code in the jail and see what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import dayfly.runtime.python
from dayfly.sandbox.node.interpreters import find

RUNTIME = Path(dayfly.runtime.python.__file__).parent
JAILER = Path(__file__).with_name("jailer.py")
MiB = 1 << 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="these attacks are tried as root's children: run as root")


def find_python() -> str:
    """The interpreter behind this virtual environment."""
    found = find().get(f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return found.executable if found else sys.executable


def jailed(
    code: str,
    *,
    plan: dict[str, Any] | None = None,
    template: dict[str, Any] | None = None,
    python: str = "",
    cgroups: list[int] | None = None,
    pass_fds: tuple[int, ...] = (),
    prefix: tuple[str, ...] = (),
    neighbour: str = "",
    user_namespaces: bool = True,
    runtime: Path = RUNTIME,
    jailer: Path = JAILER,
) -> subprocess.CompletedProcess[str]:
    """Run the code in a fresh jail; keys of plan and template are added to the usual ones."""
    request = {
        "template": {"isolation": "namespace", **(template or {})},
        "plan": {"isolation": "namespace", **(plan or {})},
        "code": textwrap.dedent(code),
        "cgroups": cgroups or [],
    }
    if not user_namespaces:
        request["no_user_namespaces"] = True
    if neighbour:
        request["neighbour"] = textwrap.dedent(neighbour)
    return subprocess.run(
        [*prefix, python or find_python(), "-I", str(jailer), str(runtime), json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=100,
        pass_fds=(*(cgroups or []), *pass_fds),
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )


def says(code: str, **options: Any) -> list[str]:
    """The lines that the code prints; it must end well."""
    result = jailed(code, **options)
    assert result.returncode == 0, result.stderr or result.stdout
    return result.stdout.splitlines()
