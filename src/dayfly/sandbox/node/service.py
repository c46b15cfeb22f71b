"""What the node agent does for its server: one request after the other, without waiting for any of them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...clock import Clock, Timer
from ...model.ids import new_id
from ...model.network import Network as Reach
from ..port import BoxSpec, JobSpec
from . import messages as m
from .cgroups import Cgroups, Group, Limits
from .instances import Instance
from .interpreters import Interpreter
from .jobs import Job
from .link import Link
from .logbook import Logbook
from .net.attach import Attachments
from .net.router import Network, Pair
from .plans import FIRST_UID, CannotStart, Planner
from .reserve import Reserve
from .spares import Spares
from .uids import Numbers, hand_over
from .wrap import OVERHEADS, OWN_KERNEL
from .zygotes import Zygote

SPARE_MEMORY_MB = 1 << 20  # no limit, while only our own code runs
GROUPS = 8  # control groups kept ready of each kind: as many as start at a time
MAX_ZYGOTES = 64  # beyond them, one without children ends for each that starts; some 10 MB each
SLOW_SERVER = 8 << 20  # bytes a server may leave unread before logs wait

_ID = re.compile(r"[0-9a-f]{32}\Z")


class Agent:
    """Serves one server at a time until `finished` is set."""

    def __init__(
        self, data: Path, planner: Planner, cgroups: Cgroups | None, network: Network | None, *, grace: float, clock: Clock
    ) -> None:
        self.finished = asyncio.Event()
        self._run = data / "run"
        self._planner = planner
        self._cgroups = cgroups
        self._overhead = OVERHEADS[planner.isolation]
        self._grace = grace
        self._clock = clock
        self._server: Link[m.Request] | None = None
        self._server_pid = 0
        self._tenants = False  # whether namespaces have zygotes of their own
        self._grace_timer: Timer | None = None
        self._instances: dict[str, Instance] = {}
        self._zygotes: dict[tuple[Interpreter, str], Zygote] = {}  # by interpreter and the namespace it is for; "": for all
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._spares = Spares(clock, self._make_spare)
        self._maker = ThreadPoolExecutor(1, "reserve")
        self._groups: Reserve[Limits, Group] | None = None
        if cgroups is not None:
            self._groups = Reserve(
                lambda limits: cgroups.make(new_id(), limits), Group.remove, depth=GROUPS, clock=clock, executor=self._maker
            )
        self._network = Attachments(network, clock=clock, executor=self._maker) if network is not None else None
        self._pairs: dict[str, Pair] = {}  # by instance
        self._uids = Numbers(FIRST_UID)
        self._owned: dict[str, int] = {}  # instance -> its user id
        self._logbook = Logbook(clock, self._deliver_logs)
        self._ending: int | None = None  # number of the Shutdown to answer; -1: nobody waits for it

    async def open(self) -> None:
        """Serve instances; after it, servers may come. Raises OSError."""
        if self._network is not None:
            await self._network.open(self._run / "services.sock")

    # --- servers ----------------------------------------------------------------------------------------------------

    def accept(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        link: Link[m.Request]

        def on_message(message: m.Request) -> None:
            if link is self._server:
                self._serve(message)
            elif isinstance(message, m.Hello):
                self._greet(link, message)
            else:
                link.close()

        def on_lost(reason: str) -> None:
            if link is self._server:
                self._server = None
                self._orphaned()

        link = Link(m.decode_request, on_message, on_lost)
        return link

    def _greet(self, link: Link[m.Request], hello: m.Hello) -> None:
        isolation = self._planner.isolation
        if self._ending is not None:
            reason = "this node agent is shutting down"
        elif self._server is not None:
            reason = f"the server with process id {self._server_pid} uses it"
        elif hello.version != m.VERSION or hello.isolation != isolation:
            reason = f"this node agent speaks version {m.VERSION} and isolates by {isolation}: it makes room"
            self.shut_down()
        else:
            self._server, self._server_pid, self._tenants = link, hello.pid, hello.tenants
            if self._grace_timer is not None:
                self._grace_timer.cancel()
                self._grace_timer = None
            link.send(m.Welcome(os.getpid(), m.VERSION, isolation))
            return
        link.send(m.Refused(reason, m.VERSION, isolation, self._server_pid if self._server is not None else 0))
        link.close()

    def _orphaned(self) -> None:
        for job in self._jobs.values():
            job.stop()
        if self._ending is None:
            self._grace_timer = self._clock.call_later(self._grace, self.shut_down)

    def await_server(self) -> None:
        """Give the first server as long as the next ones."""
        self._orphaned()

    def _tell(self, event: m.Event) -> None:
        if self._server is not None:
            self._server.send(event)

    def _deliver_logs(self, logs: m.Logs) -> bool:
        if self._server is None or self._server.waiting > SLOW_SERVER:
            return False
        self._server.send(logs)
        return True

    # --- requests ---------------------------------------------------------------------------------------------------

    def _serve(self, message: m.Request) -> None:
        match message:
            case m.Create(spec):
                self._create(spec)
            case m.Destroy(id, after):
                if id in self._instances:
                    self._instances[id].destroy(after)
                else:
                    self._tell(m.Exited(id, "asked", "it was gone already"))
            case m.Pause(number, id):
                self._on_instance(number, id, lambda instance: instance.freeze(True))
            case m.Resume(number, id):
                self._on_instance(number, id, lambda instance: instance.freeze(False))
            case m.StatsRequest(number, id):
                self._stats(number, id)
            case m.SurvivorsRequest(number):
                self._thaw()  # no server knows any more who stands still
                alive = [m.Survivor(i.spec, str(i.socket)) for i in self._instances.values() if not self._spares.holds(i)]
                self._tell(m.Survivors(number, alive))
                self._logbook.flush()
            case m.Flush(number):
                for instance in list(self._instances.values()):
                    instance.drain()
                self._logbook.flush()
                self._tell(m.Done(number))
            case m.Run(number, job):
                task = asyncio.create_task(self._run_job(number, job))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case m.StopJob(number):
                if number in self._jobs:
                    self._jobs[number].stop()
            case m.Shutdown(number):
                self.shut_down(number)
            case m.Hello():
                pass

    def _create(self, spec: BoxSpec) -> None:
        instance = Instance(spec, self._run / "i", clock=self._clock, logbook=self._logbook, on_exited=self._exited)
        uid = self._uids.take()
        try:
            if self._ending is not None:
                raise CannotStart("the node is shutting down")
            if spec.id in self._instances or not _ID.match(spec.id):
                raise CannotStart(f"{spec.id!r} is not a new instance id of 32 hexadecimal digits")
            waits = self._planner.spares and (spec.network != Reach.NONE or self._network is None)
            if spec.runtime == "nodejs" and waits:
                self._spares.wanted()
                spare = self._spares.take(spec)
                if spare is not None:
                    self._specialise(spare, spec)
                    self._uids.give_back(uid)
                    return
            interpreter, start = self._planner.instance(spec, uid)
            zygote = self._zygote(interpreter, spec.namespace)
            pair = self._attach(spec.id) if spec.network != Reach.NONE else None
            if self._network is not None and pair is not None:
                self._network.fit(pair, spec)
            instance.start(zygote, start, self._ready_group(spec), pair)
        except (CannotStart, OSError, ValueError) as error:
            self._uids.give_back(uid)
            self._detach(spec.id)
            self._tell(m.Exited(spec.id, "start", str(error)))
            return
        self._instances[spec.id] = instance
        self._owned[spec.id] = uid
        instance.when_open(lambda: self._tell(m.Created(spec.id, str(instance.socket))))

    def _specialise(self, spare: Instance, spec: BoxSpec) -> None:
        """Make the spare this instance. Raises CannotStart or OSError; then the spare is spent."""
        try:
            package = self._planner.package(spec)
            if self._cgroups is not None and spare.group is not None:
                self._cgroups.limit(spare.group, spec.memory_mb << 20, spec.cpu, spec.pids)
        except (CannotStart, OSError):
            self._spares.put_back(spare)
            raise
        pair = self._pairs.get(spare.spec.id)
        if self._network is not None and pair is not None:
            try:
                self._network.fit(pair, spec)
            except (OSError, ValueError):
                spare.destroy()  # nobody can tell what it may reach
                raise
            self._pairs[spec.id] = self._pairs.pop(spare.spec.id)
        del self._instances[spare.spec.id]
        self._owned[spec.id] = self._owned.pop(spare.spec.id)
        self._instances[spec.id] = spare
        spare.specialise(spec, package)
        self._tell(m.Created(spec.id, str(spare.socket)))

    def _make_spare(self) -> Instance | None:
        if self._ending is not None:
            return None
        spec = BoxSpec(id=new_id(), namespace="", function="spare", revision=0, runtime="nodejs", handler="")
        spare = Instance(spec, self._run / "i", clock=self._clock, logbook=self._logbook, on_exited=self._exited)
        uid = self._uids.take()
        try:
            interpreter, start = self._planner.spare(uid)
            group = self._group(spec.id, SPARE_MEMORY_MB, 0.0, spec.pids)
            spare.start(self._zygote(interpreter), start, group, self._attach(spec.id), waiting=True)
        except (CannotStart, OSError):
            self._uids.give_back(uid)
            self._detach(spec.id)
            return None
        self._instances[spec.id] = spare
        self._owned[spec.id] = uid
        return spare

    def _on_instance(self, number: int, id: str, act: Callable[[Instance], None]) -> None:
        instance = self._instances.get(id)
        if instance is None:
            self._tell(m.Failed(number, "the instance is gone"))
            return
        try:
            act(instance)
        except OSError as error:
            self._tell(m.Failed(number, str(error)))
        else:
            self._tell(m.Done(number))

    def _thaw(self) -> None:
        for instance in self._instances.values():
            if instance.frozen:
                try:
                    instance.freeze(False)
                except OSError:
                    instance.destroy()

    def _stats(self, number: int, id: str) -> None:
        instance = self._instances.get(id)
        if instance is None:
            self._tell(m.Failed(number, "the instance is gone"))
        else:
            self._tell(m.StatsReply(number, *instance.stats()))

    async def _run_job(self, number: int, spec: JobSpec) -> None:
        uid = self._uids.take()
        group: Group | None = None
        lent: dict[Path, os.stat_result] = {}
        scratch: Path | None = None
        job = self._jobs[number] = Job(number, spec, clock=self._clock, on_output=self._tell)
        reply: m.Event
        try:
            interpreter, start = self._planner.job(spec, uid)
            scratch = start.folder
            if self._planner.isolation != "process" and os.geteuid() == 0:
                lent = {Path(host): os.stat(host) for host, _ in spec.writable}
                await asyncio.to_thread(hand_over, lent, uid, uid)
            group = self._group(job.id, spec.memory_mb, 0.0, spec.pids)
            reply = await job.run(self._zygote(interpreter), start, group)
        except (CannotStart, OSError) as error:
            reply = m.Failed(number, str(error))
        if group is not None:
            group.remove()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for folder, owner in lent.items():
            await asyncio.to_thread(hand_over, [folder], owner.st_uid, owner.st_gid)
        self._uids.give_back(uid)
        del self._jobs[number]
        self._tell(reply)
        self._check_end()

    # --- life -------------------------------------------------------------------------------------------------------

    def _zygote(self, interpreter: Interpreter, namespace: str = "") -> Zygote:
        """One that runs; where tenants do not trust each other, one that no other namespace has, since all forks of a zygote share
        its hash seed and its address layout."""
        key = (interpreter, namespace if self._tenants else "")
        zygote = self._zygotes.pop(key, None)
        if zygote is None:
            if len(self._zygotes) >= MAX_ZYGOTES:
                self._retire_zygote()
            planner = self._planner
            zygote = Zygote(interpreter, planner.template(interpreter), planner.modules(interpreter), self._zygote_lost)
        self._zygotes[key] = zygote  # the last is the one used last
        return zygote

    def _retire_zygote(self) -> None:
        """End the one without children that was not used for longest. Those with children are bounded as instances are."""
        for key, zygote in self._zygotes.items():
            if not zygote.busy:
                del self._zygotes[key]
                task = asyncio.create_task(zygote.close())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return

    def _zygote_lost(self, zygote: Zygote) -> None:
        self._zygotes = {key: other for key, other in self._zygotes.items() if other is not zygote}

    def _group(self, name: str, memory_mb: int, cpu: float, pids: int) -> Group | None:
        if self._cgroups is None:
            return None
        limits = self._overhead.limits(memory_mb, cpu, pids)
        return self._cgroups.create(name, memory_bytes=limits.memory_bytes, cpu_cores=limits.cpu_cores, pids=limits.pids)

    def _ready_group(self, spec: BoxSpec) -> Group | None:
        limits = self._overhead.limits(spec.memory_mb, spec.cpu, spec.pids)
        ready = self._groups.take(limits) if self._groups is not None else None
        return ready or self._group(spec.id, spec.memory_mb, spec.cpu, spec.pids)

    def _attach(self, id: str) -> Pair | None:
        """The network of an instance; None where this machine has none to give."""
        if self._network is None:
            return None
        pair = self._pairs[id] = self._network.take()
        pair.once = self._planner.isolation in OWN_KERNEL
        return pair

    def _detach(self, id: str) -> None:
        pair = self._pairs.pop(id, None)
        if self._network is not None and pair is not None:
            self._network.release(pair)

    def _exited(self, exited: m.Exited) -> None:
        instance = self._instances.pop(exited.id)
        self._detach(exited.id)
        self._uids.give_back(self._owned.pop(exited.id))
        if not self._spares.lost(instance):
            self._logbook.flush()
            self._tell(exited)
        self._check_end()

    def shut_down(self, number: int = -1) -> None:
        """Destroy everything; `finished` is set when nothing is left."""
        if self._ending is not None:
            return
        self._ending = number
        self._spares.drop()
        if self._groups is not None:
            self._groups.close()
        if self._network is not None:
            self._network.close()
        for instance in list(self._instances.values()):
            instance.destroy()
        for job in list(self._jobs.values()):
            job.stop()
        self._check_end()

    def _check_end(self) -> None:
        if self._ending is None or self._instances or self._jobs:
            return
        self.finished.set()

    async def leave(self) -> None:
        """After `finished`: end the zygotes and answer the Shutdown."""
        self._maker.shutdown()
        if self._network is not None:
            self._network.end()
        for zygote in list(self._zygotes.values()):
            await zygote.close()
        if self._ending is not None and self._ending >= 0:
            self._tell(m.Done(self._ending))
        if self._server is not None:
            self._server.close()
