"""The deploy journey: build, try, store, swap the route, drain the old.

The new revision is started once before any traffic goes there: code that does not load is an error for the one who deploys, and the
old revision keeps serving. The instance of that trial is kept; it serves the first call. Deploys of one function take turns.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from ..actions import Code, Deployed, PutFunction
from ..clock import Clock
from ..errors import BadInput, DayflyError, NameInvalid, NotFound
from ..model.function import Artifact, Config, Function, InvokePolicy, Isolation, Revision, Target
from ..model.network import Network
from ..model.network import parse as parse_allowed
from ..model.package import Package
from ..model.profile import Profile
from ..store.port import Note, Store
from .quotas import Quotas
from .registry import Registry, Route, reachable
from .turns import Turns

KEEP_REVISIONS = 100  # of a function; older ones that nothing points to are forgotten


class Builder(Protocol):
    async def build(
        self, digest: str, config: Config, progress: Callable[[str], None], *, layers: Sequence[str], as_is: bool
    ) -> Artifact: ...


class Packages(Protocol):
    async def put(self, data: bytes, filename: str) -> Package: ...

    async def put_texts(self, files: Mapping[str, str]) -> Package: ...

    def describe(self, digest: str) -> Package:
        """Raises NotFound."""
        ...


class Deployer:
    """Performs PutFunction."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        packages: Packages,
        builder: Builder,
        require_secrets: Callable[[str, list[str]], None],
        warm: Callable[[Revision], Awaitable[None]],
        reach: Callable[[Revision, bool], None],
        clock: Clock,
        quotas: Quotas,
    ) -> None:
        """`warm` starts one instance and returns when it is ready; `reach` tells which revisions traffic
        leads to, and which not any more."""
        self._store = store
        self._registry = registry
        self._packages = packages
        self._builder = builder
        self._require_secrets = require_secrets
        self._warm = warm
        self._reach = reach
        self._clock = clock
        self._quotas = quotas
        self._turns = Turns()
        self.changes = Turns()  # of what is stored of a function: short, while a deploy is long

    async def put(self, action: PutFunction) -> Deployed:
        """Raises NameInvalid, NotFound (namespace, package, secret), BadPackage, BuildFailed or InitFailed; then nothing changed."""
        profile = self._registry.profile(action.profile)
        check_name(action.name, profile)
        check_config(action.config, profile)
        self._require_namespace(action.namespace)
        self._require_secrets(action.namespace, list(action.config.secrets.values()))
        with self._quotas.deploying(action.namespace, action.name):
            async with self._turns.of(f"{action.namespace}/{action.name}"):
                return await self._put(action)

    async def _put(self, action: PutFunction) -> Deployed:
        began = self._clock.monotonic()
        package = await self._package(action.code)
        layers = action.code.layers
        digest = content_digest(package, action.config, action.profile, layers)
        as_is = self._registry.profile(action.profile).as_is
        route = self._registry.find(action.namespace, action.name)
        revisions = route.revisions if route is not None else {}
        known = next((revision for revision in revisions.values() if revision.digest == digest), None)
        log: list[str] = []
        if known is None:
            artifact = await self._builder.build(package, action.config, log.append, layers=layers, as_is=as_is)
            revision = Revision(
                namespace=action.namespace,
                function=action.name,
                number=max(revisions, default=0) + 1,
                config=action.config,
                artifact=artifact,
                digest=digest,
                created=self._clock.now(),
                profile=action.profile,
            )
        else:
            revision = known
        with self._quotas.storing(action.namespace, revision.artifact):
            function = await self._roll_out(action, revision, route, as_is)
        return Deployed(
            function=function,
            revision=revision,
            created=known is None,
            build_ms=(self._clock.monotonic() - began) * 1000,
            build_log="\n".join(log)[-16384:],
        )

    async def _roll_out(self, action: PutFunction, revision: Revision, route: Route | None, as_is: bool) -> Function:
        """Try the revision, if any call will go there that does not go there now; then swap it in."""
        known = route is not None and revision.number in route.revisions
        moves = route is not None and action.publish and route.function.traffic != (Target(revision.number),)
        if action.trial and not as_is and (not known or moves):
            try:
                await self._warm(revision)
            except DayflyError:
                self._reach(revision, False)
                raise
        async with self.changes.of(f"{action.namespace}/{action.name}"):
            return await self._swap(action, revision)

    async def _swap(self, action: PutFunction, revision: Revision) -> Function:
        """Store the revision and send the traffic there. What else was changed during the build stays changed."""
        self._require_namespace(action.namespace)
        route = self._registry.find(action.namespace, action.name)
        old = route.function if route is not None else None
        revisions = route.revisions if route is not None else {}
        traffic = (Target(revision.number),) if action.publish or old is None else old.traffic
        new = revision.number not in revisions
        if old is not None and not new and old.traffic == traffic and old.labels == action.labels:
            return old
        now = self._clock.now()
        function = Function(
            namespace=action.namespace,
            name=action.name,
            latest=max(revision.number, old.latest if old is not None else 0),
            traffic=traffic,
            aliases=old.aliases if old is not None else {},
            labels=action.labels,
            profile=action.profile,
            invoke_policy=old.invoke_policy if old is not None else InvokePolicy(),
            reserved=old.reserved if old is not None else None,
            created=old.created if old is not None else now,
            updated=now,
        )
        statements = [function_statement(function)]
        if new:
            statements.insert(0, revision_statement(revision))
            statements += [forget_statement(left) for left in outdated(function, {**revisions, revision.number: revision})]
        await self._store.commit(*statements, notes=[note(function)])
        await self._registry.refresh(action.namespace, action.name)
        if old is not None:
            self.reach(function.namespace, function.name)
        return function

    def _require_namespace(self, name: str) -> None:
        if name not in self._registry.namespaces:
            raise NotFound(f"there is no namespace {name!r}", hint=f"Create it: dayfly namespace create {name}")

    async def _package(self, code: Code) -> str:
        if bool(code.package) == bool(code.files):
            raise BadInput("code needs exactly one of `package` (a digest) and `files` (path to text)")
        if code.files:
            return (await self._packages.put_texts(code.files)).digest
        return (await asyncio.to_thread(self._packages.describe, code.package)).digest

    def reach(self, namespace: str, name: str) -> None:
        """Tell of each revision whether traffic, a tag or an alias points to it now."""
        route = self._registry.find(namespace, name)
        if route is not None:
            live = {revision.number for revision in reachable(route.function, route.revisions)}
            for revision in route.revisions.values():
                self._reach(revision, revision.number in live)


