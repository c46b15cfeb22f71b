"""What user code prints, tagged with the call that printed it.

`sys.stdout` and `sys.stderr` become writers that hand whole lines to file descriptors 1 and 2. Before the first line of another
call than the last one on that stream stands a marker line: 0x1E, 32 hexadecimal digits, newline. A call that prints nothing writes
nothing. Marker and lines go out in one write, so calls that run at the same time do not mix within a line.

Output before the first call has no marker. What a stray thread prints between two calls counts to the earlier one; in an instance that
runs several calls at once nobody can tell, and it is marked with 32 zeros. What a subprocess writes comes past us: a marker is put
out before one starts.
"""

from __future__ import annotations

import io
import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Optional

NO_CALL = "0" * 32
_HOLD = 64 << 10  # characters of an unfinished line that are kept back
_SPAWNS = frozenset(("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"))


class Tag:
    """Which call is running. The plain one is for one call at a time; `threads.ContextTag` for several."""

    id = ""


class Tail:
    """Keeps the end of what a call prints, if somebody wants it. Both streams end up in one."""

    def __init__(self, size: int) -> None:
        self.wanted = False
        self.active = False  # whether it is to be given what is printed
        self.listener: Optional[Callable[[bytes], None]] = None  # hears of it, too; set it by `listen`
        self._size = size  # bytes
        self._kept = b""

    def begin(self, wanted: bool) -> None:
        """A call begins."""
        self.wanted = wanted
        self.active = wanted or self.listener is not None
        self._kept = b""

    def listen(self, listener: Callable[[bytes], None]) -> None:
        self.listener = listener
        self.active = True

    def add(self, data: bytes) -> None:
        if self.wanted:
            self._kept = (self._kept + data)[-self._size :]
        if self.listener is not None:
            self.listener(data)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


class Writer(io.TextIOBase):
    """A line-buffered text stream on a file descriptor. Blocks when the pipe is full: that is the log's back-pressure."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True

    def __init__(self, fd: int, name: str, tag: Tag, tail: Optional[Tail] = None) -> None:
        self._fd = fd
        self._tail = tail
        self.name = name
        self.mode = "w"
        self.buffer = _Bytes(self)
        self._tag = tag
        self._last = ""  # id of the last marker
        self.partial: dict[str, str] = {}  # unfinished line of each call; never replaced
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        ident = self._tag.id
        with self._lock:
            held = self.partial.pop(ident, "")
            cut = text.rfind("\n") + 1
            if not cut and len(held) + len(text) <= _HOLD:
                self.partial[ident] = held + text
                return len(text)
            if cut < len(text):
                self.partial[ident] = text[cut:]
            self._put(ident, held + text[:cut])
        return len(text)

    def finish(self, ident: str) -> None:
        """End the call's unfinished line, so that a marker always stands at the start of one."""
        if ident in self.partial:
            with self._lock:
                text = self.partial.pop(ident, "")
                if text:
                    self._put(ident, text + "\n")

    def mark(self) -> None:
        """Put out the running call's marker now, for output that comes past this writer."""
        ident = self._tag.id
        with self._lock:
            self.finish(ident)
            if ident != self._last:
                self._put(ident, "")

    def unlock(self) -> None:
        """After a fork: the thread that held the lock is not in this process."""
        self._lock = threading.RLock()

    def _put(self, ident: str, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._tail is not None and self._tail.active:
            self._tail.add(data)
        if ident != self._last:
            data = b"\x1e" + ident.encode("ascii") + b"\n" + data
            self._last = ident
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:  # the reader has gone or user code closed the descriptor: print must not fail for that
            pass

    def flush(self) -> None:
        """Lines go out by themselves; the rest of a line waits for its end."""

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        """Stays open: the next call prints too."""

    def detach(self) -> NoReturn:
        raise io.UnsupportedOperation("detach")

    def reconfigure(self, **options: Any) -> None:
        """Accepted and ignored: encoding and buffering are fixed."""


class _Bytes(io.BufferedIOBase):
    """`sys.stdout.buffer`: bytes into the same lines."""

    def __init__(self, text: Writer) -> None:
        self._text = text
        self.name = text.name
        self.mode = "wb"

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)

    def flush(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def close(self) -> None:
        pass


def install(tag: Tag, tail: Optional[Tail] = None) -> tuple[Writer, Writer]:
    """Replace the standard streams of this process."""
    out, err = Writer(1, "<stdout>", tag, tail), Writer(2, "<stderr>", tag, tail)
    sys.stdout = sys.__stdout__ = out  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = err  # type: ignore[assignment, misc]

    def before_spawn(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _SPAWNS and tag.id:
            out.mark()
            err.mark()

    sys.addaudithook(before_spawn)
    return out, err
