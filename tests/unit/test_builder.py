"""Builds: what a job is asked to do, how its outcome is kept, and what hostile outcomes come to."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from dayfly.build.builder import Builder
from dayfly.build.install import Install, Installed
from dayfly.build.machine import Machine
from dayfly.build.packages import PackageStore
from dayfly.build.watch import bounded
from dayfly.errors import BuildFailed, NotFound
from dayfly.model.function import Artifact, Config, Mount
from dayfly.sandbox.node.interpreters import Interpreter
from dayfly.sandbox.port import JobResult, JobSpec, Sandbox
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

HANDLER = {"handler.py": "def handler(event, context): ...\n"}
PYTHON = Config()
NODE = Config(runtime="nodejs", handler="index.handler")


class Jobs:
    """Plays the sandbox: runs `script` on the job's folder instead of the command, when `gate` lets it."""

    def __init__(self, script: Callable[[Path], int | JobResult] = lambda work: 0) -> None:
        self.script = script
        self.jobs: list[JobSpec] = []
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, job: JobSpec, on_output: Callable[[str], None] | None = None) -> JobResult:
        self.jobs.append(job)
        self.asked.set()
        await self.gate.wait()
        ((host, _),) = job.writable
        result = self.script(Path(host))
        answer = result if isinstance(result, JobResult) else JobResult(result, "")
        if on_output is not None:
            on_output(answer.output)
        return answer


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    store = PackageStore(tmp_path / "packages")
    store.open()
    return store


# The jobs are scripted, so what this machine has does not matter.
INTERPRETERS = {
    name: Interpreter(name=name, version=version, executable=sys.executable, prefix="/usr")
    for name, version in [*((f"python3.{minor}", f"3.{minor}.1") for minor in range(8, 14)), ("node", "20.0.0")]
}


def builder(store: PackageStore, jobs: Jobs) -> Builder:
    return Builder(store, cast(Sandbox, jobs), INTERPRETERS, machine=Machine({}, store.root))


async def build(store: PackageStore, jobs: Jobs, files: dict[str, str], config: Config = PYTHON) -> Artifact:
    package = await store.put_texts(files)
    return await builder(store, jobs).build(package.digest, config)


def install_six(work: Path) -> int:
    (work / "out").mkdir()
    (work / "out" / "six.py").write_text("x = 1\n")
    return 0


async def test_without_dependencies_only_the_code_is_mounted_and_no_job_runs(store: PackageStore) -> None:
    jobs = Jobs()
    package = await store.put_texts(HANDLER | {"requirements.txt": "# nothing yet\n", "pyproject.toml": "[tool.x]\n"})
    artifact = await builder(store, jobs).build(package.digest, Config())
    assert artifact.mounts == (Mount(f"code/{package.digest}", "/var/task"),)
    assert artifact.size == package.size
    assert not jobs.jobs


async def test_dependencies_are_installed_in_a_bounded_job_and_mounted(store: PackageStore) -> None:
    jobs = Jobs(install_six)
    artifact = await build(store, jobs, HANDLER | {"requirements.txt": "six\n"})
    (job,) = jobs.jobs
    assert job.network
    assert job.argv[0] == INTERPRETERS["python3.11"].executable
    assert not job.readable
    assert [inside for _, inside in job.writable] == ["/build"]
    assert artifact.mounts[1].target == "/var/deps"
    assert (store.root / artifact.mounts[1].source / "six.py").read_text() == "x = 1\n"
    assert not list((store.root / "scratch").iterdir())


async def test_equal_wishes_share_one_installation(store: PackageStore) -> None:
    jobs = Jobs(install_six)
    one = await build(store, jobs, HANDLER | {"requirements.txt": "six  # comment\n\n"})
    two = await build(store, jobs, {"handler.py": "handler = print\n", "requirements.txt": "six"})
    three = await build(store, jobs, HANDLER | {"pyproject.toml": '[project]\ndependencies = ["six"]\n'})
    assert len(jobs.jobs) == 1
    assert one.mounts[1] == two.mounts[1] == three.mounts[1]
    assert one.digest != two.digest
    other = await build(store, jobs, HANDLER | {"requirements.txt": "six"}, Config(runtime="python3.12"))
    assert other.mounts[1] != one.mounts[1]


