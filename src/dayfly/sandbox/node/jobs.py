"""A command that runs to its end in a sandbox: builds.

Both output streams are one pipe. What it says is passed on as it comes and kept in two halves, the first and the last, so that a
command that talks without end costs a bounded amount of memory and both its beginning and its end can be read.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
from collections.abc import Callable

from ...clock import Clock
from ..port import JobSpec
from . import messages as m
from . import processes
from .cgroups import Group
from .plans import CannotStart, Start
from .zygotes import Child, Ended, Zygote

READ = 64 << 10  # bytes at once
TIMED_OUT = 124  # exit status, as of timeout(1)


class Output:
    """Keeps the first and the last half of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._first = bytearray()
        self._last = bytearray()
        self._cut = 0

    def add(self, data: bytes) -> bool:
        """Keep what fits. Whether all output so far is within the limit."""
        room = self._half - len(self._first)
        self._first += data[: max(0, room)]
        self._last += data[max(0, room) :]
        over = len(self._last) - self._half
        if over > 0:
            del self._last[:over]
            self._cut += over
        return not self._cut

    def text(self) -> str:
        gap = f"\n... [{self._cut} bytes cut] ...\n".encode() if self._cut else b""
        return (bytes(self._first) + gap + bytes(self._last)).decode("utf-8", "replace")


class Job:
    """One command."""

    def __init__(self, number: int, spec: JobSpec, *, clock: Clock, on_output: Callable[[m.JobOutput], None]) -> None:
        self.id = f"job-{number}"
        self._number = number
        self._spec = spec
        self._clock = clock
        self._on_output = on_output
        self._output = Output(spec.output_limit)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        self._zygote: Zygote | None = None
        self._pipe = -1
        self._stopped = False
        self._timed_out = False

    async def run(self, zygote: Zygote, start: Start, group: Group | None) -> m.JobDone:
        """Run it to its end. Raises CannotStart or OSError if it does not come so far."""
        if self._stopped:
            raise CannotStart("it was stopped before it began")
        began = self._clock.monotonic()
        self._pipe, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._read)
        fds = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), write, os.dup(write)]
        if group is not None:
            fds += group.descriptors()
        child = Child(self.id, self._ended.set_result, lambda why: self._ended.set_exception(CannotStart(why)))
        zygote.start(child, kind=start.kind, plan=start.plan, work=start.work, fds=fds)
        self._zygote = zygote
        timer = self._clock.call_later(self._spec.timeout_s, self._time_out)
        try:
            ended = await self._ended
        finally:
            timer.cancel()
            self._drain()
        status, note = self._verdict(ended, group is not None and group.usage().oom_kills > 0)
        self._output.add(note.encode())
        return m.JobDone(self._number, status, self._output.text(), self._clock.monotonic() - began)

    def stop(self) -> None:
        """Kill it and everything it started."""
        self._stopped = True
        if self._zygote is not None:
            self._zygote.kill(self.id)

    def _time_out(self) -> None:
        self._timed_out = True
        self.stop()

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._pipe)
        elif self._output.add(data):
            self._on_output(m.JobOutput(self._number, self._decoder.decode(data)))

    def _verdict(self, ended: Ended, oom: bool) -> tuple[int, str]:
        """Exit status, and what there is to say about it."""
        code = os.waitstatus_to_exitcode(ended.status)
        if self._timed_out:
            return TIMED_OUT, f"dayfly: killed after {self._spec.timeout_s:g} seconds\n"
        note = f"dayfly: {processes.ending(ended.status, self._spec.memory_mb)}\n" if oom else ""
        return (code if code >= 0 else 128 - code), note

    def _drain(self) -> None:
        self._loop.remove_reader(self._pipe)
        with contextlib.suppress(OSError):  # never waits: the pipe is non-blocking
            self._output.add(os.read(self._pipe, 1 << 20))
        os.close(self._pipe)
