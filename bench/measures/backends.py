"""Cold calls under every back end that this machine has, in turns: what a fork of a zygote is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from dayfly.sandbox.node.wrap import WRAPS, missing

from .. import site
from ..model import Finding, Row, percentile, ratios
from ..run import Run
from .cold import cold_call


def measure(run: Run) -> Iterator[Finding]:
    """p50 of a cold call, and how often that of `namespace`."""
    names = ["namespace", *(name for name in WRAPS if not missing(name))]
    found: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(site.running("--isolation", name)) for name in names}
        for server in servers.values():
            server.deploy("hello")
        for number in range(run.rounds):
            for name, server in servers.items():
                found[name].append(percentile([cold_call(server)[0] for _ in range(run.count(20, 3))], 50))
            run.say(f"backends: round {number + 1} of {run.rounds}")
    for name in names:
        yield Row("backends", f"{name}, cold call", "p50 ms", tuple(found[name]))
        if name != "namespace":
            yield Row("backends", f"{name} / namespace", "x", ratios(found[name], found["namespace"]))
