"""Save to live: a changed one-file function through the API, until its first answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import site
from ..model import Finding, Promise, Row, percentile
from ..run import Run


def measure(run: Run) -> Iterator[Finding]:
    """Each deploy is new code; the answer must be the new code's."""
    rounds: list[list[float]] = []
    with site.running() as server:
        server.deploy("page", source(0))
        version = 0
        for _ in range(run.rounds):
            rounds.append([])
            for _ in range(run.count(20, 4)):
                version += 1
                began = time.perf_counter()
                server.deploy("page", source(version))
                answer = server.call("page")[0]
                rounds[-1].append(1000 * (time.perf_counter() - began))
                if answer != version:
                    raise RuntimeError(f"revision {version} is deployed, and {answer} answers")
    row = Row("redeploy", "deploy to first answer", "p50 ms", tuple(percentile(values, 50) for values in rounds))
    yield row
    yield Row("redeploy", "deploy to first answer", "p99 ms", tuple(percentile(values, 99) for values in rounds))
    command = "python -m bench redeploy"
    yield Promise(
        "deploy a one-file function to its first answer, p50", "<= 150 ms", f"{row.median:.0f} ms", row.median <= 150, command
    )


def source(version: int) -> str:
    return f"import json\n\n\ndef handler(event, context):\n    return {version}\n"