def check_name(name: str, profile: Profile) -> None:
    """Raises NameInvalid if the profile's rule does not allow the name."""
    if re.match(profile.name_pattern.replace("$", r"\Z"), name) is None:
        raise NameInvalid(
            f"{name[:100]!r} is not a name for a function",
            hint="Use lower-case letters, digits, - and _, at most 63, beginning and ending with a letter or digit.",
        )


def check_config(config: Config, profile: Profile) -> None:
    """Raises BadInput where fields contradict each other or exceed the profile."""
    if config.min_instances > config.max_instances:
        raise BadInput(f"min_instances {config.min_instances} is more than max_instances {config.max_instances}")
    if config.isolation is Isolation.PER_INVOCATION and config.concurrency > 1:
        raise BadInput(
            f"isolation per-invocation gives each call an instance, and concurrency {config.concurrency} would share it",
            hint="Use concurrency 1, or isolation shared.",
        )
    if config.timeout_s > profile.max_timeout_s:
        raise BadInput(f"timeout_s {config.timeout_s:g} is more than {profile.max_timeout_s:g}")
    if config.memory_mb > profile.max_memory_mb:
        raise BadInput(f"memory_mb {config.memory_mb} is more than {profile.max_memory_mb}")
    if bool(config.steps) != (config.runtime == "sequence"):
        raise BadInput("steps belong to the runtime `sequence`, and it to them")
    if config.runtime not in ("nodejs", "provided", "sequence") and not re.match(r"python3\.(8|9|1[0-3])\Z", config.runtime):
        raise BadInput(f"there is no runtime {config.runtime!r}", hint="Use python3.8 ... python3.13, nodejs or provided.")
    if config.allow and config.network is not Network.ALLOW:
        raise BadInput(f"there is an allow-list, but network is {config.network.value!r}", hint='Set network to "allow".')
    try:
        for entry in config.allow:
            parse_allowed(entry)
    except ValueError as error:
        raise BadInput(f"the allow-list is wrong: {error}") from None
    reserved = [name for name in (*config.env, *config.secrets) if name.startswith("DAYFLY_")]
    if reserved:
        raise BadInput(f"the environment variable {reserved[0]} belongs to the platform", hint="Choose another name.")
    cut = [name for name, value in config.env.items() if "\0" in value]
    if cut:
        raise BadInput(
            f"the value of the environment variable {cut[0]} contains a NUL character, which no environment can hold",
            hint="Encode binary values, e.g. in base64.",
        )


def content_digest(package: str, config: Config, profile: str, layers: Sequence[str] = ()) -> str:
    """What makes two revisions the same: sha256 over code, configuration and profile."""
    text = msgspec.json.encode([package, config, profile, *layers], order="deterministic")
    return hashlib.sha256(text).hexdigest()


def function_statement(function: Function) -> tuple[str, dict[str, object]]:
    return "function_put", {
        "namespace": function.namespace,
        "name": function.name,
        "body": msgspec.json.encode(function),
        "updated": function.updated,
    }


def revision_statement(revision: Revision) -> tuple[str, dict[str, object]]:
    return "revision_put", {
        "namespace": revision.namespace,
        "function": revision.function,
        "number": revision.number,
        "digest": revision.digest,
        "body": msgspec.json.encode(revision),
        "created": revision.created,
    }


def forget_statement(revision: Revision) -> tuple[str, dict[str, object]]:
    return "revision_delete", {
        "namespace": revision.namespace,
        "function": revision.function,
        "number": revision.number,
    }


def outdated(function: Function, revisions: Mapping[int, Revision]) -> list[Revision]:
    """The oldest revisions beyond KEEP_REVISIONS, except those that traffic, tags or aliases point to."""
    live = {revision.number for revision in reachable(function, revisions)}
    idle = [revisions[number] for number in sorted(revisions) if number not in live]
    return idle[: max(0, len(revisions) - KEEP_REVISIONS)]


def note(function: Function) -> Note:
    return "function", function.key
