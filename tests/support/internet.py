"""A small world in network namespaces: a machine that runs Dayfly, and behind its only cable everything that a function may or may not
reach. Nothing of it is ever seen by the real machine, and all of it is gone with the test.

    machine   eth0 10.77.0.2 -----cable----- 10.77.0.1   the world: public addresses, metadata services, private networks
"""

from __future__ import annotations

import http.client
import json
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset

from dayfly.sandbox.node.net.rtnetlink import inside, new_namespace
from tests.support.site import ISOLATION

ADDRESS, GATEWAY = "10.77.0.2", "10.77.0.1"
ADDRESS6, GATEWAY6 = "2001:db8:77::2", "2001:db8:77::1"
PUBLIC, OTHER, NAMES = "93.184.216.34", "151.101.1.69", "8.8.8.8"  # a web site, another one, a resolver
METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
PRIVATE = ("10.0.0.5", "172.16.5.5", "192.168.1.1", "100.64.0.9", "169.254.7.7", "198.51.100.3")
PUBLIC6 = "2606:2800:220:1::1"
PORTS = (25, 80, 443, 5432)  # of TCP, at every address of the world
DATAGRAMS = (53, 9999)
ZONE = {
    "example.com": PUBLIC,
    "api.example.com": PUBLIC,
    "other.test": OTHER,
    "metadata.example.com": METADATA,
    "rebind.example.com": PRIVATE[0],
    "loop.example.com": "127.0.0.1",
}
IP_PKTINFO = 8  # not named by every Python
REQUIRED = ("ip", "nsenter", "unshare")


class Place:
    """A network namespace in which sockets listen: each connection and datagram is noted, and answered."""

    def __init__(self) -> None:
        self.namespace = _namespace()
        self.heard: list[tuple[str, int, str]] = []  # what came: address it came to, port, address it came from
        self.questions: list[str] = []  # names that were asked for
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._ending = False
        self._thread: threading.Thread | None = None

    def ip(self, *lines: str) -> None:
        subprocess.run(
            ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}", "ip", "-batch", "-"],
            input="\n".join(lines),
            text=True,
            check=True,
        )

    def listen(self, *ports: int, address: str = "0.0.0.0") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in ports:
            self._add(family, socket.SOCK_STREAM, (address, port))

    def datagrams(self, *ports: int, address: str = "0.0.0.0") -> None:
        for port in ports:
            self._add(socket.AF_INET, socket.SOCK_DGRAM, (address, port))

    def _add(self, family: int, kind: int, where: tuple[str, int]) -> None:
        with inside(self.namespace):
            made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
        if kind == socket.SOCK_STREAM:
            made.listen(2048)
        elif family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        made.setblocking(False)
        self._sockets.append(made)
        self._selector.register(made, selectors.EVENT_READ)

    def serve(self) -> None:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(0.2):
                made: Any = key.fileobj
                try:
                    (self._accept if made.type == socket.SOCK_STREAM else self._datagram)(made)
                except OSError:
                    continue

    def _accept(self, listening: socket.socket) -> None:
        connection, peer = listening.accept()
        here = connection.getsockname()
        self.heard.append((here[0], here[1], peer[0]))
        with connection:
            connection.sendall(f"{here[0]} greets {peer[0]}\n".encode())

    def _datagram(self, made: socket.socket) -> None:
        data, extra, _, peer = made.recvmsg(4096, 256)
        here = next(socket.inet_ntoa(value[8:12]) for level, kind, value in extra if kind == IP_PKTINFO)
        port = made.getsockname()[1]
        self.heard.append((here, port, peer[0]))
        answer = self._resolve(data) if port == 53 else b"greetings"
        source = [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, socket.inet_aton(here), bytes(4)))]
        made.sendmsg([answer], source, 0, peer)

    def _resolve(self, data: bytes) -> bytes:
        asked = dns.message.from_wire(data)
        question = asked.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.questions.append(name)
        answer = dns.message.make_response(asked)
        if name in ZONE and question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 30, "IN", "A", ZONE[name]))
        return answer.to_wire()

    def close(self) -> None:
        self._ending = True
        if self._thread is not None:
            self._thread.join()
        self._selector.close()
        for made in self._sockets:
            made.close()
        os.close(self.namespace)


