"""The composition root: builds the object graph of a server, opens it bottom up and closes it top down.

    store -> registry, recorder, logs, queue -> sandbox -> pool -> dispatcher -> delivery -> platform -> listener

A server that is told to stop lets calls under way end, hands accepted asynchronous calls back to the disk, and takes its instances
with it. One that is killed leaves its instances to the node process for half a minute: the next server on the same data adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import uvloop

from . import actions as a
from .api.app import create_app
from .api.calls import NATIVE_CALLS
from .auth.audit import Audit
from .auth.gate import Gate
from .auth.keys import Keys
from .auth.oidc import Oidc
from .auth.oidc import read as read_issuer
from .auth.policy import Authority
from .auth.rotation import Rotation
from .auth.seal import load as load_seal
from .auth.seal import new_key
from .auth.signed import Signer
from .auth.tokens import Keyring, load_or_create
from .build.builder import Builder
from .build.machine import Machine
from .build.packages import PackageStore
from .calls.admission import Admission
from .calls.dispatcher import Dispatcher
from .calls.history import History
from .calls.nesting import Nesting
from .clock import Clock, SystemClock
from .config import Settings
from .dialects.hook import Mount, View
from .dialects.mounts import FUNCTIONS
from .dialects.mounts import mounts as built_in
from .errors import Conflict, DayflyError
from .events.attempt import Outcome
from .events.eventing import Eventing
from .events.forward import ForwardClock
from .events.leases import Leases
from .events.queue import AsyncQueue
from .events.retry import End, of_profile
from .events.subscription import Subscription
from .gateway import tls
from .gateway.connections import Connections
from .gateway.edge import Edge
from .gateway.listener import Listener
from .gateway.wide import WideLane
from .model.call import Mode, Result
from .model.delivery import Policy
from .model.function import InvokePolicy, Revision
from .model.identity import LOCAL, OWNS_ALL, Identity
from .model.instance import State
from .model.trigger import Trigger
from .observe.callmetrics import CallMetrics, platform_metrics, process_metrics
from .observe.eventmetrics import EventMetrics
from .observe.inputs import Inputs
from .observe.logs import LogStore
from .observe.metrics import Metrics
from .observe.recorder import Recorder
from .observe.serverlog import log_to_stderr
from .platform import Platform
from .pool.census import Census
from .pool.pool import Pool
from .pool.warm import warm
from .registry.deploy import Deployer
from .registry.documents import Documents
from .registry.functions import Functions
from .registry.namespaces import Namespaces
from .registry.quotas import Quotas
from .registry.registry import Registry
from .registry.secrets import Secrets
from .registry.uploads import Uploads
from .registry.view import RegistryView
from .sandbox.node.client import NodeSandbox
from .sandbox.node.interpreters import find as find_interpreters
from .sandbox.node.interpreters import runtimes
from .sandbox.port import BoxSpec
from .scaler.loop import ScaleLoop
from .scaler.prewarm import lead_for
from .security import require
from .services.objects.blobs import Blobs
from .services.objects.buckets import Buckets
from .store.sqlite import SqliteStore
from .triggers.runner import Runner
from .triggers.webhooks.routes import webhooks
from .workflows.engine import Workflows

log = logging.getLogger("dayfly")

PRIORITY = -10  # of the event loop, where it may: a function that takes all the processor it can get must not delay all answers
FUNCTIONS_SHARE = 0.1  # of the connections that the edge takes: for functions that call the platform, besides


class Server:
    """One server on one data folder. `open` returns when it listens; `close` when nothing of it is left."""

    def __init__(
        self, settings: Settings, *, mounts: Sequence[Mount | Callable[[View], Mount]] = (), clock: Clock | None = None
    ) -> None:
        """`mounts`: dialects beside the native one and those that the settings name."""
        self.settings = settings
        self.clock = clock or SystemClock()
        data = settings.data
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(data)
        self.store = SqliteStore(data / "dayfly.db")
        self.registry = Registry(self.store)
        self.documents = Documents(self.store, self.registry, self.clock)
        view = RegistryView(self.registry, self.documents)
        given = (mount if isinstance(mount, Mount) else mount(view) for mount in mounts)
        hooks = webhooks(
            lambda namespace, name: self.eventing.catalog.find_trigger(namespace, name),
            lambda namespace, name: self.sources.source(namespace, name),
            NATIVE_CALLS.fault,
        )
        self._mounts = (
            Mount(dialect=NATIVE_CALLS),
            Mount(dialect=NATIVE_CALLS, listener=FUNCTIONS),
            Mount(dialect=hooks, prefix="/hooks"),
            *given,
            *built_in(settings.dialects, view),
        )
        self.registry.profiles.update((mount.dialect.profile.name, mount.dialect.profile) for mount in self._mounts)
        self.inputs = Inputs(
            self.store,
            keep=settings.keep_inputs,
            keep_bytes=settings.keep_inputs_mb << 20,
            longest=settings.keep_inputs_longest,
            rate=settings.keep_inputs_rate,
        )
        self.recorder = Recorder(self.store, self.clock, inputs=self.inputs)
        self.logs = LogStore(self.store, self.clock)
        self.events_clock = ForwardClock(self.clock) if settings.dev else self.clock
        self.queue = AsyncQueue(self.store, self.events_clock)
        self.packages = PackageStore(data / "packages")
        needs = [mount.dialect.packages for mount in self._mounts]
        self.uploads = Uploads(self.packages, self.registry, self.documents, needs, self.clock)
        self.sandbox = NodeSandbox(
            data,
            isolation=settings.isolation,
            open_networks=settings.open_networks,
            on_logs=self.logs.append,
            clock=self.clock,
            grace=settings.orphan_grace_s,
            tenants=settings.multi_tenant,
        )
        self.keyring = Keyring(now=self.clock.now)
        self.seal = load_seal(data / "key")
        self.keys = Keys(self.store, self.seal, self.keyring, self.registry.namespaces, self.clock)
        self.secrets = Secrets(self.store, self.registry, self.seal, self.clock, self._secret_changed)
        self.namespaces = Namespaces(self.store, self.registry, self.clock, self._namespace_gone)
        self.pool = Pool(self.sandbox, self.clock, self.secrets.environment, settings.bounds(), token=self._instance_token)
        self.quotas = Quotas(self.store, self.registry, self.clock, self._running, self.pool.fit)
        self.pool.quotas = self.quotas.limits
        self.buckets = Buckets(
            self.store,
            Blobs(data / "objects"),
            self.clock,
            self.registry.namespaces.__contains__,
            self.quotas.claiming,
            self.quotas.objects,
        )
        self.scaler = ScaleLoop(self.pool, self.clock)
        self.dispatcher = Dispatcher(self.registry, self.pool, self.recorder.record, self.clock)
        self.dispatcher.keep = self.inputs.keep
        self.dispatcher.quotas = self.quotas.limits
        parts = {mount.dialect.profile.name: mount.dialect.parts for mount in self._mounts}
        self.workflows = self.dispatcher.workflows = Workflows(
            self.store,
            resolve=self.registry.resolve,
            call=partial(self.dispatcher.invoke, alone=True),
            record=self.recorder.record,
            parts=parts.get,
            clock=self.clock,
            keep=self.inputs.keep,
        )
        self.eventing = Eventing(
            self.queue,
            self.events_clock,
            run=self.dispatcher.invoke,
            policy_of=self._policy_of,
            flavour_of=lambda *address: self.registry.resolve(*address).config.flavour,
            exists=self.registry.namespaces.__contains__,
            require_function=self.registry.resolve,
            allow_targets=settings.allow_targets,
            housekeeping=self.clock,
            shapes={name: shape for mount in self._mounts for name, shape in mount.dialect.shapes.items()},
            on_end=self._delivered,
        )
        self.sources = Runner(
            self.eventing.brokers.emit,
            self.eventing.brokers.checkpoint,
            self.secrets.find,
            self.events_clock,
            Leases(self.store, self.clock, "cell"),  # one on this data folder, as its lock says
            lead=self._lead,
            prewarm=self._prewarm,
        )
        self.eventing.catalog.require_source = self.sources.check
        self.eventing.catalog.watchers.append(self.sources.heard)
        self.eventing.source_health = self.sources.health
        self.eventing.brokers.keep = self.recorder.record
        self.eventing.letters.given = self.recorder.given
        self.history = History(
            self.dispatcher, self.recorder, self.logs, self.queue, self.pool, settings.prices, self.sandbox.flush_logs
        )
        self.history.firing = self.eventing.brokers.record
        self.deployer = Deployer(
            self.store,
            self.registry,
            self.packages,
            Builder(self.packages, self.sandbox, find_interpreters(), machine=Machine(closed=self._closed_to_builds)),
            self.secrets.require,
            lambda revision: warm(self.pool, revision),
            self._reach,
            self.clock,
            self.quotas,
        )
        self.functions = Functions(self.store, self.registry, self.deployer, self._recycle, self._reach, self.clock)
        authority = Authority(self._invoke_policy)
        self.audit = Audit(self.store, self.clock)
        personal: dict[type, Any] = {a.CreateToken: self.keys.create_token}
        nesting = Nesting(authority.check_call, self.dispatcher.active.values)
        self.platform = Platform(
            self._performers(), [nesting.guard, self.quotas.guard, authority.guard, self.audit.guard], personal
        )
        self.census = Census(self.pool, self.clock)
        self.metrics = self._metrics()
        self._admission = Admission(
            self.dispatcher,
            self._accept,
            nesting.check,
            self.clock,
            self.quotas.admit_request,
        )
        self.token = ""
        self.listeners: dict[str, Listener] = {}
        self._healthy = False
        self._reopening: asyncio.Future[None] | None = None

    def _delivered(self, subscription: Subscription, outcome: Outcome) -> None:
        state = outcome.verdict.state if isinstance(outcome.verdict, End) else "retried"
        self.event_metrics.ended(subscription.namespace, subscription.lane, state)

    def _metrics(self) -> Metrics:
        metrics = Metrics()
        self.recorder.observe(CallMetrics(metrics).observe)
        process_metrics(metrics)
        platform_metrics(
            metrics,
            instances=lambda: dict.fromkeys(map(str, State), 0) | Counter(str(info.state) for info in self.pool.infos()),
            queue_depth=lambda: self.queue.waiting,
            dropped=lambda: {"invocations": self.recorder.dropped, "inputs": self.inputs.skipped, "logs": self.logs.dropped},
        )
        self.event_metrics = EventMetrics(
            metrics, self.events_clock, accepted=lambda: self.eventing.brokers.accepted, lags=lambda: self.queue.lags
        )
        return metrics

    def _performers(self) -> a.Performers:
        parts = (
            self.functions, self.namespaces, self.history, self.documents, self.keys, self.secrets, self.quotas, self.buckets,
            self.eventing, self.uploads,
        )  # fmt: skip
        performers: a.Performers = {
            a.Invoke: self._invoke,
            a.PutFunction: self.deployer.put,
            a.RotateSecretKey: Rotation(self.store, self.seal, self.settings.data / "key").rotate,
            a.ReadAudit: self.audit.read,
        }
        for part in parts:
            performers |= part.performers()
        return performers

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything. Raises Conflict if the port or the data folder is taken."""
        settings = self.settings
        await asyncio.to_thread(require, settings)
        await self.store.open()
        await self.registry.load()
        await self.namespaces.load()
        await self.secrets.load()
        signing = bytes.fromhex(await self.secrets.own("signing", lambda: new_key().hex()))
        self.keyring.signer = Signer(signing, now=self.clock.now, holds=self.keyring.holds, runs=self._runs)
        await self.documents.load()
        await self.quotas.load()
        await self.keys.load()
        if settings.oidc is not None:
            self.keyring.oidc = Oidc(read_issuer(settings.oidc), now=self.clock.now)
            await self.keyring.oidc.open()
        await self.recorder.open()
        await self.logs.open()
        await asyncio.to_thread(self.packages.open)
        await self.buckets.open()
        await self.sandbox.open()
        adopted = await self.pool.adopt(self._claim)
        if adopted:
            log.info("adopted %d instances of the server before", adopted)
        for revision in self.registry.live():
            if revision.config.min_instances:
                self.pool.group(revision).reserve(revision.config.min_instances)
        self.scaler.start()
        self.census.start()
        self._housekeeping = asyncio.ensure_future(self.uploads.keep_tidy())
        await self.workflows.open()
        await self.eventing.open()
        self.sources.open(self.eventing.catalog.triggers())
        if settings.needs_token:
            self.token = settings.token or load_or_create(settings.data / "token")
            owner = Identity(name="owner", id="owner", grants=OWNS_ALL)
            self.keyring.hold(sha256(self.token.encode()).digest(), owner)
            self.keyring.hold_signer("dayfly", self.token.encode(), owner)
        else:
            self.keyring.trust(LOCAL.id)
        hosts = (*settings.hosts, *(host for mount in self._mounts for host in mount.hosts))
        certificate = await asyncio.to_thread(tls.chosen, settings, self.clock.now())
        gate = Gate(self.keyring, login=settings.needs_token, hosts=hosts)
        app = self._app(gate)
        mounted = {mount.listener for mount in self._mounts}
        spare = {name: port for name, port in settings.spare_listeners.items() if name in mounted}
        connections = Connections(settings.edge)
        for name, port in ({"": settings.port} | spare | settings.listeners).items():
            edge = Edge(self._mounts, self._admission, gate, settings.edge, self.platform.perform, name, connections)
            try:
                listener = Listener(
                    edge, WideLane(edge, app), settings.host, port, grace_s=settings.shutdown_grace_s, tls=certificate
                )
            except Conflict as error:
                if name in settings.listeners or name not in spare:
                    raise
                log.warning("no listener for %s: %s", name, error.detail)
                continue
            self.listeners[name] = listener
            await listener.open()
            if name:
                log.info("%s answers on %s://%s:%d", name, settings.scheme, settings.host, listener.port)
        self.sandbox.on_reopened = self._functions_again
        await self._serve_functions()
        self._healthy = True

    def _functions_again(self) -> None:
        self._reopening = asyncio.ensure_future(self._serve_functions())

    async def _serve_functions(self) -> None:
        """Answer functions that call the platform, each as itself."""
        listening = await self.sandbox.services()
        if listening is None:
            if self.settings.isolation == "namespace":
                log.warning("functions have no network: `dayfly doctor` tells why")
            return
        before = self.listeners.pop(FUNCTIONS, None)
        if before is not None:
            await before.close()
        gate = Gate(self.keyring, login=True)
        connections = Connections(self.settings.edge, share=FUNCTIONS_SHARE)
        edge = Edge(self._mounts, self._admission, gate, self.settings.edge, self.platform.perform, FUNCTIONS, connections)
        app = self._app(gate)
        grace_s = self.settings.shutdown_grace_s
        host, port = listening.getsockname()
        listener = Listener(edge, WideLane(edge, app), host, port, grace_s=grace_s, listening=listening)
        self.listeners[FUNCTIONS] = listener
        await listener.open()

    def _app(self, gate: Gate) -> Any:
        return create_app(
            self.platform.perform,
            gate.control,
            lambda: self.metrics.render().decode(),
            clock=self.clock,
            healthy=lambda: self._healthy,
            runtimes=runtimes(),
        )

    @property
    def port(self) -> int:
        """Of the main listener."""
        return self.listeners[""].port

    async def close(self) -> None:
        """Stop gracefully: calls under way get the grace period, accepted asynchronous calls stay on disk."""
        self._healthy = False
        self.scaler.stop()
        self.census.stop()
        self._housekeeping.cancel()
        self.logs.end_followers()
        self.eventing.brokers.end_followers()
        closing = [asyncio.ensure_future(listener.close()) for listener in self.listeners.values()]
        await self.sources.close()
        await self.workflows.close()
        await self.eventing.close(self.settings.shutdown_grace_s)
        await self.dispatcher.drain(self.settings.shutdown_grace_s)
        for call in list(self.dispatcher.active.values()):
            call.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        await self.pool.settle()
        await self.sandbox.close()
        self.keys.close()
        if self.keyring.oidc is not None:
            self.keyring.oidc.close()
        self.logs.close()
        self.recorder.close()
        await self.store.close()
        self._lock.close()

    # --- wiring -------------------------------------------------------------------------------------------------------

    def _claim(self, spec: BoxSpec) -> Revision | None:
        return self.registry.revision(spec.namespace, spec.function, spec.revision)

    def _closed_to_builds(self) -> set[int]:
        """Ports that no build script may connect to: who reaches this server without a login may do everything."""
        return (
            set()
            if self.settings.needs_token
            else {listener.port for name, listener in self.listeners.items() if name != FUNCTIONS}
        )

    def _policy_of(self, invoke: a.Invoke) -> Policy:
        route = self.registry.find(invoke.namespace, invoke.function)
        return of_profile(self.registry.profile(route.function.profile if route is not None else "native"))

    def _instance_token(self, revision: Revision, instance: str) -> str:
        signer = self.keyring.signer
        assert signer is not None
        return signer.mint_for_instance(revision.namespace, revision.function, revision.key, instance)

    def _runs(self, revision: str, instance: str) -> bool:
        group = self.pool.groups.get(revision)
        return group is not None and instance in group.instances

    def _running(self, namespace: str) -> tuple[int, int, int]:
        """Instances of a namespace, their memory in MiB, its calls under way."""
        groups = [group for group in self.pool.groups.values() if group.revision.namespace == namespace]
        memory = sum(len(group.instances) * group.config.memory_mb for group in groups)
        return sum(len(group.instances) for group in groups), memory, self.dispatcher.running(namespace)

    def _invoke_policy(self, namespace: str, function: str) -> InvokePolicy | None:
        route = self.registry.find(namespace, function)
        return route.function.invoke_policy if route is not None else None

    def _reach(self, revision: Revision, reachable: bool) -> None:
        group = self.pool.groups.get(revision.key)
        if group is None and reachable and revision.config.min_instances:
            group = self.pool.group(revision)
        if group is not None:
            group.reach(reachable)

    def _recycle(self, revision: Revision) -> int:
        group = self.pool.groups.get(revision.key)
        return group.recycle() if group is not None else 0

    def _namespace_gone(self, namespace: str, objects: list[str]) -> None:
        self.buckets.forget(namespace, objects)
        self.documents.forget(namespace)
        self.eventing.catalog.forget(namespace)
        self.secrets.forget(namespace)
        self.quotas.forget(namespace)
        self.keys.forget(namespace)

    def _lead(self, trigger: Trigger) -> float:
        """Seconds ahead of a trigger's known moment at which its function is to be warmed; 0: not at all."""
        revision = self._target_of(trigger)
        return 0.0 if revision is None else lead_for(self.scaler.cold_cost_s(revision.namespace, revision.function))

    def _prewarm(self, trigger: Trigger) -> None:
        revision = self._target_of(trigger)
        if revision is not None:
            task = asyncio.ensure_future(warm(self.pool, revision))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the call itself will tell

    def _target_of(self, trigger: Trigger) -> Revision | None:
        target = trigger.target
        if target.kind != "function":
            return None
        try:
            return self.registry.resolve(trigger.namespace, target.name, target.qualifier)
        except DayflyError:
            return None

    def _secret_changed(self, namespace: str, name: str) -> None:
        self.sources.secret_changed(namespace, name)
        for group in list(self.pool.groups.values()):
            if group.revision.namespace == namespace and name in group.config.secrets.values():
                group.recycle()

    async def _accept(self, invoke: a.Invoke) -> str:
        return await self.quotas.queueing(invoke.namespace, 1, partial(self.queue.enqueue, invoke))

    async def _invoke(self, action: a.Invoke) -> Result:
        if action.mode is Mode.SYNC:
            return await self.dispatcher.invoke(action)
        return Result(invocation=await self.queue.enqueue(action), status=202)


