"""10,000 deployed functions that nobody calls: what each costs the server's memory, and whether the warm path of another notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from .. import machine, site, wrk
from ..model import Finding, Promise, Row, ratios
from ..run import Run
from .warm import SMALL

PUBLISHERS = 8


def measure(run: Run) -> Iterator[Finding]:
    """Two servers in turns, one with a single function, one with 10,000 more; both started anew after the deployments."""
    count = run.count(10_000, 50)
    with site.running() as alone, site.running() as full:
        for server in (alone, full):
            server.deploy("hello")
        before = machine.memory_kb(full.pid, "Private_Dirty")
        took = fill(full, count)
        after = (machine.memory_kb(full.pid, "Private_Dirty") - before) / count
        run.say(f"{count} functions deployed in {took:.0f} s")
        starts = []
        for server in (alone, full):
            server.stop()
            began = time.perf_counter()
            server.start()
            starts.append(time.perf_counter() - began)
        each = (machine.memory_kb(full.pid, "Private_Dirty") - machine.memory_kb(alone.pid, "Private_Dirty")) / count
        rates: dict[str, list[float]] = {"one": [], "many": []}
        for server in (alone, full):
            wrk.run(server.url("hello"), connections=32, seconds=1, body=SMALL)
        for _ in range(max(run.rounds, run.count(5, 1))):
            for name, server in (("one", alone), ("many", full)):
                rates[name].append(wrk.run(server.url("hello"), connections=32, seconds=run.seconds, body=SMALL).rate)
    yield Row("many", f"deploying {count} functions through the API, {PUBLISHERS} at a time", "functions/s", (count / took,))
    yield Row("many", f"start of the server with {count} functions", "s", (starts[1],), f"{starts[0]:.2f} s with one")
    yield Row("many", "memory of the server for each function just deployed", "KB", (after,))
    yield Row("many", "memory of the server for each function after a restart", "KB", (each,))
    yield Row("many", "warm throughput, one function deployed", "calls/s", tuple(rates["one"]))
    yield Row("many", f"warm throughput, {count} deployed", "calls/s", tuple(rates["many"]))
    share = Row("many", f"with {count} / with one", "x", ratios(rates["many"], rates["one"]))
    yield share
    command = "python -m bench many"
    measured = f"{share.median:.0%}"
    yield Promise("warm path with 10,000 idle functions, of that with one", ">= 90 %", measured, share.median >= 0.9, command)
    worst = max(each, after)
    yield Promise("memory of the server for an idle function", "< 4 KB", f"{worst:.1f} KB", worst < 4, command)


def fill(server: site.Site, count: int) -> float:
    """Deploy that many functions of one package, idle at the end; seconds it took."""
    names = iter([f"idle-{number}" for number in range(count)])
    lock = threading.Lock()
    failures: list[BaseException] = []

    def publish() -> None:
        try:
            while not failures:
                with lock:
                    name = next(names, None)
                if name is None:
                    return
                server.deploy(name, "def handler(event, context):\n    return 1\n")
                server.recycle(name)
        except BaseException as error:
            failures.append(error)

    began = time.perf_counter()
    threads = [threading.Thread(target=publish) for _ in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - began
