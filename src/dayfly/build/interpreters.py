"""What a build must know of an interpreter of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..errors import BuildFailed


class Interpreter(Protocol):
    """One language runtime (`sandbox.node.interpreters` finds them)."""

    @property
    def version(self) -> str: ...  # 3.11.7

    @property
    def executable(self) -> str: ...  # an absolute path


Interpreters = Mapping[str, Interpreter]  # by python3.8 ... python3.13 and node


def needed(interpreters: Interpreters, runtime: str) -> Interpreter:
    """The interpreter of a runtime. Raises BuildFailed naming those that are there."""
    found = interpreters.get("node" if runtime == "nodejs" else runtime)
    if found is None:
        have = ", ".join(
            "nodejs" if name == "node" else name for name in interpreters if name == "node" or name.startswith("python")
        )
        raise BuildFailed(
            f"this machine has no {runtime}",
            hint=f"choose one of: {have}, provided" if have else "install it; the code as it is can only be `provided`",
        )
    return found
