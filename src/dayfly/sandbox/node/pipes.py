"""Reads what an instance prints, and makes lines of log of it.

The instance's stdout and stderr are pipes; the agent holds the other ends, so nothing of the instance is trusted but bytes. Before the
first output of a call the worker writes a mark on that stream, `\\x1e` + 32 hexadecimal digits + `\\n`; lines carry the last mark seen.
User code can forge marks, but only among the calls of its own instance: namespace, function and instance come from the agent.

Bounds: a line keeps its first LINE_LIMIT bytes and says how much was cut; an instance has a token bucket of RATE bytes a second and
BURST at once. Beyond it lines are dropped and counted until a part of the bucket is full again, so that one line tells of many;
and the pipe is read slowly: the function is held back but never blocked for good, and a flood costs the agent next to nothing.
Control characters stay as they are: escaping them is the display's job.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable

from ...clock import Clock, Timer
from .messages import Line

LINE_LIMIT = 8 << 10  # bytes
RATE = 1 << 20  # bytes a second
BURST = 4 << 20  # bytes
RESUME = 0.25  # seconds' worth of rate that must be there before lines pass again
READ = 64 << 10  # bytes at once: what a pipe holds
FLOOD_PAUSE = 0.02  # seconds between two reads of an instance that is over its rate
PARTIAL = 1.0  # seconds after which a line that has no end yet is shown as it is
OVERHEAD = 32  # bytes that a line costs beyond its text: empty lines are not free

NO_CALL = b"0" * 32  # what the worker writes for output that belongs to no call
_MARK = re.compile(rb"\x1e([0-9a-f]{32})\Z")

Emit = Callable[[Line], None]


class Bucket:
    """The byte allowance of one instance, over all its streams."""

    __slots__ = ("_burst", "_clock", "_then", "_tokens", "dropped", "rate")

    def __init__(self, clock: Clock, rate: float = RATE, burst: float = BURST) -> None:
        self._clock = clock
        self.rate = rate
        self._burst = burst
        self._tokens = burst
        self._then = clock.monotonic()
        self.dropped = 0  # bytes since the last report

    def take(self, size: int) -> bool:
        """Whether that many bytes may pass; if not they are counted as dropped."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._then) * self.rate)
        self._then = now
        if self._tokens < (max(size, self.rate * RESUME) if self.dropped else size):
            self.dropped += size
            return False
        self._tokens -= size
        return True


class LineSplitter:
    """Bytes of one stream to tagged lines within the bounds."""

    def __init__(self, stream: str, bucket: Bucket, clock: Clock, emit: Emit) -> None:
        self.invocation = ""
        self._stream = stream
        self._bucket = bucket
        self._clock = clock
        self._emit = emit
        self._head = b""  # of the line under way, at most LINE_LIMIT bytes
        self._cut = 0  # bytes of it that are not kept

    @property
    def partial(self) -> bool:
        """Whether a line is under way."""
        return bool(self._head)

    def feed(self, data: bytes) -> None:
        lines = data.split(b"\n")
        last = lines.pop()
        for line in lines:
            self._extend(line)
            self._end()
        self._extend(last)

    def flush(self) -> None:
        """Show the line under way as it is."""
        if self._head:
            self._end()

    def _extend(self, data: bytes) -> None:
        room = LINE_LIMIT - len(self._head)
        if len(data) <= room:
            self._head += data
        else:
            self._head += data[:room]
            self._cut += len(data) - room

    def _end(self) -> None:
        line, cut = self._head, self._cut
        self._head, self._cut = b"", 0
        mark = _MARK.search(line) if not cut and len(line) >= 33 else None
        if mark is not None:
            if mark.start():  # the call before did not end its last line
                self._show(line[: mark.start()], 0)
            self.invocation = "" if mark[1] == NO_CALL else mark[1].decode()
        else:
            self._show(line, cut)

    def _show(self, line: bytes, cut: int) -> None:
        if not self._bucket.take(len(line) + cut + OVERHEAD):
            return
        if self._bucket.dropped:
            self.report()
        text = line.decode("utf-8", "replace")
        if cut:
            text += f" ... [{cut} bytes of this line cut]"
        self._emit(Line(self._clock.now(), self._stream, self.invocation, text))

    def report(self) -> None:
        """One line of the platform's own that says how much was dropped."""
        dropped, self._bucket.dropped = self._bucket.dropped, 0
        text = f"{dropped} bytes of output dropped: more than {self._bucket.rate:.0f} a second"
        self._emit(Line(self._clock.now(), "platform", self.invocation, text))


class Tap:
    """One pipe: reads it as it fills, at the pace its instance deserves. Owns the descriptor."""

    def __init__(self, fd: int, splitter: LineSplitter, bucket: Bucket, clock: Clock) -> None:
        self._fd = fd
        self._splitter = splitter
        self._bucket = bucket
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: Timer | None = None  # of a flood's pause
        self._still: Timer | None = None  # of a partial line
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        dropped = self._bucket.dropped
        if not self._read():
            self.close()
            return
        if self._bucket.dropped > dropped:
            self._loop.remove_reader(self._fd)
            self._timer = self._clock.call_later(FLOOD_PAUSE, self._resume)
        if self._still is not None:
            self._still.cancel()
            self._still = None
        if self._splitter.partial or self._bucket.dropped:
            self._still = self._clock.call_later(PARTIAL, self._settle)

    def drain(self) -> None:
        """Take what is in the pipe now, unless its instance is held back."""
        if self._fd >= 0 and self._timer is None:
            self._readable()

    def _settle(self) -> None:
        """Nothing came for a while: show what waits."""
        self._still = None
        self._splitter.flush()
        if self._bucket.dropped:
            self._splitter.report()

    def _resume(self) -> None:
        self._timer = None
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._readable)

    def _read(self) -> bool:
        """Take what is there, up to one pipe full. False at the end."""
        try:
            data = os.read(self._fd, READ)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self._splitter.feed(data)
        return bool(data)

    def close(self) -> None:
        """Take what is left in the pipe, then let go of it. Nothing happens the second time."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        for timer in (self._timer, self._still):
            if timer is not None:
                timer.cancel()
        try:
            left = os.read(self._fd, 1 << 20)  # never waits: the pipe is non-blocking
        except OSError:
            left = b""
        os.close(self._fd)
        self._fd = -1
        if left:
            self._splitter.feed(left)
        self._splitter.flush()
        if self._bucket.dropped:
            self._splitter.report()