class World:
    """The machine, what is behind its cable, and a Dayfly server on the machine."""

    def __init__(self, data: Path) -> None:
        self.machine, self.beyond = Place(), Place()
        self.data = data
        self.port = 8321
        self._process: subprocess.Popen[bytes] | None = None
        self.beyond.ip("link add wire type veth peer name eth0")
        self.beyond.ip(f"link set eth0 netns /proc/{os.getpid()}/fd/{self.machine.namespace}")
        addresses = (PUBLIC, OTHER, NAMES, METADATA, *PRIVATE)
        self.beyond.ip(
            *(f"address add {address}/32 dev lo" for address in addresses),
            *(f"address add {address}/128 dev lo nodad" for address in (METADATA6, PUBLIC6)),
            f"address add {GATEWAY}/24 dev wire",
            f"address add {GATEWAY6}/64 dev wire nodad",
            "link set wire up",
        )
        self.machine.ip(
            f"address add {ADDRESS}/24 dev eth0",
            f"address add {ADDRESS6}/64 dev eth0 nodad",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
            f"route add default via inet6 {GATEWAY6}",
        )
        # Namespaces begin with what the real machine has at the time: this one forwards nothing yet.
        forward = "echo 0 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.machine.namespace}", "sh", "-c", forward], check=True)
        self.beyond.listen(*PORTS)
        self.beyond.listen(*PORTS, address="::")
        self.beyond.datagrams(*DATAGRAMS)
        self.beyond.serve()
        # Services of the machine that no function may reach: on all its addresses, and on loopback alone.
        self.machine.listen(5555)
        self.machine.listen(5555, address="::")
        self.machine.listen(6379, address="127.0.0.1")
        self.machine.datagrams(5556)
        self.machine.serve()

    def start(self, *options: str) -> None:
        """Start the server, which believes to be on that machine; its resolver is the world's."""
        resolver = self.data / "resolv.conf"
        resolver.write_text(f"nameserver {NAMES}\n")
        script = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
        served = [
            sys.executable,
            "-m",
            "dayfly",
            "up",
            "--data",
            str(self.data / "d"),
            "--port",
            str(self.port),
            "--isolation",
            ISOLATION,
        ]
        served += options
        net = f"--net=/proc/{os.getpid()}/fd/{self.machine.namespace}"
        command = ["nsenter", net, "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *served]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DAYFLY_")}
        with open(self.data / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        until = time.monotonic() + 60
        while True:
            try:
                self.request("GET", "/healthz")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.data / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """End the server; with `kill` its node as well, without a word."""
        assert self._process is not None
        if kill:
            for pid in self.nodes():
                os.kill(pid, 9)
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(60)

    def nodes(self) -> list[int]:
        """Process ids of this server's node."""
        mark = f"--data\0{self.data / 'd'}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if mark in command and b"node.agent" in command:
                found.append(int(entry.name))
        return found

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, decoded answer); on the machine, over its loopback."""
        with inside(self.machine.namespace):
            made = socket.create_connection(("127.0.0.1", self.port), 60)
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = made
        with made:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"content-type": "application/json", **headers}
            )
            answer = connection.getresponse()
            text = answer.read()
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if is_json and text else text.decode()

    def deploy(self, name: str, source: str, namespace: str = "default", **config: Any) -> None:
        config = {"handler": "handler.handler", "memory_mb": 64, "timeout_s": 40.0, **config}
        file = "handler.js" if config.get("runtime") == "nodejs" else "handler.py"
        body = {"code": {"files": {file: source}}, "config": config}
        status, answer = self.request("PUT", f"/v1/namespaces/{namespace}/functions/{name}", body)
        assert status in (200, 201), answer

    def call(self, name: str, event: Any = None, namespace: str = "default") -> Any:
        status, answer = self.request("POST", f"/fn/{namespace}/{name}", event if event is not None else {})
        assert status == 200, answer
        return answer

    @contextmanager
    def neighbour(self) -> Iterator[None]:
        """Another tenant's function is called all the while, and always answers."""
        stop = threading.Event()
        answered: list[int] = []
        failed: list[BaseException] = []

        def keep_calling() -> None:
            try:
                while not stop.is_set():
                    assert self.call("neighbour", {"n": len(answered)}, "tenant") == {"n": len(answered)}
                    answered.append(1)
                    stop.wait(0.01)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=keep_calling)
        thread.start()
        try:
            yield
        finally:
            before = len(answered)
            waited(lambda: len(answered) >= before + 2 or bool(failed))
            stop.set()
            thread.join()
        assert not failed, failed[0]

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        for place in (self.machine, self.beyond):
            place.close()


def missing() -> str:
    """Why there can be no such world here; empty if there can."""
    from dayfly.sandbox.node.net.router import rehearse

    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces are made as root"
    tools = [tool for tool in REQUIRED if not shutil.which(tool)]
    return f"missing: {', '.join(tools)}" if tools else rehearse()


@contextmanager
def world() -> Iterator[World]:
    """A world with a server that serves, and a neighbour that has moved in."""
    with tempfile.TemporaryDirectory(prefix="dfw") as folder:
        made = World(Path(folder))
        try:
            made.start()
            assert made.request("PUT", "/v1/namespaces/tenant")[0] in (200, 201)
            made.deploy("neighbour", "def handler(event, context):\n    return event\n", "tenant")
            yield made
        finally:
            made.close()


def _namespace() -> int:
    """A new network namespace with loopback up; no thread stays in it."""
    made: list[int] = []
    thread = threading.Thread(target=lambda: made.append(new_namespace()))
    thread.start()
    thread.join()
    net = f"--net=/proc/{os.getpid()}/fd/{made[0]}"
    subprocess.run(["nsenter", net, "ip", "link", "set", "lo", "up"], check=True)
    return made[0]


def waited(condition: Callable[[], bool]) -> None:
    """Look until it is so."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