def _lock(data: Any) -> Any:
    """Hold the data folder: two servers on one would both believe that the queue is theirs."""
    held = open(data / "lock", "w")  # noqa: SIM115 - kept open as long as the server lives
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise Conflict(
            f"another server works on {data}", hint="Stop it with `dayfly down`, or start this one with another --data."
        ) from None
    return held


def _go_first() -> None:
    with contextlib.suppress(OSError):  # without root it is as important as any other process
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        with open("/proc/self/autogroup", "w") as session:  # where sessions compete, a priority counts inside of one only
            session.write(str(PRIORITY))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings)
    await server.open()
    _go_first()
    where = f"{settings.scheme}://{settings.host}:{server.port}"
    log.info("Dayfly listens on %s", where)
    if server.token and not settings.token:
        log.info("callers need the token in %s", settings.data / "token")
    # What stands now stands for good: keep the collector away from it, and let it look less often at what calls leave, which
    # reference counting frees.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    if settings.ready_fd is not None:
        os.write(settings.ready_fd, b"1")
        os.close(settings.ready_fd)
    await stop.wait()
    log.info("stopping")
    await server.close()
    return 0


def main(settings: Settings) -> int:
    """Run a server until SIGTERM or SIGINT; the exit status of the process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection and each instance takes one
    log_to_stderr()
    try:
        return uvloop.run(_run(settings))
    except DayflyError as error:
        print(f"Error: {error.detail}\n{error.hint}".rstrip(), file=sys.stderr)
        return 1
