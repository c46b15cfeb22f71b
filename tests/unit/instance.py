"""Starts a runtime the way a sandbox does, without the sandbox, and speaks frames with it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dayfly
from dayfly.sandbox import frames

RUNTIME = Path(dayfly.__file__).parent / "runtime"
PYTHON = [sys.executable, "-I", "-S", "-B", str(RUNTIME / "python" / "worker_main.py")]
NODE = ["node", str(RUNTIME / "node" / "main.cjs")]
CALL_ID = "0" * 31
TIMEOUT = 30.0  # seconds a test waits for a frame before it fails


def interpreters() -> dict[str, str]:
    """Version -> path of every supported Python found here."""
    found: dict[str, str] = {}
    for minor in range(8, 14):
        name = f"python3.{minor}"
        managed = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/{name}"))
        path = str(managed[-1]) if managed else shutil.which(name)
        if path:
            found[f"3.{minor}"] = path
    return found


class Answer:
    """All that came back of one call."""

    def __init__(self) -> None:
        self.head: dict[str, Any] | None = None
        self.pieces: list[bytes] = []
        self.error: dict[str, Any] | None = None
        self.refused = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def status(self) -> int:
        assert self.head is not None, self.error or self.refused
        return int(self.head.get("status", 200))

    @property
    def headers(self) -> list[tuple[str, str]]:
        assert self.head is not None, self.error or self.refused
        return [(k, v) for k, v in self.head.get("headers", ())]

    @property
    def content_type(self) -> str:
        return dict(self.headers).get("content-type", "application/json")


class Link:
    """The gateway's end of one connection."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self._parser = frames.Parser()
        self._waiting: list[tuple[int, int, bytes]] = []
        self._next = 0

    def frame(self) -> tuple[int, int, bytes]:
        """The next frame. EOFError when the instance has gone."""
        while not self._waiting:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError("the instance closed the connection")
            self._waiting = self._parser.feed(data)
        return self._waiting.pop(0)

    def ready(self) -> dict[str, Any]:
        kind, stream, payload = self.frame()
        assert (kind & 0x7F, stream) == (frames.READY, 0), payload
        return json.loads(payload)

    def failed(self) -> dict[str, Any]:
        kind, stream, payload = self.frame()
        assert (kind & 0x7F, stream) == (frames.FAILED, 0), payload
        return json.loads(payload)

    def begin(self, body: bytes = b"", *, end: bool = True, **head: Any) -> int:
        """Send a call; returns its stream."""
        self._next += 1
        full = {"id": f"{self._next:032x}", "deadline": time.time() + 60, **head}
        self.sock.sendall(frames.encode_call(self._next, json.dumps(full).encode(), body, end))
        return self._next

    def send(self, stream: int, data: bytes, *, end: bool) -> None:
        self.sock.sendall(frames.encode_data(stream, data, end))

    def cancel(self, stream: int) -> None:
        self.sock.sendall(frames.encode(frames.CANCEL, stream))

    def answer(self, *streams: int) -> Any:
        """Wait until these calls have ended; a list of answers, or the answer if there is one stream."""
        answers = {stream: Answer() for stream in streams}
        left = set(streams)
        while left:
            kind, stream, payload = self.frame()
            answer = answers[stream]
            assert stream in left, "a frame after the end of its stream"
            plain = kind & 0x7F
            if plain == frames.RESPONSE:
                assert answer.head is None
                answer.head = json.loads(payload)
            elif plain == frames.DATA:
                assert answer.head is not None
                answer.pieces.append(payload)
            elif plain == frames.ERROR:
                answer.error = json.loads(payload)
            elif plain == frames.REFUSED:
                answer.refused = json.loads(payload)["message"]
            if kind & frames.END:
                left.discard(stream)
        return [answers[s] for s in streams] if len(streams) > 1 else answers[streams[0]]

    def call(self, event: Any = None, **head: Any) -> Answer:
        body = event if isinstance(event, bytes) else b"" if event is None else json.dumps(event).encode()
        answer = self.answer(self.begin(body, **head))
        assert isinstance(answer, Answer)
        return answer

    def http(self, method: str = "GET", path: str = "/", query: str = "", headers: Any = (), body: bytes = b"") -> Answer:
        http = {"method": method, "path": path, "query": query, "headers": [list(pair) for pair in headers]}
        return self.call(body or None, http=http)

    def close(self) -> None:
        self.sock.close()


class Instance:
    """A running runtime process with its log."""

    def __init__(self, process: subprocess.Popen[bytes], path: str) -> None:
        self.process = process
        self.path = path
        self.output = {"stdout": b"", "stderr": b""}
        self._links: list[Link] = []
        self._threads = [
            threading.Thread(target=self._read, args=(name, getattr(process, name)), daemon=True) for name in self.output
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str, pipe: Any) -> None:
        while data := pipe.read1(1 << 16):
            self.output[name] += data

    def connect(self) -> Link:
        self._links.append(Link(self.path))
        return self._links[-1]

    def exit_status(self) -> int:
        return self.process.wait(TIMEOUT)

    def stop(self) -> None:
        """Kill it and read the rest of its log."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait(TIMEOUT)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for name in self.output:
            getattr(self.process, name).close()
        for link in self._links:
            link.close()

    def log(self, stream: str = "stdout") -> str:
        """Ends the instance; all it wrote on a stream."""
        self.stop()
        return self.output[stream].decode()


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@contextmanager
def running(command: list[str], root: Path, **work: Any) -> Iterator[Instance]:
    """An instance that runs the package in `root`. `work` overrides the defaults."""
    full = {
        "id": "f" * 32,
        "namespace": "default",
        "function": "demo",
        "revision": 7,
        "runtime": "python3.11",
        "handler": "handler.handler",
        "flavour": "event",
        "contract": "dayfly",
        "concurrency": 1,
        "memory_mb": 256,
        "timeout_s": 60.0,
        "env": {},
        "task_root": str(root),
        "deps_roots": [],
        "tmp": tempfile.gettempdir(),
        **work,
    }
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "s")
        listener.bind(path)
        listener.listen(8)
        process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{listener.fileno()}', "bash", *command],
            env={"DAYFLY_WORK": json.dumps(full), "PATH": os.environ["PATH"], "INHERITED": "must not be seen"},
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        instance = Instance(process, path)
        try:
            yield instance
        finally:
            instance.stop()
