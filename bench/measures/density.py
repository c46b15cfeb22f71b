"""What an idle instance weighs: the proportional set size (PSS) of the processes of 200 idle instances, and of what stands behind them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from .. import machine, site
from ..model import Finding, Promise, Row
from ..run import Run

LIMIT = 120.0  # seconds until all are ready


def measure(run: Run) -> Iterator[Finding]:
    """PSS and private memory of each of 200 (the sum over its processes), of server and node; then whether 1,000 fit and serve."""
    count, crowd = run.count(200, 10), run.count(1000, 20)
    with site.running() as server:
        server.deploy("idle", min_instances=count, max_instances=count)
        wait_for(server, "idle", count)
        instances, node, zygotes = processes(server)
        run.say(f"{len(instances)} instances, {len(zygotes)} zygotes")
        pss = [sum(machine.memory_kb(pid) for pid in machine.tree(pid)) / 1024 for pid in instances]
        private = [sum(machine.memory_kb(pid, "Private_Dirty") for pid in machine.tree(pid)) / 1024 for pid in instances]
        whole = [machine.memory_kb(server.pid, "Rss") / 1024, sum(machine.memory_kb(pid, "Rss") for pid in node) / 1024]
        began = time.monotonic()
        server.deploy("crowd", min_instances=crowd - count, max_instances=crowd)
        wait_for(server, "crowd", crowd - count)
        took = time.monotonic() - began
        server.call("crowd", {"name": "Ada"})
        everything = sum(machine.memory_kb(pid) for pid in server.processes()) / 1024
        present = len(processes(server)[0])
    average = Row("density", f"PSS of one of {len(instances)} idle instances", "MB", (statistics.mean(pss),))
    yield average
    yield Row("density", "the heaviest of them", "MB", (max(pss),))
    yield Row("density", "private memory of one", "MB", (statistics.mean(private),))
    yield Row("density", "server process", "MB", (whole[0],))
    yield Row("density", "node process", "MB", (whole[1],))
    yield Row(
        "density",
        f"PSS of everything with {present} idle instances",
        "MB",
        (everything,),
        f"{took:.0f} s to start the last {crowd - count}",
    )
    command = "python -m bench density"
    yield Promise("idle instance, PSS", "<= 4 MB", f"{average.median:.1f} MB", average.median <= 4, command)
    yield Promise("idle instances on one machine", f">= {crowd:,}", f"{present:,}", present >= crowd, command)


def wait_for(server: site.Site, name: str, count: int) -> None:
    """Until that many instances of the function are idle. Raises RuntimeError after LIMIT."""
    until = time.monotonic() + LIMIT
    while sum(instance["state"] == "idle" for instance in server.instances(name)) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"{count} instances of {name} are not ready after {LIMIT:.0f} s")
        time.sleep(0.2)


def processes(server: site.Site) -> tuple[list[int], list[int], list[int]]:
    """(one process of each instance, node processes, zygotes): the zygotes are children of the node, the instances theirs."""
    node = [pid for pid in machine.mentioning(str(server.data)) if pid != server.pid]
    everything = server.processes()
    zygotes = [pid for pid in everything if machine.parent_of(pid) in node]
    instances = [pid for pid in everything if machine.parent_of(pid) in zygotes]
    return instances, node, zygotes
