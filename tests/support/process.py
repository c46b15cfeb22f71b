"""A server in a process of its own, started and killed by the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.site import ISOLATION


class Process:
    """A server of its own, started and killed by the test."""

    def __init__(self, data: Path, **settings: Any) -> None:
        """`settings`: of config.Settings, beside those that every test server has."""
        self.data = data
        self.settings = settings
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.log = data.parent / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        reading, writing = os.pipe()
        code = (
            "import sys, pathlib; from dayfly.config import Settings; from dayfly import server;"
            f"sys.exit(server.main(Settings(data=pathlib.Path({str(self.data)!r}), port={self.port},"
            f" isolation={ISOLATION!r}, ready_fd={writing}, shutdown_grace_s=2, orphan_grace_s=5, **{self.settings!r})))"
        )
        if not self.port:
            self.port = free_port()
            code = code.replace("port=0", f"port={self.port}")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(writing,), stdout=log, stderr=log, start_new_session=True
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            assert ready.read(1) == b"1", (self.log).read_text()[-2000:]

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def stop(self) -> None:
        """End it gracefully, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill(signal.SIGTERM)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        data = json.dumps(body).encode() if body is not None else None
        named = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
                return response.status, json.loads(text) if text else None, dict(response.headers.items())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null"), dict(error.headers.items())

    def api(self, method: str, path: str, body: Any = None) -> Any:
        status, answer, _ = self.request(method, f"/v1/namespaces/default{path}", body)
        assert status < 300, answer
        return answer

    def deploy(self, name: str, source: str, **config: Any) -> Any:
        return self.api("PUT", f"/functions/{name}", {"code": {"files": {"handler.py": source}}, "config": config})

    def call(self, name: str, event: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        return self.request("POST", f"/fn/default/{name}", event if event is not None else {}, **headers)

    def descendants(self) -> list[int]:
        """Processes that belong to this data folder: servers, agents, and all below them."""
        mine = set()
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    if str(self.data).encode() in (entry / "cmdline").read_bytes():
                        mine.add(int(entry.name))
                except OSError:
                    continue
        grown = True
        while grown:
            below = {pid for pid, parent in parents.items() if parent in mine} - mine
            mine |= below
            grown = bool(below)
        return sorted(mine - {os.getpid()})

    def wait_gone(self, seconds: float = 45.0) -> None:
        until = time.monotonic() + seconds
        while self.descendants():
            assert time.monotonic() < until, f"left behind: {self.descendants()}"
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
