"""AWS's runtime interface client as it comes, against the smallest Runtime API: what Dayfly is compared with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PYTHON = (sys.executable, "-m", "awslambdaric")
REQUEST = "11111111-2222-4333-8444-555555555555"


class Outcome(NamedTuple):
    """What the client posted, whether it was an error, and what it printed."""

    payload: bytes
    failed: bool
    log: str


def run(folder: Path, handler: str, event: bytes, environment: dict[str, str], command: Sequence[str] = PYTHON) -> Outcome:
    """One call of a handler in `folder` under a plain client, by default the one for Python."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        env = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}",
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TZ": ":UTC",
            **environment,
        }
        process = subprocess.Popen([*command, handler], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            payload, failed = _converse(server, event)
        finally:
            process.kill()
            log, _ = process.communicate()
    return Outcome(payload, failed, log.decode("utf-8", "replace"))


def _converse(server: socket.socket, event: bytes) -> tuple[bytes, bool]:
    """Hand out the event, and take the outcome: the first thing that is posted."""
    while True:
        conn, _ = server.accept()
        conn.settimeout(30)
        with conn:
            buffer = b""
            while True:
                data = conn.recv(65536)
                if not data:
                    break
                buffer += data
                head, gap, body = buffer.partition(b"\r\n\r\n")
                if not gap:
                    continue
                if head.startswith(b"GET"):
                    conn.sendall(_next(event))
                    buffer = body
                    continue
                fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
                if b"expect" in fields and not body:
                    conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    fields.pop(b"expect")
                while len(body) < int(fields[b"content-length"]):
                    body += conn.recv(1 << 20)
                conn.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 15\r\n\r\n" + b'{"status":"OK"}')
                return body, b"/error" in head.split(b" ")[1]


def _next(event: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK", "Content-Type: application/json", f"Lambda-Runtime-Aws-Request-Id: {REQUEST}",
        f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 20_000}",
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:same", f"Content-Length: {len(event)}",
    )  # fmt: skip
    return "\r\n".join(head).encode() + b"\r\n\r\n" + event


def decoded(payload: bytes) -> Any:
    """JSON, or what is none as text."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode("latin-1")
