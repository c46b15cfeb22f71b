"""What tests of sandboxes share: a package of handlers, a listener, a sink, and the sandboxes themselves."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dayfly.errors import DayflyError
from dayfly.model.call import FunctionError
from dayfly.model.function import Mount
from dayfly.model.ids import new_id
from dayfly.model.log import LogLine
from dayfly.sandbox.memory import MemorySandbox
from dayfly.sandbox.node.client import NodeSandbox
from dayfly.sandbox.node.wrap import missing
from dayfly.sandbox.port import Box, BoxSpec, Exit, Ready, ResponseHead, Sandbox

SOURCE = "code/handlers"
PYTHON = f"python3.{sys.version_info.minor}"
HANDLERS = Path(__file__).parent / "handlers"
LIMIT = 20.0  # seconds after which a wait is a failure

# Those that another program makes start a Python for each instance: the whole suite over them takes minutes, so it is asked for
# (`make backends`); tests/contract/test_wraps.py runs what tells them from the others.
WRAPPED = tuple(name for name in os.environ.get("DAYFLY_TEST_BACKENDS", "").split(",") if name)
NODES = ("namespace", "process", *WRAPPED)
ALL = (*NODES, "memory")


class Events:
    """Listens to a box."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def on_ready(self, ready: Ready) -> None:
        self.ready.set_result(ready)  # a second one raises

    def on_exit(self, exit: Exit) -> None:
        self.exit.set_result(exit)

    async def gone(self) -> Exit:
        return await asyncio.wait_for(asyncio.shield(self.exit), LIMIT)


class Answer:
    """Takes what comes back of one call. `await answer` gives the body, or the error as a value."""

    def __init__(self, events: Events | None = None) -> None:
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.first = asyncio.Event()
        self.lost_after_exit = False
        self._events = events
        self._end: asyncio.Future[bytes | FunctionError | DayflyError] = asyncio.get_running_loop().create_future()

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None:
        self.head = head
        self.on_data(body, end)

    def on_data(self, data: bytes, end: bool) -> None:
        if data:
            self.pieces.append(data)
        self.first.set()
        if end:
            self._end.set_result(b"".join(self.pieces))

    def on_error(self, error: FunctionError) -> None:
        self._end.set_result(error)

    def on_lost(self, error: DayflyError) -> None:
        self.lost_after_exit = self._events is not None and self._events.exit.done()
        self._end.set_result(error)

    async def end(self) -> Any:
        return await asyncio.wait_for(asyncio.shield(self._end), LIMIT)


class Place:
    """A sandbox with what a test needs around it."""

    def __init__(self, name: str, sandbox: Sandbox, data: Path) -> None:
        self.name = name
        self.sandbox = sandbox
        self.data = data
        self.logs: list[LogLine] = []
        self._logged = asyncio.Event()

    def on_logs(self, lines: list[LogLine]) -> None:
        self.logs += lines
        self._logged.set()

    async def log(self, wanted: Callable[[list[LogLine]], bool]) -> list[LogLine]:
        """Wait until the log is as wanted."""
        async with asyncio.timeout(LIMIT):
            while not wanted(self.logs):
                self._logged.clear()
                await self._logged.wait()
        return self.logs

    def create(self, handler: str, **options: Any) -> tuple[Box, Events]:
        events = Events()
        options.setdefault("runtime", PYTHON)
        return self.sandbox.create(spec(handler, **options), events), events

    async def ready(self, handler: str, **options: Any) -> tuple[Box, Events]:
        """An instance whose code is loaded."""
        box, events = self.create(handler, **options)
        await asyncio.wait({events.ready, events.exit}, timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        assert events.ready.done(), events.exit.result() if events.exit.done() else "neither ready nor gone"
        return box, events


def spec(handler: str, **options: Any) -> BoxSpec:
    """A small instance that runs one of the test handlers."""
    given: dict[str, Any] = {
        "id": new_id(),
        "namespace": "default",
        "function": "under-test",
        "revision": 1,
        "handler": f"handlers.{handler}" if "." not in handler else handler,
        "mounts": (Mount(SOURCE, "/code"),),
        "memory_mb": 64,
        **options,
    }
    return BoxSpec(**given)


def head(**members: Any) -> bytes:
    """Head of a call."""
    return json.dumps({"id": new_id(), "deadline": time.time() + 60, **members}).encode()


def call(box: Box, event: Any = None, *, events: Events | None = None, **members: Any) -> Answer:
    """Begin an event call."""
    answer = Answer(events)
    box.call(head(**members), json.dumps(event).encode(), True, answer)
    return answer


async def ask(box: Box, event: Any = None) -> Any:
    """An event call and its decoded answer."""
    body = await call(box, event).end()
    assert isinstance(body, bytes), body
    return json.loads(body)


def why_not(name: str) -> str:
    """Why a sandbox cannot be tested here; empty if it can."""
    if name not in ("memory", "process") and (sys.platform != "linux" or os.geteuid() != 0):
        return "sandboxes are tested as root on Linux only"
    return missing(name)


@asynccontextmanager
async def place(name: str, **options: Any) -> AsyncIterator[Place]:
    """An open sandbox of that name in a folder of its own, with the test handlers as a package."""
    with tempfile.TemporaryDirectory(prefix="dayfly-") as folder:
        data = Path(folder)
        package = data / "packages" / SOURCE
        package.parent.mkdir(parents=True)
        package.mkdir()
        for file in HANDLERS.glob("*.py"):
            (package / file.name).write_bytes(file.read_bytes())
        if name == "memory":
            found = Place(name, MemorySandbox(packages=data / "packages"), data)
        else:
            found = Place(name, None, data)  # type: ignore[arg-type]
            found.sandbox = NodeSandbox(data, isolation=name, on_logs=found.on_logs, **options)
        await found.sandbox.open()
        try:
            yield found
        finally:
            await found.sandbox.close()


def groups(instance: str) -> list[Path]:
    # Not `glob`: it raises where a folder goes while it looks, and others on this machine come and go.
    return [Path(at, instance) for at, below, _ in os.walk("/sys/fs/cgroup") if instance in below]


def members(instance: str) -> set[int]:
    """The processes in an instance's control groups."""
    return {int(pid) for group in groups(instance) for pid in (group / "cgroup.procs").read_text().split()}


def skip_if_impossible(name: str) -> None:
    if reason := why_not(name):
        pytest.skip(reason)
