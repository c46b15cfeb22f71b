"""Attack 39 at full size: a hundred thousand idle connections from many addresses, and what they cost.

    python -m tests.attacks.idle [--attackers 100000] [--connections 20000] [--peer-connections 5000]

A server of its own, attackers in processes of their own (each may have only so many descriptors), and a neighbour that calls all the
while on a connection that it keeps, and now and then on a new one. The server holds as many as it may; the rest of them were let go or
refused. It prints what an idle connection costs the server, and fails if that is more than BOUND, or if the neighbour was ever refused.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.site import Site

BOUND = 16.0  # KiB of the server's own memory for an idle connection
EACH = 15_000  # connections of one attacking process
PER_ADDRESS = 4_000  # connections from one source address, so that the bound for one peer is not what is met


def attack(port: int, count: int, first: int) -> None:
    """In a process of its own: connect, say how many there are, look how many were ended, until the standard input ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held: dict[int, socket.socket] = {}
    ended, refused = 0, 0
    poll = select.epoll()

    def look(wait: float = 0.0) -> None:
        nonlocal ended, refused
        for fd, _ in poll.poll(wait):
            try:
                said = held[fd].recv(1024)
            except OSError:
                said = b""
            refused += b" 503 " in said
            ended += 1
            poll.unregister(fd)
            held.pop(fd).close()

    for number in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((f"127.1.{first}.{1 + number // PER_ADDRESS}", 0))
        try:
            sock.connect(("127.0.0.1", port))
        except OSError:
            ended += 1
            sock.close()
            continue
        held[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
        if number % 100 == 0:
            look()
    look(0.5)
    print(json.dumps({"tried": count, "held": len(held), "ended": ended, "refused": refused}), flush=True)
    sys.stdin.read()


class Neighbour(threading.Thread):
    """Calls a function every few milliseconds; every tenth time on a new connection."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.taken: list[float] = []  # seconds
        self.failures: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        number = 0
        while not self._over.wait(0.005):
            number += 1
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30) if number % 10 == 0 else kept
            began = time.perf_counter()
            try:
                connection.request("POST", "/fn/default/neighbour", str(number), {"content-type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 200 or said != str(number).encode():
                    self.failures.append(f"{answer.status} {said[:200]!r}")
            except OSError as error:
                self.failures.append(repr(error))
                kept.close()
            self.taken.append(time.perf_counter() - began)
            if connection is not kept:
                connection.close()

    def end(self) -> list[float]:
        self._over.set()
        self.join()
        return self.taken


def resident_kib(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )


def sockets(pid: int) -> int:
    return sum(os.readlink(entry).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())


def p(values: list[float], part: float) -> float:
    """Milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.idle")
    parser.add_argument("--attackers", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--peer-connections", type=int, default=5_000)
    given = parser.parse_args()
    flags = [f"--edge-limit=connections={given.connections}", f"--edge-limit=peer_connections={given.peer_connections}"]
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), flags).start()
        attackers: list[subprocess.Popen[str]] = []
        try:
            return run(site, given.attackers, attackers)
        finally:
            for attacker in attackers:
                attacker.kill()
                attacker.wait()
            site.stop()


def run(site: Site, wanted: int, attackers: list[subprocess.Popen[str]]) -> int:
    site.deploy("neighbour", "def handler(event, context):\n    return event\n")
    quiet = Neighbour(site.port)
    quiet.start()
    time.sleep(3)
    before = quiet.end()
    idle_kib, idle_sockets = resident_kib(site.pid), sockets(site.pid)
    neighbour = Neighbour(site.port)
    neighbour.start()
    began = time.perf_counter()
    for first, at in enumerate(range(0, wanted, EACH)):
        command = [
            sys.executable,
            "-m",
            "tests.attacks.idle",
            "attack",
            str(site.port),
            str(min(EACH, wanted - at)),
            str(first),
        ]
        attackers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    said: list[Any] = []
    for attacker in attackers:
        assert attacker.stdout is not None
        said.append(json.loads(attacker.stdout.readline()))
    took = time.perf_counter() - began
    held = sockets(site.pid) - idle_sockets
    each = (resident_kib(site.pid) - idle_kib) / max(1, held)
    time.sleep(2)
    during = neighbour.end()
    tried = sum(one["tried"] for one in said)
    print(f"{tried} connections tried in {took:.1f} s ({tried / took:.0f}/s); the server holds {held}")
    print(
        f"ended or refused: {sum(one['ended'] for one in said)} by the time of the last look, told so: {sum(one['refused'] for one in said)}"
    )
    print(f"an idle connection costs the server {each:.1f} KiB (bound {BOUND:.0f})")
    for name, taken in (("quiet", before), ("attacked", during)):
        print(f"neighbour, {name}: {len(taken)} calls, median {statistics.median(taken) * 1000:.2f} ms, p99 {p(taken, 0.99):.2f} ms, worst {max(taken) * 1000:.0f} ms")  # fmt: skip
    print(f"neighbour's failures: {neighbour.failures[:3] or 'none'}")
    return int(each > BOUND or bool(neighbour.failures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        attack(*map(int, sys.argv[2:5]))
    else:
        sys.exit(main())
