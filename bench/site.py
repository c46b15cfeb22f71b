"""A Dayfly server of the bench's own: `dayfly up` on a free port of loopback with a temporary data folder, and a client for it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import machine

START_LIMIT = 60.0  # seconds
STOP_LIMIT = 60.0  # seconds

HELLO = "def handler(event, context):\n    return {'hello': event.get('name', 'world')}\n"
ECHO = "def handler(event, context):\n    return event\n"
NODE_HELLO = "exports.handler = async (event) => ({ hello: event.name ?? 'world' });\n"
NODE_ECHO = "exports.handler = async (event) => event;\n"


class Site:
    """A running server. One connection a thread; raises RuntimeError for every answer that is not 2xx."""

    def __init__(self, data: Path, flags: Sequence[str] = ()) -> None:
        self.data = data
        self._flags = flags
        self.port = free_port()
        self._local = threading.local()
        self._process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._process.pid

    def processes(self) -> list[int]:
        """The server, its node agent (known by its data folder; it is no child of the server) and all instances."""
        agents = [pid for pid in machine.mentioning(str(self.data)) if pid != self.pid]
        return list({pid for root in (self.pid, *agents) for pid in machine.tree(root)})

    def start(self) -> Site:
        """Start the server and wait until it answers. Raises RuntimeError with the end of its log if it does not."""
        self._local.connection = None
        command = [sys.executable, "-m", "dayfly", "up", "--data", str(self.data), "--port", str(self.port), *self._flags]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DAYFLY_")}
        with open(self.data / "bench.log", "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        until = time.monotonic() + START_LIMIT
        while True:
            try:
                self.request("GET", "/healthz")
                return self
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                self._local.connection = None
                if self._process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    tail = (self.data / "bench.log").read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"the server does not start: {error}\n{tail}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # --- requests -----------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
        """(decoded answer, headers)."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            text = response.read()
        except BaseException:
            self._local.connection = None
            connection.close()
            raise
        if not 200 <= response.status < 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
        is_json = "json" in response.headers.get("content-type", "")
        return (json.loads(text) if is_json else text), response.headers

    def deploy(self, name: str, source: str = HELLO, **config: Any) -> Any:
        node = config.get("runtime") == "nodejs"
        files = {"index.js" if node else "handler.py": source}
        config.setdefault("handler", "index.handler" if node else "handler.handler")
        body = {"code": {"files": files}, "config": config}
        return self.request("PUT", f"/v1/namespaces/default/functions/{name}", body)[0]

    def call(self, name: str, event: Any = None, **headers: str) -> tuple[Any, Any]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.request("POST", path(name), event if event is not None else {}, named)

    def recycle(self, name: str) -> int:
        """Retire its instances; how many there were."""
        retired = self.request("POST", f"/v1/namespaces/default/functions/{name}/recycle")[0]["retired"]
        return int(retired)

    def instances(self, name: str) -> list[Any]:
        page = self.request("GET", f"/v1/namespaces/default/instances?function={name}")[0]
        return list(page["items"])

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}{path(name)}"


def path(name: str) -> str:
    return f"/fn/default/{name}"


@contextmanager
def running(*flags: str) -> Iterator[Site]:
    """A server, started with these flags of `dayfly up`, that ends with the block, and its data with it."""
    with tempfile.TemporaryDirectory(prefix="dfb", ignore_cleanup_errors=True) as folder:
        site = Site(Path(folder), flags).start()
        try:
            yield site
        finally:
            site.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