@pytest.mark.parametrize(
    "line", ["-r more.txt", "./local", "wheels/a.whl", "-e .", "a @ file:///var/task/a", "--find-links wheels", "${X}"]
)
async def test_wishes_that_look_around_are_not_shared(line: str, store: PackageStore) -> None:
    seen: list[bool] = []

    def script(work: Path) -> int:
        seen.append((work / "src" / "handler.py").exists())
        return install_six(work)

    jobs = Jobs(script)
    one = await build(store, jobs, HANDLER | {"requirements.txt": line})
    two = await build(store, jobs, HANDLER | {"requirements.txt": line, "more.txt": "evil"})
    assert one.mounts[1] != two.mounts[1]
    assert seen == [True, True]  # the package's own files are there


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "A.b-c[x,y]>=1,<2 ; python_version < '3.9'",
        "a @ https://host/a.whl",
        "a==1 --hash=sha256:00ff",
        "--index-url https://h/s",
    ],
)
async def test_wishes_that_stand_alone_are(line: str, store: PackageStore) -> None:
    jobs = Jobs(install_six)
    one = await build(store, jobs, HANDLER | {"requirements.txt": line})
    two = await build(store, jobs, HANDLER | {"requirements.txt": line, "more.txt": ""})
    assert one.mounts[1] == two.mounts[1]


