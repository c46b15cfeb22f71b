"""A storm: events are published and delivered while server, node and instances are killed at random moments; then everything is counted.

    python -m tests.crash.storm --kills 1000 --events 100000

Kills are spread evenly over the events: each waits until its share of them has come, and publishers do not run far ahead of what has
come. So there is always something under way to lose.

The way of an event: published to a broker, through a trigger ordered by key into a function; its answer is an event, written together
with the end of the delivery, and goes through another ordered trigger to an HTTP server in this process. That notes what came, when.

What is checked at the end, when nothing waits any more:

* every event that was acknowledged has come, or is dead, or still stands in the queue: none is lost
* those of one key came in the order in which they were published
* what came twice did so because a kill lay between the two times
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.process import Process

KEYS = 16  # of each publisher
PUBLISHERS = 2
BATCH = 25  # events in one request
PAUSE = (0.02, 0.4)  # seconds between kills, at least
AHEAD = 2000  # events that are published and have not come, at most
LATE = 1.0  # seconds until the sink has noted what a server sent before it was killed, on a busy machine
STUCK = 180.0  # seconds without an event that came, after which the storm gives up

WORK = """
def handler(event, context):
    return {"specversion": "1.0", "id": event["id"], "source": "/work", "type": "worked",
            "partitionkey": event["partitionkey"], "data": context.attempt}
"""


class Came(NamedTuple):
    id: str
    key: str
    at: float  # monotonic seconds


class Kill(NamedTuple):
    who: str
    began: float  # monotonic seconds
    ended: float  # of a server: when the next one stood

    def explains(self, before: float, after: float) -> bool:
        """Whether an event that came at these two times did so because of it."""
        return before - LATE <= self.ended and self.began <= after


class Sink:
    """An HTTP server that notes every event it is sent."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.known: set[str] = set()  # ids that have come
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                came = Came(self.headers["ce-id"], self.headers["ce-partitionkey"], time.monotonic())
                sink.came.append(came)
                sink.known.add(came.id)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # who is killed says no goodbye
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"


class Publisher(threading.Thread):
    """Publishes events of its own keys in order; what is not acknowledged is sent again, under the same ids."""

    def __init__(self, url: str, name: str, events: int, sink: Sink) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.prefix = name
        self.events = events
        self.sink = sink
        self.acknowledged: dict[str, list[str]] = {}  # by key, in order
        self.over = threading.Event()

    def run(self) -> None:
        rng = random.Random(self.prefix)
        counts: dict[str, int] = {}
        left = self.events
        while left > 0 and not self.over.is_set():
            if PUBLISHERS * (self.events - left) > len(self.sink.known) + AHEAD:
                self.over.wait(0.02)
                continue
            batch = []
            for _ in range(min(BATCH, left)):
                key = f"{self.prefix}{rng.randrange(KEYS)}"
                counts[key] = counts.get(key, 0) + 1
                batch.append(
                    {"specversion": "1.0", "id": f"{key}-{counts[key]}", "source": "/storm", "type": "s", "partitionkey": key}
                )
            body = json.dumps(batch).encode()
            while not self._sent(body):
                if self.over.wait(0.02):
                    return
            for event in batch:
                self.acknowledged.setdefault(event["partitionkey"], []).append(event["id"])
            left -= len(batch)

    def _sent(self, body: bytes) -> bool:
        headers = {"content-type": "application/cloudevents-batch+json"}
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bool(answer.status == 202)
        except (OSError, urllib.error.URLError):
            return False


class Report(NamedTuple):
    kills: dict[str, int]
    acknowledged: int
    came: int
    dead: int
    pending: int
    lost: list[str]
    twice: int
    unexplained: list[str]  # came twice without a kill between
    disordered: list[str]  # keys

    @property
    def fine(self) -> bool:
        return not (self.lost or self.unexplained or self.disordered)


