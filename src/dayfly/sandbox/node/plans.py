"""From what an instance is (BoxSpec) to how it is started: interpreter, jail and work.

The one place where the two isolations differ. In a namespace an instance sees its mounts at their targets and nothing else of the
machine; without isolation it is told where they are on the host.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ...model.ids import new_id
from ...model.network import AWS, SERVICES, Network
from ..port import BoxSpec, JobSpec
from .interpreters import Interpreter, find
from .wrap import DOOR, OWN_KERNEL, WRAPS, missing
from .wrap.view import View, furnish

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
INSIDE = "/run/dayfly"  # the runtime's folder inside a jail
ISOLATIONS = ("namespace", "process", *WRAPS)
LAMBDA_CLIENT = "/var/lang/client"  # where programs in a jail find AWS's runtime interface client
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIRST_MINOR = 10  # of Python 3, that awslambdaric supports
FIRST_UID = 200_000  # of the host: one a live instance, so that they are strangers to each other there as well


class CannotStart(Exception):
    """Something cannot be started on this node; the message says why and what to do."""


class Start(Struct, frozen=True):
    """What a zygote is told: what the child becomes, its jail, and its work as JSON."""

    kind: str  # worker, bridge or exec; `work` of exec: {"argv", "env", "cwd", "input"?}
    plan: dict[str, Any] | None
    work: bytes
    folder: Path | None = None  # a private /tmp where there is no jail, or the sandbox maker's files: removed after
    wrapped: bool = False  # the child makes the sandbox, and exits with 128 + the signal that ended what was in it
    door: Path | None = None  # where it will make its listening socket, if it cannot take the agent's


class Package(Struct, frozen=True):
    """What makes an instance of a process that waits."""

    binds: list[list[str]]
    hostname: str
    work: bytes
    folder: Path | None


class Planner:
    """Plans for one node. `packages`: the folder below which the sources of all mounts lie; `scratch`: for private folders;
    `network`: whether instances can have one, at whose router they find the platform."""

    def __init__(self, isolation: str, packages: Path, scratch: Path, *, network: bool = False) -> None:
        self.isolation = isolation
        self._jailed = isolation == "namespace"
        self._inside = isolation != "process"  # whether instances see the paths of a sandbox, not the host's
        self._wrap = WRAPS.get(isolation)
        self._shown: list[tuple[str, str]] = []  # what a wrapped sandbox shows to all
        self._packages = packages
        self._scratch = scratch
        self._network = network
        executable = os.path.realpath(sys.executable)
        version = ".".join(map(str, sys.version_info[:3]))
        self._launcher = Interpreter(name="launcher", version=version, executable=executable, prefix=sys.base_prefix)

    def template(self, interpreter: Interpreter) -> dict[str, Any] | None:
        """What all children of this interpreter's zygote share; None where the jail has nothing to offer."""
        if not self._jailed:
            return {"isolation": "process", "runtime": str(RUNTIME / "python")} if sys.platform == "linux" else None
        binds = [[str(RUNTIME), INSIDE]]
        if interpreter is self._launcher:
            binds += [[str(part), f"{LAMBDA_CLIENT}/{part.name}"] for part in lambda_client()]
            binds += [[i.prefix, i.prefix] for i in find().values() if not i.prefix.startswith("/usr")]
        return {
            "isolation": "namespace",
            "binds": binds,
            "sources": [str(self._packages)],
            "runtime": f"{INSIDE}/python",
        }

    def modules(self, interpreter: Interpreter) -> tuple[str, ...]:
        """What of the runtime this interpreter's zygote imports before it forks."""
        return ("bridge", "runtimeapi") if interpreter is self._launcher else interpreter.preload or ("worker",)

    def instance(self, spec: BoxSpec, uid: int) -> tuple[Interpreter, Start]:
        """How to start an instance. Raises CannotStart if this node lacks its runtime or its code."""
        task = msgspec.to_builtins(spec)
        for name in ("token", "network", "allow", "bandwidth_mbit"):
            del task[name]
        if self._network and spec.token and spec.network != Network.NONE:
            task["platform"] = _platform(spec)
        roots = [m.target if self._inside else str(self._source(m.source)) for m in spec.mounts]
        task["task_root"] = roots[0] if roots else "/tmp"  # a build names the package first
        further = {m.target: root for m, root in zip(spec.mounts[1:], roots[1:], strict=True)}
        task["opt_root"] = further.pop("/opt", "/opt")
        task["deps_roots"] = list(further.values())
        folder = None
        if not self._inside:
            folder = self._scratch / spec.id
            task["tmp"] = str(folder)
        interpreter, kind = self._launcher, "runtimeapi" if spec.contract == "lambda" else "bridge"
        if spec.contract == "lambda" and spec.runtime != "provided" and self._beside(spec):
            task["program"] = [*self._program(spec.runtime), task["opt_root"]]
        elif spec.runtime == "nodejs":
            kind, task = "exec", self._node(task)
        elif spec.runtime != "provided":
            if spec.contract == "lambda":
                interpreter, kind = for_lambda(spec.runtime), "awslambda"
            else:
                interpreter, kind = need(spec.runtime), "worker"
        binds = [[str(self._source(m.source)), m.target, "ro"] for m in spec.mounts]
        keep = [1, 2, 3, 4] if kind == "exec" else [1, 2, 3]
        if self._wrap is not None:
            runner = self._launcher if kind == "exec" else interpreter
            if "program" in task and spec.runtime != "nodejs":
                runner = for_lambda(spec.runtime)  # whose client it shows
            shut = {"keep_fds": keep, "uid": uid}
            view = {"binds": binds, "hostname": spec.function[:63], "tmp_mb": spec.tmp_mb, "pids": spec.pids}
            if self._network and spec.network != Network.NONE:
                view["network"] = "pair"
            if self.isolation in OWN_KERNEL:
                view["door"] = self._scratch / spec.id / "door"
            return self._launcher, self._wrapped(spec.id, runner, kind, task, shut, **view)
        jail = self._jail(uid, binds, tmp_mb=spec.tmp_mb, hostname=spec.function[:63], keep_fds=keep)
        return interpreter, Start(kind, jail, msgspec.json.encode(task), folder)

    @property
    def spares(self) -> bool:
        """Whether a process can wait for its package: a wrapped sandbox is finished when it starts."""
        return self._wrap is None

    def spare(self, uid: int) -> tuple[Interpreter, Start]:
        """How to start a Node that waits for its package and its work. Raises CannotStart."""
        jail = self._jail(uid, [], keep_fds=[1, 2, 3, 4])
        task = self._node({})
        del task["input"]
        return self._launcher, Start("exec", jail, msgspec.json.encode(task))

    def package(self, spec: BoxSpec) -> Package:
        """What a waiting Node is given to become this instance. Raises CannotStart."""
        _, start = self.instance(spec, 0)
        binds = [bind[:2] for bind in start.plan["binds"]] if self._jailed and start.plan is not None else []
        return Package(binds, spec.function[:63], msgspec.json.decode(start.work)["input"].encode(), start.folder)

    def job(self, job: JobSpec, uid: int) -> tuple[Interpreter, Start]:
        """How to start a command. Raises CannotStart."""
        if self._inside:
            binds = [[host, inside, "rw"] for host, inside in job.writable]
            binds += [[host, inside, "ro"] for host, inside in job.readable if not self._visible(host, inside)]
            for host, _, _ in binds:
                if not Path(host).is_relative_to(self._packages):
                    raise CannotStart(f"{host} cannot be shown to a job: it is not below {self._packages}")
            task = {"argv": _located(job.argv), "env": job.env, "cwd": job.cwd}
            reach: dict[str, Any] = {"network": "host" if job.network else "none"}
            if job.tcp_ports is not None:
                reach["tcp_ports"] = job.tcp_ports
            if self._wrap is not None:
                shut = {"keep_fds": [1, 2], "uid": uid, **reach}
                view = {"binds": binds, "hostname": "build", "tmp_mb": max(64, job.memory_mb // 2), "pids": job.pids}
                if job.network:
                    view["network"] = "host"
                    binds.append([os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf", "ro"])
                return self._launcher, self._wrapped(new_id(), self._launcher, "exec", task, shut, **view)
            jail = self._jail(uid, binds, **reach, hostname="build", tmp_mb=max(64, job.memory_mb // 2))
        else:
            translate = _translator((*job.writable, *job.readable))
            env = {name: translate(value) for name, value in job.env.items()}
            task = {"argv": _located([translate(a) for a in job.argv]), "env": env, "cwd": translate(job.cwd)}
            jail = self._jail(uid, [])
        return self._launcher, Start("exec", jail, msgspec.json.encode(task))

    def _wrapped(
        self, identifier: str, runner: Interpreter, kind: str, task: dict[str, Any], shut: dict[str, Any], **options: Any
    ) -> Start:
        """A start of the program that makes the sandbox, in which `inside.py` is what runs first."""
        assert self._wrap is not None
        if why := missing(self.isolation):
            raise CannotStart(why)
        for source, *_ in options["binds"]:
            if os.path.realpath(source) != source:  # a build, which is hostile, may have left a link there
                raise CannotStart(f"{source} cannot be shown: it is, or goes through, a link")
        root = self._scratch.parent / "root"
        if not self._shown:
            shutil.rmtree(root, ignore_errors=True)
            folders = [INSIDE, *(folder for i in (self._launcher, *find().values()) for folder in (i.prefix, *i.path))]
            sources = {INSIDE: str(RUNTIME)}
            shown = [folder for folder in dict.fromkeys(folders) if not folder.startswith("/usr/") and folder != "/usr"]
            self._shown = furnish(root, [(sources.get(folder, folder), folder) for folder in shown])
        if os.geteuid() != 0:
            del shut["uid"]
        view = View(
            id=identifier,
            root=root,
            visible=[*self._shown, *((path, path) for path in runner.path)],
            argv=[runner.executable, "-I", "-S", "-B", f"{INSIDE}/python/inside.py"],
            folder=self._scratch / identifier,
            root_user=os.geteuid() == 0,
            **options,
        )
        given = {"kind": kind, "task": task, "shut": {"isolation": self.isolation, **shut}, "path": list(runner.path)}
        if view.door is not None:
            given["door"] = f"{DOOR}/socket"
        wrapped = {"argv": _located(self._wrap(view)), "env": {"PATH": PATH}, "cwd": "/"}
        plan: dict[str, Any] = {"isolation": "process", "keep_fds": [1, 2, 3, 4]}
        if self.isolation in OWN_KERNEL:
            plan["nofile"] = 1 << 14  # it holds a descriptor for each file that was looked at; how many those are, it bounds
            if "tcp_ports" in shut:
                plan["tcp_ports"] = shut["tcp_ports"]
        work = msgspec.json.encode({**wrapped, "input": msgspec.json.encode(given).decode()})
        return Start("exec", plan, work, view.folder, wrapped=True, door=view.door and view.door / "socket")

    def _jail(self, uid: int, binds: list[list[str]], **options: Any) -> dict[str, Any] | None:
        if not self._jailed:
            keep = options.get("keep_fds", [1, 2])
            return {"isolation": "process", "keep_fds": keep} if sys.platform == "linux" else None
        plan = {"isolation": "namespace", "uid": uid, "binds": binds, "die_with_zygote": True, "keep_fds": [1, 2]}
        return plan | options

    def _source(self, source: str) -> Path:
        path = self._packages / source
        if not path.is_dir():
            raise CannotStart(f"the package folder {path} is missing: deploy the function again")
        return path

    def _node(self, task: dict[str, Any]) -> dict[str, Any]:
        """Node reads its work from descriptor 4: environment strings are limited to 128 KiB, and everybody can read them."""
        main = f"{INSIDE}/node/main.cjs" if self._inside else str(RUNTIME / "node" / "main.cjs")
        work = msgspec.json.encode(task).decode() + "\n"
        return {"argv": [need("node").executable, main], "env": {"PATH": PATH}, "cwd": "/", "input": work}

    def _beside(self, spec: BoxSpec) -> bool:
        """Whether other programs stand beside the runtime of a Lambda function, so that it pulls its calls from the Runtime API."""
        layers = [mount for mount in spec.mounts[1:] if mount.target == "/opt"]
        return "AWS_LAMBDA_EXEC_WRAPPER" in spec.env or any((self._source(m.source) / "extensions").is_dir() for m in layers)

    def _program(self, runtime: str) -> list[str]:
        """The command of a Lambda runtime that pulls its calls. Raises CannotStart."""
        folder = INSIDE if self._inside else str(RUNTIME)
        if runtime == "nodejs":
            return [need("node").executable, f"{folder}/node/awsprogram.cjs"]
        interpreter = for_lambda(runtime)
        client = LAMBDA_CLIENT if self._jailed else interpreter.path[0]
        return [interpreter.executable, "-SB", f"{folder}/python/awsprogram.py", client]

    def _visible(self, host: str, inside: str) -> bool:
        """Whether the jail shows this folder anyway, at its own place."""
        prefixes = ["/usr", *(found.prefix for found in find().values())]
        return host == inside and any(Path(host).is_relative_to(prefix) for prefix in prefixes)


def _platform(spec: BoxSpec) -> dict[str, str]:
    """Variables that say where the platform answers an instance, and as whom. Its token signs for AWS's clients: all but the end of
    it is shown with each request, so the server knows the rest."""
    if spec.contract != "lambda":
        return {"DAYFLY_URL": f"http://{SERVICES}", "DAYFLY_TOKEN": spec.token}
    shown = spec.token.rpartition(".")[0]
    return {"AWS_ENDPOINT_URL": f"http://{AWS}", "AWS_SECRET_ACCESS_KEY": spec.token, "AWS_SESSION_TOKEN": shown}


def need(name: str) -> Interpreter:
    """The interpreter of that name. Raises CannotStart."""
    found = find().get(name)
    if found is None:
        have = ", ".join(find()) or "none"
        raise CannotStart(f"{name} is not on this machine (found: {have}): install it, or choose another runtime")
    return found


@functools.cache
def lambda_client() -> list[Path]:
    """The folders and files of AWS's runtime interface client and of what it imports; nothing if it is not installed."""
    client = importlib.util.find_spec("awslambdaric")
    if client is None or client.origin is None:
        return []
    installed = Path(client.origin).parents[1]
    names = ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client*.so")
    return [part for name in names for part in installed.glob(name)]


@functools.cache
def for_lambda(runtime: str) -> Interpreter:
    """The Python that runs functions of AWS Lambda's contract: this one, or else the next newer, or the newest. Raises CannotStart."""
    client = importlib.util.find_spec("awslambdaric")
    if client is None or client.origin is None:
        raise CannotStart("the contract of AWS Lambda needs awslambdaric on the node: pip install 'dayfly[lambda]'")
    minors = sorted(int(name[8:]) for name in find() if name.startswith("python3.") and int(name[8:]) >= FIRST_MINOR)
    if not minors:
        raise CannotStart(f"awslambdaric needs Python 3.{FIRST_MINOR} or newer, and this machine has none")
    minor = next((m for m in minors if m >= int(runtime[8:])), minors[-1])
    packages = str(Path(client.origin).parents[1])
    return msgspec.structs.replace(find()[f"python3.{minor}"], preload=("awslambda",), path=(packages,))


def _located(argv: Sequence[str]) -> list[str]:
    """The command with its program as a path: there is no shell to look for it."""
    program = argv[0] if "/" in argv[0] else shutil.which(argv[0], path=PATH)
    if not program:
        raise CannotStart(f"there is no program {argv[0]} on {PATH}")
    return [program, *argv[1:]]


def _translator(folders: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """Puts host paths in place of the paths inside a jail that is not there."""
    table = {inside: host for host, inside in folders}
    names = "|".join(re.escape(inside) for inside in sorted(table, key=len, reverse=True))
    if not names:
        return lambda text: text
    pattern = re.compile(rf"(?<![\w./-])({names})(?![\w.-])")
    return lambda text: pattern.sub(lambda match: table[match[1]], text)
