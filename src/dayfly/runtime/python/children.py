"""The programs of one instance, and what they print: for contracts where user code is not in this process.

What a program prints comes through a pipe of ours, so that each line is tagged with its call (as `output` does), and a caller can
have the end of it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading

from .output import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Dict, List, NoReturn, Tuple

_HOLD = 64 << 10  # bytes of an unfinished line that are kept back
_IGNORED = [signal.SIGPIPE, signal.SIGXFSZ]  # by Python, and so by its children


class Children:
    """`heard(kind, data)` is told all that programs of a kind print."""

    def __init__(self, tail: Tail, heard: Callable[[str, bytes], None]) -> None:
        self._tail = tail
        self._heard = heard
        self._pipes: Dict[str, Tuple[int, int]] = {}
        self._partial: Dict[str, bytes] = {}  # the unfinished line of each kind
        self._marked = ""
        self._spawned = threading.Event()  # since we last looked for those that ended
        self._lock = threading.RLock()

    def spawn(self, argv: List[str], kind: str) -> int:
        """The process id of a new program. Raises OSError."""
        theirs = self._pipe(kind)
        files = [(os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_DUP2, theirs, 2)]
        environment = dict(os.environ)
        try:
            try:
                return os.posix_spawn(argv[0], argv, environment, file_actions=files, setsigdef=_IGNORED)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
            return os.posix_spawn("/bin/sh", ["/bin/sh", *argv], environment, file_actions=files, setsigdef=_IGNORED)
        finally:
            self._spawned.set()

    def reap(self, ended: Callable[[int, int], None]) -> NoReturn:
        """Collect every child, orphans too; `ended(pid, status)` may end this process."""
        while True:
            self._spawned.clear()
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                self._spawned.wait()
            else:
                ended(pid, status)

    def mark(self, name: str) -> None:
        """What is printed from now on is this call's."""
        self.drain()
        with self._lock:
            if name != self._marked:
                self._marked = name
                os.write(1, b"\x1e" + name.encode("ascii") + b"\n")

    def say(self, text: str) -> None:
        """A line of the platform."""
        with self._lock:
            self._put("", text.encode())

    def drain(self) -> None:
        """Bring out what was printed so far: it was written before what we just heard. A line that is not finished ends here."""
        for kind, (ours, _) in list(self._pipes.items()):
            self._pull(kind, ours)
            with self._lock:
                rest = self._partial.pop(kind, b"")
                if rest:
                    self._put(kind, rest + b"\n")

    def _pipe(self, kind: str) -> int:
        if kind not in self._pipes:
            self._pipes[kind] = ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            os.set_inheritable(theirs, True)
            threading.Thread(target=self._print, args=(kind, ours), daemon=True).start()
        return self._pipes[kind][1]

    def _print(self, kind: str, ours: int) -> None:
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        while True:
            poll.poll()
            self._pull(kind, ours)

    def _pull(self, kind: str, ours: int) -> None:
        """Bring out the whole lines that the pipe holds."""
        with self._lock:  # from reading to writing: whoever comes next finds either nothing or everything done
            while True:
                try:
                    data = os.read(ours, 65536)
                except BlockingIOError:
                    return
                data = self._partial.pop(kind, b"") + data
                cut = len(data) if len(data) > _HOLD else data.rfind(b"\n") + 1
                if cut < len(data):
                    self._partial[kind] = data[cut:]
                if cut:
                    self._put(kind, data[:cut])

    def _put(self, kind: str, data: bytes) -> None:
        if kind:
            self._heard(kind, data)
        if self._tail.wanted:
            self._tail.add(data)
        os.write(1, data)


def ending(status: int) -> str:
    """How a runtime ended, in Lambda's words; `status` as of wait(2)."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = {9: "killed", 11: "segmentation fault (core dumped)", 6: "aborted (core dumped)", 15: "terminated"}.get(number)
        return "Runtime exited with error: signal: %s" % (name or number)
    code = os.WEXITSTATUS(status)
    return "Runtime exited with error: exit status %d" % code if code else "Runtime exited without providing a reason"
