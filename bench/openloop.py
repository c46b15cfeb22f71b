"""Open-loop load: requests start at a fixed rate whatever the server does, and latency counts from the intended start.

A closed loop waits for an answer before it asks again, so a server that stalls is asked less and its stall is one bad sample of
thousands ("coordinated omission", Gil Tene). Here a stall of 100 ms at 5,000 requests a second is 500 late samples, as it would be to 500
users. The loop sleeps with select, whose timeouts have microseconds where those of epoll have milliseconds.

    python -m bench.openloop HOST PORT PATH RATE SECONDS CONNECTIONS BODY-FILE     prints the latencies as JSON
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from .model import percentile


class Schedule:
    """When each request should start, and how long after that each was answered. Pure: time is handed in, in seconds."""

    def __init__(self, rate: float, seconds: float, begin: float) -> None:
        """`rate` a second."""
        self.count = int(rate * seconds)
        self._rate = rate
        self._begin = begin
        self._next = 0
        self._due: deque[float] = deque()  # intended starts of requests that nobody sends yet
        self.latencies: list[float] = []
        self.failures = 0

    def intended(self, number: int) -> float:
        return self._begin + number / self._rate

    def start(self, now: float) -> float | None:
        """Intended start of the request to send now, None if none is due. Late ones come first, none is skipped."""
        while self._next < self.count and self.intended(self._next) <= now:
            self._due.append(self.intended(self._next))
            self._next += 1
        return self._due.popleft() if self._due else None

    def wait(self, now: float) -> float:
        """Seconds until the next request is due; a second when none is left to start."""
        if self._due:
            return 0.0
        return max(0.0, self.intended(self._next) - now) if self._next < self.count else 1.0

    def answered(self, intended: float, now: float, ok: bool = True) -> None:
        self.latencies.append(now - intended)
        self.failures += not ok

    @property
    def done(self) -> bool:
        return len(self.latencies) >= self.count


class Percentiles(Struct, frozen=True):
    """Milliseconds."""

    rate: float
    p50: float
    p99: float
    p999: float
    worst: float
    failures: int


def drive(address: tuple[str, int], request: bytes, rate: float, seconds: float, connections: int) -> Schedule:
    """Send `request` at the rate over connections that are kept; when all are busy, requests wait and their time runs."""
    sockets = [socket.create_connection(address) for _ in range(connections)]
    for sock in sockets:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    idle, busy = list(sockets), dict[socket.socket, float]()
    received: dict[socket.socket, bytes] = {}
    schedule = Schedule(rate, seconds, time.perf_counter() + 0.01)
    until = time.perf_counter() + seconds + 60
    while not schedule.done:
        now = time.perf_counter()
        if now > until:
            raise RuntimeError(f"{schedule.count - len(schedule.latencies)} requests were not answered within a minute")
        while idle and (intended := schedule.start(now)) is not None:
            sock = idle.pop()
            sock.sendall(request)
            busy[sock], received[sock] = intended, b""
        timeout = schedule.wait(time.perf_counter()) if idle else 1.0
        for sock in select.select(busy, [], [], timeout)[0]:
            data = sock.recv(1 << 18)
            received[sock] += data
            if not data or complete(received[sock]):
                schedule.answered(busy.pop(sock), time.perf_counter(), received[sock].startswith(b"HTTP/1.1 2"))
                if not data:
                    sock.close()
                    sock = socket.create_connection(address)
                idle.append(sock)
    for sock in sockets:
        sock.close()
    return schedule


def complete(data: bytes) -> bool:
    """Whether this is a whole response with a content-length."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return True


def run(
    port: int, path: str, *, rate: float, seconds: float, body: bytes, connections: int = 64, first: bool = False
) -> Percentiles:
    """In a process of its own, so that nothing of ours delays it. `first`: before all others at the processor, if we are root."""
    with tempfile.NamedTemporaryFile() as payload:
        payload.write(body)
        payload.flush()
        place = ["127.0.0.1", str(port), path, str(rate), str(seconds), str(connections), payload.name]
        command = ["chrt", "-f", "1"] if first and os.geteuid() == 0 else []
        command += [sys.executable, "-m", "bench.openloop", *place]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    latencies, failures = json.loads(done.stdout)
    return summarise(rate, latencies, failures)


def summarise(rate: float, latencies: Sequence[float], failures: int = 0) -> Percentiles:
    """From seconds."""
    p50, p99, p999, worst = (1000 * percentile(latencies, p) for p in (50, 99, 99.9, 100))
    return Percentiles(rate, p50, p99, p999, worst, failures)


def main(host: str, port: str, path: str, rate: str, seconds: str, connections: str, file: str) -> None:
    with open(file, "rb") as payload:
        body = payload.read()
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    schedule = drive((host, int(port)), head.encode() + body, float(rate), float(seconds), int(connections))
    print(json.dumps([schedule.latencies, schedule.failures]))


if __name__ == "__main__":
    main(*sys.argv[1:])
