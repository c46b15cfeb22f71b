"""A neighbour under attack: p99 of a small function while another one takes all it can get, beside its p99 when all is quiet.

Quiet and attacked windows take turns. The neighbour is called at a steady pace whatever it does, by a process that waits for no
processor, as a caller on another machine would: what is measured is the platform.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from .. import openloop, site
from ..model import Finding, Promise, Row
from ..run import Run
from .warm import SMALL

PACE = 100.0  # calls of the neighbour a second
LIMIT = 3.0  # times its quiet p99

BUSY = """
import os, time
def handler(event, context):
    until = time.monotonic() + 1
    for _ in range(20):
        if os.fork() == 0:
            while time.monotonic() < until: pass
            os._exit(0)
    for _ in range(20): os.wait()
"""
FORKS = """
import os, time
def handler(event, context):
    until = time.monotonic() + 1
    while time.monotonic() < until:
        try:
            if os.fork() == 0: os._exit(0)
            os.wait()
        except OSError: pass
"""
THREADS_BOMB = """
import threading
def handler(event, context):
    stop = threading.Event()
    try:
        while True: threading.Thread(target=stop.wait, args=(1,), daemon=True).start()
    except RuntimeError: stop.wait(0.5)
    stop.set()
"""
MEMORY = """
def handler(event, context):
    kept = []
    while True: kept.append(bytearray(b"x" * (1 << 20)))
"""
TMP = """
import time
def handler(event, context):
    until = time.monotonic() + 1
    while time.monotonic() < until:
        try:
            with open("/tmp/f", "wb", 0) as file:
                while True: file.write(bytes(1 << 20))
        except OSError: pass
"""
LOG = """
import time
def handler(event, context):
    until = time.monotonic() + 1
    while time.monotonic() < until: print("x" * 100_000)
"""
DISK = """
import os, time
def handler(event, context):
    until = time.monotonic() + 1
    for folder, _, files in os.walk("/usr/lib"):
        for name in files:
            if time.monotonic() > until: return
            try: open(os.path.join(folder, name), "rb").read()
            except OSError: pass
"""
ENDS = "import os\ndef handler(event, context):\n    os._exit(1)\n"

ATTACKS = {
    "busy processes": BUSY,
    "fork storm": FORKS,
    "thread bomb": THREADS_BOMB,
    "memory bomb": MEMORY,
    "full /tmp": TMP,
    "log flood": LOG,
    "reading the disk": DISK,
    "ending at once": ENDS,
}


def measure(run: Run) -> Iterator[Finding]:
    """p99 quiet and attacked, and their ratio, for each attack; quickly, for the first two."""
    worst = 0.0
    with site.running() as server:
        server.deploy("neighbour", site.ECHO)
        server.call("neighbour")
        for number, (name, source) in enumerate(list(ATTACKS.items())[: run.count(len(ATTACKS), 2)]):
            attacker = f"attacker-{number}"
            server.deploy(attacker, source, memory_mb=64, tmp_mb=32, pids=64, timeout_s=10, max_instances=2)
            quiet, attacked = [], []
            for _ in range(run.rounds):
                quiet.append(p99(server, run.seconds))
                with attack(server, attacker):
                    attacked.append(p99(server, run.seconds))
            ratio = Row(
                "neighbour", f"{name}: p99 attacked / quiet", "x", tuple(a / q for a, q in zip(attacked, quiet, strict=True))
            )
            yield Row("neighbour", f"{name}: quiet", "p99 ms", tuple(quiet))
            yield Row("neighbour", f"{name}: attacked", "p99 ms", tuple(attacked))
            yield ratio
            worst = max(worst, ratio.median)
            run.say(f"neighbour: {name}, {ratio.median:.2f}x")
    held = worst <= LIMIT
    yield Promise(
        "p99 of a neighbour under any attack", f"<= {LIMIT:g}x quiet", f"{worst:.2f}x", held, "python -m bench neighbour"
    )


def p99(server: site.Site, seconds: float) -> float:
    """Of calls to the neighbour in milliseconds. Raises RuntimeError if one of them fails."""
    seen = openloop.run(server.port, site.path("neighbour"), rate=PACE, seconds=seconds, body=SMALL, connections=16, first=True)
    if seen.failures:
        raise RuntimeError(f"{seen.failures} calls of the neighbour failed")
    return seen.p99


class attack:
    """Two threads call the attacker without a pause for as long as the block lasts."""

    def __init__(self, server: site.Site, name: str) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=(lambda: server.call(name),)) for _ in range(2)]

    def _keep(self, call: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                call()
            except RuntimeError:
                pass  # an attack that is stopped is no answer of 2xx

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
