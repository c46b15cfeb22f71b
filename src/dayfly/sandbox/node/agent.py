"""The node agent: `python -m dayfly.sandbox.node.agent --data DIR --isolation namespace|process|...`.

The one privileged process of Dayfly. It starts and ends instances and reads what they print; it never sees a call, a body or an answer,
which go straight between server and instance. One server at a time is its master, over the socket DIR/run/node.sock.

If that server vanishes without saying Shutdown, instances and a bounded rest of their output wait for GRACE seconds for the next one;
if none comes the agent destroys everything and ends. If the agent itself is killed, the kernel ends zygotes and instances with it,
and the next agent sweeps what is left of them: sockets and cgroups.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import fcntl
import hashlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import uvloop

from ...clock import SystemClock
from ..addresses import reachable
from .cgroups import Cgroups, detect
from .net.router import Network
from .plans import ISOLATIONS, Planner
from .service import Agent

READY = b"ready\n"  # what the server that started us is told
BUSY = b"busy\n"
GRACE = 30.0  # seconds that instances outlive their server
PR_SET_CHILD_SUBREAPER = 36


class NodeBusy(Exception):
    """Another node agent works on this data folder."""


def take(data: Path, packages: Path) -> IO[str]:
    """Make the folders ours, and free of what a dead agent left. Returns the lock to hold. Raises NodeBusy."""
    run = data / "run"
    (run / "i").mkdir(parents=True, exist_ok=True)
    run.chmod(0o700)
    packages.mkdir(parents=True, exist_ok=True)
    lock = open(run / "node.lock", "w")  # noqa: SIM115 - held as long as the agent lives
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise NodeBusy(f"another node agent works on {data}") from None
    for left in (run / "i").iterdir():
        left.unlink()
    shutil.rmtree(run / "t", ignore_errors=True)
    for name in ("node.sock", "services.sock"):
        (run / name).unlink(missing_ok=True)
    return lock


def connect(open_networks: Sequence[str]) -> Network | None:
    """The network of this node; None where it cannot have one, and the log says why."""
    try:
        return Network.open(open_networks)
    except OSError as error:
        print(f"functions have no network: {error}", file=sys.stderr, flush=True)
        return None


async def serve(
    data: Path, planner: Planner, cgroups: Cgroups | None, network: Network | None, grace: float, ready: Callable[[], None]
) -> None:
    """Be the node agent of a data folder until it is shut down."""
    agent = Agent(data, planner, cgroups, network, grace=grace, clock=SystemClock())
    await agent.open()
    address = data / "run" / "node.sock"
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.shut_down)
    with reachable(address) as reached:
        server = await loop.create_unix_server(agent.accept, reached)
    os.chmod(address, 0o600)
    agent.await_server()
    ready()
    await agent.finished.wait()
    server.close()
    os.unlink(address)  # a server that comes now starts the next agent, which waits for our lock
    await agent.leave()


def main() -> None:
    parser = argparse.ArgumentParser(prog="dayfly.sandbox.node.agent", description="The node agent of Dayfly.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the server")
    parser.add_argument("--isolation", choices=ISOLATIONS, required=True)
    parser.add_argument("--packages", type=Path, help="folder that mounts refer to; default: DATA/packages")
    parser.add_argument("--open-network", action="append", default=[], help="private network that functions may reach")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds that instances outlive their server")
    parser.add_argument("--detach", type=int, metavar="FD", help="go on in the background; write a line to FD when serving")
    options = parser.parse_args()
    if options.detach is not None and os.fork():
        os._exit(0)

    def report(line: bytes) -> None:
        if options.detach is not None:
            os.write(options.detach, line)
            os.close(options.detach)

    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))  # not the server's: instances inherit it
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.platform == "linux":  # instances whose zygote died become children of the agent, which buries them
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    data = options.data.resolve()
    packages = (options.packages or data / "packages").resolve()
    try:
        lock = take(data, packages)
    except NodeBusy as error:
        report(BUSY)
        sys.exit(str(error))
    with lock:
        identity = hashlib.sha256(str(data).encode()).hexdigest()[:16]
        cgroups = detect(identity) if options.isolation != "process" else None
        if cgroups is not None:
            cgroups.sweep()
        network = connect(options.open_network) if options.isolation != "process" else None
        planner = Planner(options.isolation, packages, data / "run" / "t", network=network is not None)
        uvloop.run(serve(data, planner, cgroups, network, options.grace, lambda: report(READY)))
        if cgroups is not None:
            cgroups.close()


if __name__ == "__main__":
    main()
