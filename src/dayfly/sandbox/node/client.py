"""The server's side of the node agent: a Sandbox whose instances live with an agent.

`open` connects to the agent of its data folder, or starts one, detached, and waits for the line it writes into an inherited pipe when it
serves. `create` costs one small message; when the agent answers that the instance's socket stands, the box connects to it and
everything of a call goes there directly. If the agent dies every box ends with it, and the next `create` starts a new agent.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...clock import Clock, SystemClock
from ...errors import Conflict, Internal, Unavailable
from ...model.log import LogLine
from ..addresses import reachable
from ..guard import Guarded
from ..port import Box, BoxEvents, BoxSpec, Exit, JobResult, JobSpec, Ready
from . import messages as m
from .agent import BUSY, GRACE
from .box import NodeBox
from .link import Link
from .processes import ended
from .spawn import log_of, spawn

OPEN_TIMEOUT = 15.0  # seconds an agent may take to start, or to end before another one starts
END_TIMEOUT = 5.0  # seconds an agent that has ended everything may take to end itself
SERVED_PATIENCE = 0.5  # seconds until we believe that another server has the agent

RETRY = 0.05  # seconds before we look again whether an agent that is going has gone

LogsCallback = Callable[[list[LogLine]], None]


class NodeSandbox:
    """Instances on this machine, by isolation "namespace" (the real one) or "process" (none: chosen knowingly).

    `data`: the server's folder. `packages`: the folder that `Mount.source` refers to, by default DATA/packages. `open_networks`:
    private networks that functions may reach. `on_logs` is given the lines that functions print, in batches. `grace`: seconds that
    instances outlive a server that vanishes.
    `tenants`: zygotes of their own for each namespace.
    """

    def __init__(
        self,
        data: Path,
        *,
        isolation: str = "namespace",
        packages: Path | None = None,
        open_networks: Sequence[str] = (),
        on_logs: LogsCallback | None = None,
        clock: Clock | None = None,
        grace: float = GRACE,
        tenants: bool = False,
    ) -> None:
        self.name = isolation
        self.agent_pid = 0
        self.on_reopened: Callable[[], None] | None = None  # another agent has taken the place of one that died
        self._data = data.resolve()
        self._packages = (packages or self._data / "packages").resolve()
        self._open_networks = open_networks
        self._on_logs = on_logs
        self._clock = clock or SystemClock()
        self._grace = grace
        self._tenants = tenants
        self._link: Link[m.Event] | None = None
        self._greeting: asyncio.Future[m.Welcome | m.Refused] | None = None
        self._boxes: dict[str, NodeBox] = {}
        self._numbers = itertools.count(time.time_ns())  # not those of the server before, whose jobs may be ending
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._outputs: dict[int, Callable[[str], None]] = {}
        self._reopening: asyncio.Task[None] | None = None
        self._closing = False

    # --- the port -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the agent, starting one if there is none. Raises Conflict if another server has it, Internal if it fails."""
        self._closing = False
        await self._open()

    async def _open(self) -> None:
        deadline = self._clock.monotonic() + OPEN_TIMEOUT
        patience = self._clock.monotonic() + SERVED_PATIENCE
        while True:
            answer = await self._connect()
            if answer is None:
                await self._spawn()
            elif isinstance(answer, m.Welcome):
                self.agent_pid = answer.pid
                return
            elif answer.served and self._clock.monotonic() < patience:
                await self._clock.sleep(RETRY)  # it may not have noticed yet that its last server is gone
            elif answer.served:
                raise Conflict(
                    f"another server (process id {answer.served}) works on {self._data}",
                    hint="Stop it with `dayfly down`, or start this one with another --data folder.",
                )
            else:  # nobody uses it, and it is going: it was on its way out, or is of another version or isolation
                await self._clock.sleep(RETRY)
            if self._clock.monotonic() > deadline:
                raise Internal(f"the node agent of {self._data} does not serve", hint=f"Look into {log_of(self._data)}.")

    async def close(self, *, keep: bool = False) -> None:
        """Leave. With `keep`, instances stay for the next server for the grace period; else all end and so does the agent."""
        self._closing = True
        if self._reopening is not None:
            await asyncio.wait({self._reopening})  # what it has started must be ended, too
        link = self._link
        if link is None:
            return
        if not keep:
            try:
                await self._ask(m.Shutdown)
            except Unavailable:
                pass  # it is gone, which is what we want
        agent, self._link, self.agent_pid = self.agent_pid, None, 0
        link.close()
        if not keep:
            await ended(agent, patience=END_TIMEOUT)  # who stops a server may look at once for what it leaves
        for box in list(self._boxes.values()):
            box.detach()
        self._boxes.clear()

    def create(self, spec: BoxSpec, events: BoxEvents) -> Box:
        guard = Guarded(events, sinks=False)
        box = self._boxes[spec.id] = NodeBox(spec, guard, self, self._clock)
        guard.wrap(box)
        if self._link is not None:
            self._link.send(m.Create(spec))
        elif self._closing:
            self._end_soon(box, m.Exited(spec.id, "start", "the server is stopping"))
        else:
            self._reopen()
        return guard

    async def adopt(self, claim: Callable[[BoxSpec], BoxEvents | None]) -> list[Box]:
        survivors = await self._ask(m.SurvivorsRequest)
        adopted: list[Box] = []
        for survivor in survivors.instances:
            if survivor.spec.id in self._boxes:
                continue
            events = claim(survivor.spec)
            guard = Guarded(events or _Nobody(), sinks=False)
            box = self._boxes[survivor.spec.id] = NodeBox(survivor.spec, guard, self, self._clock)
            guard.wrap(box)
            if events is None:
                await guard.destroy()
            else:
                box.created(survivor.socket, busy_s=survivor.spec.timeout_s)
                adopted.append(guard)
        return adopted

    async def run(self, job: JobSpec, on_output: Callable[[str], None] | None = None) -> JobResult:
        """Run a command to its end. Raises Unavailable if it cannot be started. Cancelling the caller kills the command."""
        number = next(self._numbers)
        if on_output is not None:
            self._outputs[number] = on_output
        try:
            done = await self._ask(lambda _: m.Run(number, job), number)
        except asyncio.CancelledError:
            self.send(m.StopJob(number))
            raise
        finally:
            self._outputs.pop(number, None)
        return JobResult(done.status, done.output, done.seconds)

    async def flush_logs(self) -> None:
        if self._link is not None:  # without an agent there are no instances, and their lines have come
            await self._ask(m.Flush)

    async def services(self) -> socket.socket | None:
        """The listening socket at which instances call the platform; None where they have no network."""
        return await asyncio.to_thread(_fetch, self._data / "run" / "services.sock")

    # --- for boxes ----------------------------------------------------------------------------------------------------

    def send(self, message: m.Request) -> None:
        """To the agent, if there is one."""
        if self._link is not None:
            self._link.send(message)

    async def ask(self, request: Callable[[int], m.Request]) -> Any:
        """A request with an answer. Raises Unavailable."""
        return await self._ask(request)

    def destroy(self, id: str, after: float = 0.0) -> None:
        """End an instance, `after` seconds from now unless it ends by itself."""
        if self._link is not None:
            self._link.send(m.Destroy(id, after))
        elif id in self._boxes:  # it waits for an agent that is being started
            self._end_soon(self._boxes[id], m.Exited(id, "asked"))

    @staticmethod
    def _end_soon(box: NodeBox, exited: m.Exited) -> None:
        asyncio.get_running_loop().call_soon(box.exited, exited)

    def forget(self, id: str) -> None:
        self._boxes.pop(id, None)

    # --- the agent's life -------------------------------------------------------------------------------------------------

    @property
    def _address(self) -> Path:
        return self._data / "run" / "node.sock"

    async def _connect(self) -> m.Welcome | m.Refused | None:
        """What the agent answers to our greeting; None if there is no agent."""
        loop = asyncio.get_running_loop()
        greeting: asyncio.Future[m.Welcome | m.Refused] = loop.create_future()

        def on_message(event: m.Event) -> None:
            if isinstance(event, m.Welcome | m.Refused):
                if not greeting.done():
                    greeting.set_result(event)
            elif self._link is link:
                self._take(event)

        def on_lost(reason: str) -> None:
            if not greeting.done():
                greeting.set_exception(ConnectionResetError(reason))
            elif self._link is link:
                self._lost()

        link: Link[m.Event] = Link(m.decode_event, on_message, on_lost)
        try:
            with reachable(self._address) as address:
                await loop.create_unix_connection(lambda: link, address)
            link.send(m.Hello(m.VERSION, self.name, os.getpid(), self._tenants))
            answer = await greeting
        except OSError:
            return None
        if isinstance(answer, m.Welcome):
            self._link = link
        else:
            link.close()
        return answer

    async def _spawn(self) -> None:
        """Start an agent that outlives us, and wait until it serves or has failed. If another one is in its place, only wait."""
        agent = spawn(self._data, self._packages, isolation=self.name, grace=self._grace, open_networks=self._open_networks)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), agent.ready)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                ready = await reader.readline()
        except TimeoutError:
            ready = b""
        finally:
            transport.close()
        if not ready:
            raise Internal(f"the node agent does not start: {agent.said()}", hint=f"Look into {agent.log}.")
        agent.process.wait()  # at once: it has forked the agent and left
        if ready == BUSY:
            await self._clock.sleep(RETRY)

    def _lost(self) -> None:
        """The agent is gone, and with it all its instances."""
        self._link = None
        self.agent_pid = 0
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable("the node agent died", hint="A new one is being started: try again."))
        self._waiting.clear()
        for box in list(self._boxes.values()):
            box.exited(m.Exited(box.spec.id, "agent", "the node agent died"))
        if not self._closing:
            self._reopen()

    def _reopen(self) -> None:
        """Get a new agent, and have it start what was asked for meanwhile."""
        if self._reopening is None:
            self._reopening = asyncio.get_running_loop().create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self._open()
        except Exception as error:  # whatever it is, the boxes that wait for it must hear of it
            for box in list(self._boxes.values()):
                box.exited(m.Exited(box.spec.id, "start", f"there is no node agent: {error}"))
        else:
            for box in list(self._boxes.values()):
                self.send(m.Create(box.spec))
            if self.on_reopened is not None:
                self.on_reopened()
        finally:
            self._reopening = None

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _ask(self, request: Callable[[int], m.Request], number: int = 0) -> Any:
        if self._link is None:
            raise Unavailable("there is no node agent", hint="A new one is being started: try again.")
        number = number or next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._link.send(request(number))
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def _take(self, event: m.Event) -> None:
        match event:
            case m.Created(id, socket):
                if id in self._boxes:
                    self._boxes[id].created(socket)
            case m.Exited(id):
                if id in self._boxes:
                    self._boxes[id].exited(event)
            case m.Logs(batch):
                if self._on_logs is not None:
                    self._on_logs([_log_line(group, line) for group in batch for line in group.lines])
            case m.JobOutput(number, text):
                if number in self._outputs:
                    self._outputs[number](text)
            case m.Failed(number, reason):
                if (future := self._waiting.get(number)) is not None and not future.done():
                    future.set_exception(Unavailable(reason))
            case m.Done(number) | m.StatsReply(number) | m.Survivors(number) | m.JobDone(number):
                if (future := self._waiting.get(number)) is not None and not future.done():
                    future.set_result(event)
            case _:
                pass


def _fetch(door: Path) -> socket.socket | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.settimeout(OPEN_TIMEOUT)
        try:
            with reachable(door) as address:
                visitor.connect(address)
            _, fds, _, _ = socket.recv_fds(visitor, 1, 1)
        except OSError:
            return None
    if not fds:
        return None
    listening = socket.socket(fileno=fds[0])
    listening.setblocking(False)
    return listening


class _Nobody:
    """Listens to an instance that nobody wants."""

    def on_ready(self, ready: Ready) -> None: ...

    def on_exit(self, exit: Exit) -> None: ...


def _log_line(group: m.Lines, line: m.Line) -> LogLine:
    return LogLine(
        time=line.time,
        namespace=group.namespace,
        function=group.function,
        revision=group.revision,
        instance=group.id,
        invocation=line.invocation,
        stream=line.stream,
        text=line.text,
    )
