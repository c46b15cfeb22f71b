"""Closed-loop load by wrk: throughput, and latency percentiles of a fixed number of connections."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_SCRIPT = """
local file = io.open({body})
wrk.method = "POST"
wrk.body = file:read("*a")
{headers}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n@{{"requests":%d,"us":%d,"bad":%d,"lost":%d,"p50_us":%d,"p99_us":%d}}\\n', summary.requests,
    summary.duration, e.status, e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


class Load(Struct, frozen=True):
    """What wrk saw."""

    rate: float  # answers a second
    p50_ms: float
    p99_ms: float
    count: int
    bad: int  # answers that were not 2xx or 3xx, and connections that failed


def available() -> bool:
    return shutil.which("wrk") is not None


def run(url: str, *, connections: int, seconds: float, body: bytes, headers: Mapping[str, str] | None = None) -> Load:
    """Let `connections` connections send one request after the other for some seconds; longer, if nothing is answered in these.

    Raises RuntimeError if wrk fails, or nothing is answered then either.
    """
    lines = {"content-type": "application/json", **(headers or {})}
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder, "body")
        payload.write_bytes(body)
        script = Path(folder, "load.lua")
        setting = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in lines.items())
        script.write_text(_SCRIPT.format(body=json.dumps(str(payload)), headers=setting))
        for limit in (seconds, 20.0):
            load = _run(url, connections, limit, script)
            if load.count:
                return load
    raise RuntimeError(f"{url} answers nothing")


def _run(url: str, connections: int, seconds: float, script: Path) -> Load:
    whole = math.ceil(seconds)  # which wrk takes; less than one ends as by ^C, with a summary all the same
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "-s", str(script), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if seconds < 1:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    found = [line for line in out.splitlines() if line.startswith("@")]
    if not found:
        raise RuntimeError(f"wrk failed: {out[-500:]} {errors[-500:]}")
    seen = json.loads(found[-1][1:])
    rate = seen["requests"] / (seen["us"] / 1e6)
    return Load(rate, seen["p50_us"] / 1000, seen["p99_us"] / 1000, seen["requests"], seen["bad"] + seen["lost"])
