"""The sandbox port: where instances live.

    create(spec, events) -> Box        start one; returns at once, calls may be sent before it is ready
    adopt(claim) -> [Box]              take over what survived a restart of the server
    run(job) -> JobResult              run a command to its end in a sandbox (builds)
    flush_logs()                       see that what was printed has come
    open() / close()

    box.call(head, body, end, sink) -> stream     box.send(stream, data, end)     box.cancel(stream)
    box.hold() / box.release()  back-pressure     box.pause() / resume() / stats() / destroy()

Guarantees every implementation gives, checked by one suite over all of them (tests/contract/test_sandbox.py):

* `events.on_ready` is called at most once, `events.on_exit` exactly once, and nothing after it.
* Every sink gets exactly one ending: a frame with end=True, `on_error` or `on_lost`. If the box ends, the sinks of its
  open calls get `on_lost` before `on_exit` is reported.
* After `destroy` returns, no process of the instance is alive and its files are gone.
* All callbacks come on the event loop of the caller; none comes from within the call that caused it, but for `on_lost`
  of a call on a box that is already gone.

Implementations: `node.client.NodeSandbox` (isolation "namespace": the real one; "process": no isolation), and
`memory.MemorySandbox` (handlers run in this process; for tests).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from ..errors import DayflyError
from ..model.call import FunctionError, Headers
from ..model.function import Mount


class BoxSpec(Struct, frozen=True, kw_only=True):
    """What to run and within which bounds. All the sandbox knows of a function."""

    id: str  # of the instance: 32 lower-case hexadecimal digits
    namespace: str
    function: str
    revision: int
    runtime: str
    handler: str
    flavour: str = "event"
    contract: str = "dayfly"
    options: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    env: dict[str, str] = {}  # secrets resolved; never logged, never listed
    memory_mb: int = 256
    cpu: float = 0.0  # cores; 0: a share
    tmp_mb: int = 64
    pids: int = 128
    concurrency: int = 1
    init_timeout_s: float = 10.0
    timeout_s: float = 60.0
    freeze_s: float = 0.0  # seconds without a call until it is frozen; 0: never
    network: str = "egress"  # or "allow", "none": see `model.network.Network`
    allow: tuple[str, ...] = ()
    bandwidth_mbit: float = 0.0  # each way; 0: no cap
    token: str = ""  # by which it shows the platform who it is; never logged, never listed


class ResponseHead(Struct, frozen=True, forbid_unknown_fields=False):
    """Head of an answer, as the instance sent it and the channel checked it."""

    status: int = 200
    headers: Headers = ()  # lower-case names; empty means application/json
    cpu_us: int = 0  # processor time of the call
    rss_kb: int = 0  # resident high-water mark of the instance
    log: str = ""  # see `model.call.Result`


class Sink(Protocol):
    """Takes what comes back of one call."""

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None: ...

    def on_data(self, data: bytes, end: bool) -> None: ...

    def on_error(self, error: FunctionError) -> None:
        """User code raised. Before `on_response`: instead of an answer; after it: the stream broke off."""

    def on_lost(self, error: DayflyError) -> None:
        """The instance died, broke the protocol, or the call was cancelled."""


class Ready(Struct, frozen=True):
    init_s: float  # seconds the user's code took to load
    stop_s: float = 0.0  # seconds it asks for to end in order
    freezes: bool = False  # it stands still by itself while it is idle
    ahead: int = 0  # calls it takes beside the one that it runs: they wait in its socket, and begin in order


class Exit(Struct, frozen=True, kw_only=True):
    """Why an instance is gone. `error` is set when it was not asked to go."""

    error: DayflyError | None = None
    oom: bool = False
    peak_kb: int = 0
    cpu_us: int = 0


class BoxEvents(Protocol):
    def on_ready(self, ready: Ready) -> None: ...

    def on_exit(self, exit: Exit) -> None: ...


class Stats(Struct, frozen=True):
    memory_kb: int  # the instance's own memory (PSS where the kernel tells, else resident)
    cpu_us: int
    pids: int


class Box(Protocol):
    """One instance."""

    spec: BoxSpec

    def call(self, head: bytes, body: bytes, end: bool, sink: Sink) -> int:
        """Begin a call; `head` is JSON (see sandbox/frames.py). Returns the stream's number."""
        ...

    def send(self, stream: int, data: bytes, end: bool) -> None:
        """More of the request's body."""
        ...

    def cancel(self, stream: int) -> None:
        """Ask the instance to stop this call; the sink still gets its ending. Concurrency 1 cannot stop: destroy it."""
        ...

    @property
    def full(self) -> bool:
        """Whether the instance takes its request bodies slower than they come."""
        ...

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once no longer `full`."""
        ...

    def hold(self) -> None:
        """Stop reading what the instance sends (the client is slow)."""
        ...

    def release(self) -> None: ...

    async def pause(self) -> None:
        """Freeze all processes of the instance."""
        ...

    async def resume(self) -> None: ...

    async def stats(self) -> Stats: ...

    async def destroy(self) -> None: ...


class JobSpec(Struct, frozen=True, kw_only=True):
    """A command to run to its end, isolated, with the folders it may write."""

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    cwd: str = "/build"
    writable: tuple[tuple[str, str], ...] = ()  # (host path, path inside)
    readable: tuple[tuple[str, str], ...] = ()
    memory_mb: int = 2048
    pids: int = 512
    timeout_s: float = 600.0
    network: bool = False  # the host's, loopback included
    tcp_ports: tuple[int, ...] | None = None  # of `network`: connect to these only, listen nowhere; None: no such bounds
    output_limit: int = 1 << 20  # bytes of stdout + stderr kept: the first half and the last half


class JobResult(Struct, frozen=True):
    status: int  # exit status; 128 + signal when killed; 124 on timeout
    output: str  # stdout and stderr as they came
    seconds: float = 0.0


class Sandbox(Protocol):
    """A place for instances."""

    name: str

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Leave; instances that should outlive the server stay if the implementation can keep them."""
        ...

    def create(self, spec: BoxSpec, events: BoxEvents) -> Box: ...

    async def adopt(self, claim: Callable[[BoxSpec], BoxEvents | None]) -> list[Box]:
        """Offer each survivor to `claim`; those it gives no listener for are destroyed."""
        ...

    async def run(self, job: JobSpec, on_output: Callable[[str], None] | None = None) -> JobResult: ...

    async def flush_logs(self) -> None:
        """Return when what instances have printed until now was handed over, but for what they print faster than they may."""
        ...
