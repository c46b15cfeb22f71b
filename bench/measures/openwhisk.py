"""OpenWhisk's interface: warm calls beside what its runtime proxy does, many actions in turn, long sequences.

The proxy is a stand-in, compiled here if there is Go: an HTTP server that hands one JSON line after the other to a Python launcher and
reads one line back on its descriptor 3, as the ActionLoop protocol has it. Both do for a call what the originals do (openwhisk-runtime-go,
openwhisk-runtime-python: launcher.py) and no more, and the call says what an invoker tells them (docs/actions-new.md, activation).
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dayfly.dialects.openwhisk.profile import GUEST_KEY

from .. import site, wrk
from ..model import Finding, Promise, Row, ratios
from ..run import Run

AUTH = {"authorization": "Basic " + base64.b64encode(GUEST_KEY.encode()).decode()}
ACTIONS = "/api/v1/namespaces/_/actions/"
BODY = b'{"name":"Ada"}'
CODE = "def main(args):\n    return {'hello': args.get('name', 'world')}\n"
RUN = b"""{"value":{"name":"Ada"},"namespace":"guest","action_name":"/guest/hello","action_version":"0.0.1","api_host":"http://localhost",\
"activation_id":"0192f3a4b5c67d8e9f00112233445566","transaction_id":"0192f3a4b5c67d8e9f00112233445567","deadline":"1795744394000"}"""
LAUNCHER = """
import json, os, sys, traceback
from action import main
out = os.fdopen(3, "wb")
while True:
    line = sys.stdin.readline()
    if not line:
        break
    call = json.loads(line)
    args = {}
    for name in call:
        if name == "value":
            args = call["value"]
        else:
            os.environ["__OW_%s" % name.upper()] = call[name]
    try:
        answer = main(args)
    except Exception as error:
        print(traceback.format_exc(), file=sys.stderr)
        answer = {"error": str(error)}
    out.write(json.dumps(answer, ensure_ascii=False).encode("utf-8"))
    out.write(b"\\n")
    sys.stdout.flush()
    sys.stderr.flush()
    out.flush()
"""
BARE = """
import json, socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
while line := link.recv(4096):
    link.sendall(json.dumps({"hello": json.loads(line).get("name", "world")}).encode())
"""
PROXY = Path(__file__).resolve().parent.parent / "actionloop.go"


def measure(run: Run) -> Iterator[Finding]:
    many = run.count(100, 5)
    with site.running() as server, proxy() as beside:
        for number in range(many):
            put(server, f"a{number}", {"kind": "python:3", "code": CODE})
        sequence = {"kind": "sequence", "components": ["/_/a0"] * 50}
        put(server, "fifty", sequence)
        for number in range(many):
            invoke(server, f"a{number}")
        target = f"http://127.0.0.1:{server.port}{ACTIONS}a0?blocking=true"
        rates: dict[tuple[str, int], list[float]] = {}
        bare: list[float] = []  # what the machine's caches alone make of it
        turns: dict[str, list[float]] = {"one": [], "many": [], "sequence": [], "calls": []}
        for _ in range(run.rounds):
            for connections in (1, 32):
                load = wrk.run(target, connections=connections, seconds=run.seconds, body=BODY, headers=AUTH)
                rates.setdefault(("dayfly", connections), []).append(load.rate)
                if beside:
                    load = wrk.run(beside, connections=connections, seconds=run.seconds, body=RUN)
                    rates.setdefault(("proxy", connections), []).append(load.rate)
            count = run.count(2000, 50)
            turns["one"].append(count / took(lambda n: invoke(server, "a0"), count))
            turns["many"].append(count / took(lambda n: invoke(server, f"a{n % many}"), count))
            with processes(many) as workers:
                bare.append(in_turn(workers[:1], count) / in_turn(workers, count))
            turns["sequence"].append(took(lambda n: invoke(server, "fifty"), run.count(20, 2)) / run.count(20, 2))
            turns["calls"].append(took(lambda n: invoke(server, "a0"), run.count(1000, 50)) / run.count(20, 1))
    command = "python -m bench openwhisk"
    for connections in (1, 32):
        mine = rates["dayfly", connections]
        yield Row("openwhisk", f"warm blocking calls of a Python action, {connections} connections", "calls/s", tuple(mine))
        if beside:
            floor = rates["proxy", connections]
            yield Row("openwhisk", f"the proxy's work alone, {connections} connections", "calls/s", tuple(floor))
            share = Row("openwhisk", f"Dayfly / proxy, {connections} connections", "x", ratios(mine, floor))
            yield share
            if connections == 32:
                what = "warm blocking OpenWhisk call, of the runtime proxy alone"
                yield Promise(what, ">= 1", f"{share.median:.2f}", share.median >= 1, command)
    share = Row("openwhisk", f"{many} actions in turn / one action, one connection", "x", ratios(turns["many"], turns["one"]))
    yield share
    yield Row("openwhisk", f"{many} bare processes in turn / one, no server between", "x", tuple(bare))
    yield Promise(f"{many} OpenWhisk actions in turn, of one", ">= 85 %", f"{share.median:.0%}", share.median >= 0.85, command)
    cost = Row("openwhisk", "a sequence of 50 / 50 calls", "x", ratios(turns["sequence"], turns["calls"]))
    yield cost
    yield Promise("a sequence of 50 actions, of 50 warm calls", "<= 1.2", f"{cost.median:.2f}", cost.median <= 1.2, command)


def put(server: site.Site, name: str, exec_: dict[str, object]) -> None:
    server.request("PUT", f"{ACTIONS}{name}?overwrite=true", {"exec": exec_}, AUTH)


def invoke(server: site.Site, name: str) -> None:
    server.request("POST", f"{ACTIONS}{name}?blocking=true", {"name": "Ada"}, AUTH)


def took(call: object, count: int) -> float:
    """Seconds for that many calls, one after the other."""
    began = time.perf_counter()
    for number in range(count):
        call(number)  # type: ignore[operator]
    return time.perf_counter() - began


@contextmanager
def processes(number: int) -> Iterator[list[socket.socket]]:
    """So many that each answer a line of JSON with another."""
    with ExitStack() as stack:
        ours = []
        for _ in range(number):
            mine, theirs = socket.socketpair()
            ours.append(stack.enter_context(mine))
            command = [sys.executable, "-S", "-c", BARE, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            stack.callback(process.wait)
            stack.callback(mine.close)
            theirs.close()
        in_turn(ours, 2 * number)
        yield ours


def in_turn(workers: list[socket.socket], count: int) -> float:
    """Seconds for that many calls, one after the other."""

    def call(number: int) -> None:
        worker = workers[number % len(workers)]
        worker.sendall(BODY)
        worker.recv(4096)

    return took(call, count)


@contextmanager
def proxy() -> Iterator[str]:
    """The address of the stand-in's `/run`; empty where there is no Go."""
    if shutil.which("go") is None:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="dfp") as name:
        folder = Path(name)
        (folder / "launcher.py").write_text(LAUNCHER)
        (folder / "action.py").write_text(CODE)
        subprocess.run(["go", "build", "-o", str(folder / "proxy"), str(PROXY)], check=True)
        port = site.free_port()
        command = [str(folder / "proxy"), f"127.0.0.1:{port}", sys.executable, str(folder / "launcher.py")]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}/run"
            _await(url)
            yield url
        finally:
            process.kill()
            process.wait()


def _await(url: str) -> None:
    import urllib.error
    import urllib.request

    until = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, b'{"value":{}}') as answer:
                json.load(answer)
            return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
