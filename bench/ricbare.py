"""AWS's runtime interface client by itself: `python -m awslambdaric` against the smallest Runtime API, a loop over one socket.

What it takes from handing over an event to having the answer is the least that any implementation of the API can take.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def round_trips(source: str, body: bytes, count: int) -> list[float]:
    """Seconds of each of `count` calls, after 50 to warm up."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        Path(folder, "handler.py").write_text(source)
        env = os.environ | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}",
            "_HANDLER": "handler.handler",
            "LAMBDA_TASK_ROOT": folder,
            "PYTHONPATH": folder,
        }
        process = subprocess.Popen([sys.executable, "-m", "awslambdaric", "handler.handler"], cwd=folder, env=env)
        try:
            return _serve(server, body, count + 50)[50:]
        finally:
            process.kill()
            process.wait()


def _serve(server: socket.socket, body: bytes, count: int) -> list[float]:
    """Answer `next` with the event and `response` with 202, on the connections that the client makes."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: 1\r\n"
        b"Lambda-Runtime-Deadline-Ms: 9999999999999\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    accepted = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}'
    seconds: list[float] = []
    given = 0.0
    conn, _ = server.accept()
    buffer = b""
    while len(seconds) < count:
        data = conn.recv(65536)
        if not data:
            conn, _ = server.accept()
            buffer = b""
            continue
        buffer += data
        while b"\r\n\r\n" in buffer:
            first, _, rest = buffer.partition(b"\r\n\r\n")
            if first.startswith(b"GET"):
                buffer = rest
                given = time.perf_counter()
                conn.sendall(head + body)
                continue
            length = next(int(line[15:]) for line in first.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(rest) < length:
                break
            seconds.append(time.perf_counter() - given)
            buffer = rest[length:]
            conn.sendall(accepted)
    return seconds