async def test_builds_of_the_same_at_once_are_one(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(install_six)
    jobs.gate.clear()
    package = await store.put_texts(HANDLER | {"requirements.txt": "six"})
    same, heard = builder(store, jobs), [list[str]() for _ in range(5)]
    ensure, asked, all_asked = same._installer.ensure, itertools.count(1), asyncio.Event()

    async def counted(install: Install, progress: Callable[[str], None]) -> Installed:
        if next(asked) == len(heard):
            all_asked.set()
        return await ensure(install, progress)

    monkeypatch.setattr(same._installer, "ensure", counted)
    builds = [asyncio.create_task(same.build(package.digest, Config(), lines.append)) for lines in heard]
    await jobs.asked.wait()
    await all_asked.wait()  # one that comes when it is done hears nothing
    builds[0].cancel()  # the others must not notice
    jobs.gate.set()
    done = await asyncio.gather(*builds, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert len(set(map(str, done[1:]))) == 1
    assert len(jobs.jobs) == 1
    assert all(lines[-1].startswith("installed") for lines in heard[1:])


async def test_a_build_nobody_waits_for_is_stopped(store: PackageStore) -> None:
    jobs = Jobs()
    jobs.gate.clear()
    task = asyncio.create_task(build(store, jobs, HANDLER | {"requirements.txt": "six"}))
    await jobs.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((store.root / "deps").iterdir())
    jobs.script, jobs.asked = install_six, asyncio.Event()
    jobs.gate.set()
    assert await build(store, jobs, HANDLER | {"requirements.txt": "six"})
    assert len(jobs.jobs) == 2


async def test_a_failure_is_not_kept_and_names_the_line(store: PackageStore) -> None:
    log = (
        "Collecting six (from -r requirements.txt (line 2))\n"
        "\x1b[31mERROR: Could not find a version that satisfies the requirement No_Such==1 (from versions: none)\x1b[0m\n"
        "ERROR: No matching distribution found for No_Such==1\n"
    )
    jobs = Jobs(lambda work: JobResult(1, log))
    files = HANDLER | {"requirements.txt": "# no-such is needed\nsix\nno-such == 1\n"}
    with pytest.raises(BuildFailed) as caught:
        await build(store, jobs, files)
    assert caught.value.detail == (
        "installing the dependencies failed at requirements.txt:3: No matching distribution found for No_Such==1"
    )
    assert caught.value.members["log"] == [line.replace("\x1b[31m", "").replace("\x1b[0m", "") for line in log.splitlines()]
    jobs.script = install_six
    assert len((await build(store, jobs, files)).mounts) == 2


@pytest.mark.parametrize(("status", "words"), [(124, "not done after 600 s"), (137, "memory limit"), (7, "status 7")])
async def test_how_a_job_ended_is_said(status: int, words: str, store: PackageStore) -> None:
    with pytest.raises(BuildFailed, match=words):
        await build(store, Jobs(lambda work: status), HANDLER | {"requirements.txt": "six"})


async def test_what_a_hostile_job_leaves_is_made_harmless(store: PackageStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    os.chmod(secret, 0o600)

    def script(work: Path) -> int:
        out = work / "out"
        (out / "bin").mkdir(parents=True)
        (out / "bin" / "tool").write_text("#!/bin/sh")
        os.chmod(out / "bin" / "tool", 0o6777)
        (out / "good").symlink_to("bin/tool")
        (out / "absolute").symlink_to(secret)
        (out / "up").symlink_to("../../../../../secret")
        (out / "self").symlink_to(".")
        os.mkfifo(out / "pipe")
        os.chmod(out / "bin", 0o000)
        return 0

    artifact = await build(store, Jobs(script), HANDLER | {"requirements.txt": "six"})
    folder = store.root / artifact.mounts[1].source
    assert sorted(p.name for p in folder.iterdir()) == ["bin", "good"]
    assert folder.stat().st_mode & 0o7777 == 0o755
    assert (folder / "bin" / "tool").stat().st_mode & 0o7777 == 0o755
    assert secret.stat().st_mode & 0o7777 == 0o600


async def test_a_job_that_puts_a_link_for_its_outcome_gets_nothing(store: PackageStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("s")
    artifact = await build(
        store, Jobs(lambda work: (work / "out").symlink_to(outside) or 0), HANDLER | {"requirements.txt": "x"}
    )
    assert not list((store.root / artifact.mounts[1].source).iterdir())
    assert outside.stat().st_mode & 0o777 == 0o700
    assert (outside / "secret").exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="this machine has no npm")
async def test_node_installs_by_lock_file_and_without_scripts_of_its_own(store: PackageStore) -> None:
    seen: list[tuple[str, dict[str, object]]] = []

    def script(work: Path) -> int:
        seen.append((jobs.jobs[-1].argv[2], json.loads((work / "src" / "package.json").read_text())))
        (work / "src" / "node_modules" / "a").mkdir(parents=True)
        return 0

    jobs = Jobs(script)
    files = {"index.js": "", "package.json": json.dumps({"name": "n", "scripts": {"test": "x"}, "dependencies": {"a": "1"}})}
    artifact = await build(store, jobs, files, NODE)
    assert artifact.mounts[1].target == "/var/node_modules"
    assert (store.root / artifact.mounts[1].source / "a").is_dir()
    await build(store, jobs, files | {"package-lock.json": "{}"}, NODE)
    assert seen == [("install", {"dependencies": {"a": "1"}}), ("ci", {"dependencies": {"a": "1"}})]
    await build(store, jobs, files | {"node_modules/a/index.js": ""}, NODE)
    await build(store, jobs, files | {"package.json": '{"dependencies": {}}'}, NODE)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("files", "config", "words"),
    [
        ({"pyproject.toml": "[project]\nname = 'x'\ndependencies = [\n  six\n]"}, Config(), "pyproject.toml cannot be read"),
        ({"pyproject.toml": "[project]\ndependencies = 'six'"}, Config(), "not a list of texts"),
        ({"requirements.txt": "a" * (2 << 20)}, Config(), "over 1 MiB"),
        ({"index.js": "", "package.json": '{\n"dependencies": {,}}'}, NODE, "package.json:2"),
        ({"index.js": "", "package.json": "[" * 100_000}, NODE, "package.json"),
        ({"index.js": "", "package.json": '{"dependencies": []}'}, NODE, "not an object"),
    ],
)
async def test_files_that_cannot_be_read_are_named(
    files: dict[str, str], config: Config, words: str, store: PackageStore
) -> None:
    with pytest.raises(BuildFailed, match=words):
        await build(store, Jobs(), HANDLER | files, config)


async def test_unknown_packages_and_absent_runtimes_are_said(store: PackageStore) -> None:
    with pytest.raises(NotFound):
        await builder(store, Jobs()).build("0" * 64, Config())
    package = await store.put_texts(HANDLER)
    bare = Builder(store, cast(Sandbox, Jobs()), {})
    with pytest.raises(BuildFailed, match=r"no python3\.11"):
        await bare.build(package.digest, Config())


async def test_a_newer_python_confirms_or_clears_a_doubt(store: PackageStore) -> None:
    files = {"handler.py": "def handler[T = int](event: T, context): ...\n"}
    config = Config(runtime="python3.13")
    jobs = Jobs(lambda work: JobResult(0, json.dumps(["0", 1, 2, "no good", "def handler"]) + "\n"))
    with pytest.raises(BuildFailed, match=r"handler\.py:1: no good: def handler"):
        await build(store, jobs, files, config)
    assert not jobs.jobs[0].network
    jobs.script = lambda work: 0
    assert await build(store, jobs, files, config)


async def test_a_job_that_fills_the_disk_is_stopped(tmp_path: Path) -> None:
    clock = FakeClock()
    stopped = asyncio.Event()

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    watched = asyncio.create_task(bounded(job(), tmp_path, 1 << 20, 10, clock))
    await clock.pass_time(1)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "fill").write_bytes(os.urandom(2 << 20))
    while not watched.done():
        await clock.pass_time(1)
    with pytest.raises(BuildFailed, match="more than"):
        await watched
    assert stopped.is_set()


async def test_a_job_within_its_disk_runs_to_its_end(tmp_path: Path) -> None:
    clock = FakeClock()
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def job() -> int:
        return await gate

    watched = asyncio.create_task(bounded(job(), tmp_path, 1 << 20, 10, clock))
    await clock.pass_time(5)
    gate.set_result(7)
    assert await watched == 7


LARGE = HANDLER | {"lib/__init__.py": "", "lib/big.py": "x = 1\n" * 20_000, "__pycache__/handler.cpython-311.pyc": "theirs"}


def compile_all(work: Path) -> int:
    for name in ("handler", "lib/big", "lib/planted"):
        at = work / name
        (at.parent / "__pycache__").mkdir(exist_ok=True)
        (at.parent / "__pycache__" / f"{at.name}.cpython-311.pyc").write_text("bytecode")
    return 0


async def test_a_large_package_is_compiled_once_beside_the_package(store: PackageStore) -> None:
    jobs = Jobs(compile_all)
    artifact = await build(store, jobs, LARGE)
    again = await build(store, jobs, LARGE)
    assert artifact == again
    assert len(jobs.jobs) == 1
    assert not jobs.jobs[0].network
    (mount,) = artifact.mounts
    folder = store.root / mount.source
    assert mount.target == "/var/task"
    assert (folder / "lib/__pycache__/big.cpython-311.pyc").read_text() == "bytecode"
    assert not (folder / "lib/__pycache__/planted.cpython-311.pyc").exists()  # no such source
    assert (folder / "__pycache__/handler.cpython-311.pyc").read_text() == "theirs"  # the package's own files stay
    assert not (store.path(artifact.digest) / "lib/__pycache__").exists()
    assert (folder / "lib/big.py").samefile(store.path(artifact.digest) / "lib/big.py")
    assert await store.collect([artifact], grace=-60) == 0


@pytest.mark.parametrize("way", ["fails", "links"])
async def test_without_usable_bytecode_the_source_does(way: str, store: PackageStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big.cpython-311.pyc").write_text("secret")

    def script(work: Path) -> int:
        (work / "lib" / "__pycache__").symlink_to(outside)
        return 1 if way == "fails" else 0

    artifact = await build(store, Jobs(script), LARGE)
    folder = store.root / artifact.mounts[0].source
    assert (folder / "lib/big.py").exists()
    assert not (folder / "lib/__pycache__").exists()
    assert artifact.mounts[0].source.startswith("code/" if way == "fails" else "deps/")
