"""What the kernel tells about processes: trees, memory, processor time, and the end of one in words."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable

CLOCK_TICK = os.sysconf("SC_CLK_TCK")  # a second
PAGE = os.sysconf("SC_PAGE_SIZE") >> 10  # KiB


def ending(status: int, oom_mb: int = 0) -> str:
    """A wait(2) status in words; `oom_mb` is the memory limit in MiB if the kernel killed it for that."""
    if oom_mb:
        return f"out of memory: more than {oom_mb} MiB"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def of_inner(status: int) -> int:
    """The wait(2) status of a process from that of the one that waited for it and, as shells do, exited with 128 + its signal."""
    code = os.waitstatus_to_exitcode(status)
    return code - 128 if 128 < code <= 128 + 64 else status


def family(pid: int) -> list[int]:
    """A process and all below it; empty if it is gone."""
    found = [pid] if os.path.exists(f"/proc/{pid}") else []
    for parent in found:  # grows as it goes
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return found


async def ended(pid: int, *, patience: float) -> bool:
    """Wait until a process is gone, whoever its parent is. False if it is not after so many seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), patience)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True


def memory_kb(pids: Iterable[int]) -> int:
    """Memory of these processes in KiB: PSS, which shares what they share; where the kernel does not tell, resident memory."""
    return sum(_pss_kb(pid) for pid in pids)


def _pss_kb(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def cpu_us(pids: Iterable[int]) -> int:
    """Processor time of these processes so far, children they have waited for included, in microseconds."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks * 1_000_000 // CLOCK_TICK