def storm(folder: Path, *, kills: int, events: int, seed: int = 1, say: Any = lambda _: None) -> Report:
    """Run one. Raises AssertionError if nothing comes any more although something waits."""
    rng = random.Random(seed)
    sink = Sink()
    server = Process(folder / "data", allow_targets=("127.0.0.0/8",))
    server.start()
    publishers: list[Publisher] = []
    try:
        prepare(server, sink)
        url = f"http://127.0.0.1:{server.port}/events/default"
        publishers += [Publisher(url, chr(ord("a") + i), events // PUBLISHERS, sink) for i in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        killed: dict[str, int] = {"server": 0, "node": 0, "instance": 0}
        done: list[Kill] = []
        while len(done) < kills:
            time.sleep(rng.uniform(*PAUSE))
            _until(sink, lambda: len(sink.known) >= events * len(done) // kills)
            who = rng.choices(("server", "node", "instance"), (5, 2, 3))[0]
            began = time.monotonic()
            if _kill(server, who, rng):
                killed[who] += 1
                done.append(Kill(who, began, time.monotonic()))
                if len(done) % 50 == 0:
                    say(f"{len(done)} kills, {len(sink.known)} events have come")
        _until(sink, lambda: not any(publisher.is_alive() for publisher in publishers))
        pending = _calm(server, sink)
        dead = {letter["event"]["id"] for letter in _dead(server)}
        return _judge(killed, done, publishers, sink.came, dead, pending)
    finally:
        for publisher in publishers:
            publisher.over.set()
        server.stop()
        sink.server.shutdown()
        sink.server.server_close()
        with contextlib.suppress(AssertionError):
            server.wait_gone()


def _until(sink: Sink, holds: Callable[[], bool]) -> None:
    """Wait for something, for as long as events come."""
    seen, at = len(sink.came), time.monotonic()
    while not holds():
        if len(sink.came) > seen:
            seen, at = len(sink.came), time.monotonic()
        assert time.monotonic() - at < STUCK, f"nothing has come for {STUCK:.0f} s; {len(sink.known)} events had"
        time.sleep(0.02)


def prepare(server: Process, sink: Sink) -> None:
    server.deploy("work", WORK)
    server.api("PUT", "/brokers/worked", {})
    patient = {"max_attempts": 10_000, "delays_s": [0.05], "order_by": "partitionkey", "max_age_s": 86400}
    to_work = {"kind": "function", "name": "work"}
    server.api("PUT", "/triggers/work", {"target": to_work, "delivery": patient | {"reply": "worked"}})
    to_sink = {"kind": "http", "name": sink.url}
    server.api("PUT", "/triggers/tell", {"broker": "worked", "target": to_sink, "delivery": patient})


def _kill(server: Process, who: str, rng: random.Random) -> bool:
    """Kill one, and start what has to be started by somebody. False: there was none to kill."""
    if who == "server":
        server.kill()
        server.start()
        return True
    assert server.process is not None
    below = [pid for pid in server.descendants() if pid != server.process.pid]
    agents = [pid for pid in below if b"node.agent" in _command(pid)]
    zygotes = {pid for pid in below if b"zygote" in _command(pid)}
    chosen = agents if who == "node" else [pid for pid in zygotes if _parent(pid) in zygotes]  # an instance is a zygote's fork
    if not chosen:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(chosen), signal.SIGKILL)
    return True


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _calm(server: Process, sink: Sink) -> int:
    """Wait until nothing is to be delivered any more. -> what still is, when nothing comes any more"""

    def left() -> int:
        stats = [server.api("GET", f"/triggers/{name}/stats") for name in ("work", "tell")]
        return sum(one["waiting"] + one["running"] for one in stats)

    with contextlib.suppress(AssertionError):
        _until(sink, lambda: not left())
    return left()


def _dead(server: Process) -> list[Any]:
    found = server.api("GET", "/dead?limit=1000")["items"]
    return [server.api("GET", f"/dead/{letter['id']}") for letter in found]


def _judge(
    killed: dict[str, int], done: list[Kill], publishers: list[Publisher], came: list[Came], dead: set[str], pending: int
) -> Report:
    accepted = {id for publisher in publishers for ids in publisher.acknowledged.values() for id in ids}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    twice = 0
    unexplained = []
    order: dict[str, list[str]] = {}
    for id, key, at in came:
        if id in first:
            twice += 1
            if not any(kill.explains(last[id], at) for kill in done):
                near = min(done, key=lambda kill: abs(kill.ended - at))
                unexplained.append(
                    f"{id}: again after {at - last[id]:.2f} s; the nearest kill, of a {near.who}, began {at - near.began:.2f} s "
                    f"and ended {at - near.ended:.2f} s before"
                )
        else:
            first[id] = at
            order.setdefault(key, []).append(id)
        last[id] = at
    lost = sorted(accepted - set(first) - dead) if not pending else []
    disordered = [key for key, ids in order.items() if ids != sorted(ids, key=lambda id: int(id.rpartition("-")[2]))]
    return Report(killed, len(accepted), len(first), len(dead), pending, lost, twice, unexplained, disordered)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = storm(Path(folder), kills=given.kills, events=given.events, seed=given.seed, say=print)
    print(
        f"kills {report.kills}; acknowledged {report.acknowledged}, came {report.came}, dead {report.dead}, pending {report.pending}; "
        f"lost {len(report.lost)}, came twice {report.twice} (without a kill between: {len(report.unexplained)}), "
        f"keys out of order {len(report.disordered)}"
    )
    for line in (*report.unexplained, *report.lost, *report.disordered):
        print(line)
    return 0 if report.fine and not report.pending else 1


if __name__ == "__main__":
    sys.exit(main())
