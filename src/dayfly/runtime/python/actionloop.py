"""Two contracts of OpenWhisk for programs in any language: an executable `exec` at the top of the package.

`loop` (ActionLoop): it is started once, reads calls as lines of JSON on standard input ({"value": args, "activation_id": ...}) and writes
each answer as a line of JSON to descriptor 3. `once` (the skeleton for native actions): it is started for each call with the arguments
as JSON in its first argument; the last line that it prints is the answer, what it prints before is log. Sources: docs/ACTION.md of the
project's Go runtime, docs/actions-docker.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading

from .errors import LoadFailed
from .strict_json import loads
from .whisk import DeveloperError, defaults, set_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .contract import Rest

LINE_LIMIT = 8 << 20  # bytes of an answer
NO_ANSWER = "The action did not produce a valid response and exited unexpectedly."
NO_DICTIONARY = "The action did not return a dictionary or array."


def load(work: dict[str, Any]) -> Callable[[dict[str, Any], bytes, Rest], Any]:
    """The function that runs a call. Raises LoadFailed."""
    if work["handler"] == "refuse":
        return _refusal("Failed to pull container image '{}'.".format(work["options"]["image"]))
    program = os.path.join(str(work["task_root"]), "exec")
    if not os.path.isfile(program):
        raise LoadFailed("The package has no executable `exec` at its top.", program)
    if not os.access(program, os.X_OK):  # zips that were not made for it: OpenWhisk's proxies make it executable, too
        own = os.path.join(os.environ.get("TMPDIR") or "/tmp", "exec")
        shutil.copyfile(program, own)
        os.chmod(own, 0o755)
        program = own
    complete = defaults(work)
    return (_Loop(program, complete) if work["handler"] == "loop" else _Once(program, complete)).invoke


def _refusal(message: str) -> Callable[[dict[str, Any], bytes, Rest], Any]:
    """Of an image that nobody can run here."""

    def refuse(head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        raise DeveloperError(message)

    return refuse


class _Once:
    def __init__(self, program: str, complete: Callable[[Any], Any]) -> None:
        self._program = program
        self._complete = complete

    def invoke(self, head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        args = self._complete(loads(_whole(body, rest) or b"{}"))
        set_call(head)
        done = subprocess.run([self._program, json.dumps(args, ensure_ascii=False)], stdout=subprocess.PIPE, check=False)
        *logs, last = done.stdout.decode("utf-8", "replace").rstrip("\n").split("\n")
        for line in logs:
            print(line)
        return _answer(last.encode())


class _Loop:
    def __init__(self, program: str, complete: Callable[[Any], Any]) -> None:
        self._complete = complete
        answers, theirs = os.pipe()

        def place() -> None:
            os.dup2(theirs, 3)

        self._child = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=place, pass_fds=(3,)
        )
        os.close(theirs)
        self._answers = os.fdopen(answers, "rb")
        for ours, stream in ((sys.stdout, self._child.stdout), (sys.stderr, self._child.stderr)):
            threading.Thread(target=_pump, args=(stream, ours), daemon=True).start()

    def invoke(self, head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        call = {"value": self._complete(loads(_whole(body, rest) or b"{}")), **set_call(head)}
        stdin = self._child.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(call, ensure_ascii=False).encode("utf-8") + b"\n")
            stdin.flush()
            line = self._answers.readline(LINE_LIMIT)
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            sys.stderr.write("the action's program has ended: this instance ends\n")
            sys.stderr.flush()
            os._exit(1)
        return _answer(line)


def _whole(body: bytes, rest: Rest) -> bytes:
    return body if rest is None else body + b"".join(iter(rest, b""))


def _answer(line: bytes) -> Any:
    try:
        value = loads(line)
    except ValueError:
        raise DeveloperError(NO_ANSWER) from None
    if not isinstance(value, (dict, list)):
        raise DeveloperError(NO_DICTIONARY)
    return value


def _pump(stream: Any, ours: Any) -> None:
    for line in stream:
        ours.write(line.decode("utf-8", "replace"))
        ours.flush()
