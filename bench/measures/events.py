"""Events: accepting them durably beside bare appends with fdatasync, from publishing to the end of a function, and what a million that
wait cost the server's memory."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import machine, site, wrk
from ..model import Finding, Promise, Row, percentile, ratios
from ..run import Run

PUBLISHERS = 64
RECORD = b"x" * 512
NAMESPACE = "/v1/namespaces/default"
STAMP = """
import time
def handler(event, context):
    return {"specversion": "1.0", "id": event["id"], "source": "/f", "type": "ended", "data": time.time()}
"""
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/bench", "ce-type": "b", "content-type": "application/json"}
PILE = 500  # events in one request, where they pile up
QUIET = 0.01  # seconds between two events, so that each finds a quiet queue


def measure(run: Run) -> Iterator[Finding]:
    command = "python -m bench events"
    with site.running() as server:
        _prepare(server)
        floor, single, many = [], [], []
        for _ in range(run.rounds):
            floor.append(_append_p50(server.data, run.count(2000, 200)))
            single.append(_load(run, server, 1).p50_ms / 1000)
            many.append(_load(run, server, PUBLISHERS).rate)
        times = _end_to_end(server, run.count(1000, 100))
    yield Row("events", "bare append with fdatasync, p50", "ms", tuple(1000 * value for value in floor))
    yield Row("events", "publish, one publisher, p50", "ms", tuple(1000 * value for value in single))
    ratio = Row("events", "publish, one publisher / bare append", "x", ratios(single, floor))
    yield ratio
    yield Row("events", f"publish, {PUBLISHERS} publishers, one delivery each", "events/s", tuple(many))
    p50, p99 = percentile(times, 50), percentile(times, 99)
    yield Row("events", "publish to the function's return, quiet queue, p50", "ms", (p50 * 1000,), f"p99 {p99 * 1000:.2f} ms")
    rate = statistics.median(many)
    yield Promise("durable enqueue of events", ">= 2,000/s", f"{rate:,.0f}/s", rate >= 2000, command)
    yield Promise("publish p50 at one publisher, of a bare fsync's", "< 5x", f"{ratio.median:.2f}x", ratio.median < 5, command)
    yield Promise("publish to the function's return, p50", "<= 5 ms", f"{p50 * 1000:.2f} ms", p50 <= 0.005, command)
    count = run.count(1_000_000, 5000)
    grown, took = _pile_up(count)
    yield Row("events", f"{count:,} events that wait: memory of the server", "MB", (grown,), f"published in {took:.0f} s")
    yield Promise("memory of the server for 1,000,000 queued events", "<= 100 MB", f"{grown:.0f} MB", grown <= 100, command)


def _prepare(server: site.Site) -> None:
    server.deploy("stamp", STAMP)
    for broker in ("open", "replies"):  # without deduplication: one body is sent over and over
        server.request("PUT", f"{NAMESPACE}/brokers/{broker}", {"dedup_s": 0})
    stamp = {"kind": "function", "name": "stamp"}
    server.request("PUT", f"{NAMESPACE}/triggers/idle", {"broker": "open", "target": stamp, "paused": True})
    server.request("PUT", f"{NAMESPACE}/triggers/stamp", {"target": stamp, "delivery": {"reply": "replies"}})


def _append_p50(folder: Path, count: int) -> float:
    """Seconds that one durable append takes."""
    place = folder / "appends"
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        os.write(fd, RECORD)
        os.fdatasync(fd)
        times.append(time.perf_counter() - began)
    os.close(fd)
    place.unlink()
    return statistics.median(times)


def _load(run: Run, server: site.Site, publishers: int) -> wrk.Load:
    """So many publishers, each with one event after the other."""
    url = f"http://127.0.0.1:{server.port}/events/default/open"
    load = wrk.run(url, connections=publishers, seconds=run.seconds, body=b'{"n":1}', headers=BINARY)
    if load.bad:
        run.say(f"{load.bad} events were not accepted")
    return load


def _post(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> None:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 202:
        raise RuntimeError(f"POST {path}: {answer.status} {text[:300]!r}")


def _end_to_end(server: site.Site, count: int) -> list[float]:
    """Seconds from before a publish to the moment at which the function is done, told by its answer, an event."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    began: dict[str, float] = {}
    for number in range(count):
        identifier = f"e{number}"
        began[identifier] = time.time()
        _post(connection, "/events/default", b"1", BINARY | {"ce-id": identifier})
        time.sleep(QUIET)
    connection.close()
    ended: dict[str, float] = {}
    until = time.monotonic() + 30
    while len(ended) < count and time.monotonic() < until:
        time.sleep(0.2)
        ended = {one["event"]["id"]: one["event"]["data"] for one in _all(server, f"{NAMESPACE}/events?broker=replies")}
    if len(ended) < count:
        raise RuntimeError(f"only {len(ended)} of {count} events came back")
    return [ended[identifier] - at for identifier, at in began.items()][count // 10 :]  # the first ones are cold


def _all(server: site.Site, path: str) -> Iterator[Any]:
    cursor = ""
    while True:
        page = server.request("GET", f"{path}&limit=1000&cursor={cursor}" if cursor else f"{path}&limit=1000")[0]
        yield from page["items"]
        cursor = page["cursor"]
        if not cursor:
            return


def _pile_up(count: int) -> tuple[float, float]:
    """MB that a server grows by while so many events pile up before a trigger that is paused, and the seconds that took."""
    with site.running() as server:
        _prepare(server)
        before = machine.memory_kb(server.pid, "Rss")
        began = time.monotonic()
        batch = json.dumps(
            [{"specversion": "1.0", "id": "1", "source": "/b", "type": "b", "data": {"n": n}} for n in range(PILE)]
        ).encode()
        left = [max(1, count // PILE)]  # batches
        lock = threading.Lock()

        def publish() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            while True:
                with lock:
                    if left[0] <= 0:
                        break
                    left[0] -= 1
                _post(connection, "/events/default/open", batch, {"content-type": "application/cloudevents-batch+json"})
            connection.close()

        threads = [threading.Thread(target=publish) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        time.sleep(2.0)
        return (machine.memory_kb(server.pid, "Rss") - before) / 1024, took
