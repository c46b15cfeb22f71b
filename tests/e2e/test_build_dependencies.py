"""Dependencies installed for real: pip and npm, in the real sandbox, from packages made here (so no network is needed)."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly.build.builder import Builder
from dayfly.build.machine import Machine
from dayfly.build.packages import PackageStore
from dayfly.errors import BuildFailed
from dayfly.model.function import Artifact, Config
from dayfly.sandbox.node.client import NodeSandbox
from dayfly.sandbox.node.interpreters import Interpreter, find
from tests.support.machine import needs_node

pytestmark = pytest.mark.anyio

HANDLER = "import demo\n\ndef handler(event, context):\n    return demo.VALUE\n"
PYTHONS = [name for name in find() if name.startswith("python")]


@pytest.fixture(params=["namespace", "process"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NodeSandbox]:
    if request.param == "namespace" and os.geteuid():
        pytest.skip("needs root")
    (tmp_path / "packages").mkdir()
    with tempfile.TemporaryDirectory() as data:  # short: the agent's sockets are in it
        sandbox = NodeSandbox(Path(data), isolation=request.param, packages=tmp_path / "packages")
        await sandbox.open()
        yield sandbox
        await sandbox.close()


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    store = PackageStore(tmp_path / "packages")
    store.open()
    return store


@pytest.fixture
def builder(place: NodeSandbox, store: PackageStore, tmp_path: Path) -> Builder:
    (tmp_path / "wheels").mkdir()
    machine = Machine({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}, tmp_path, tmp_path)
    return Builder(store, place, find(), machine=machine)


def wheel(version: str, value: int) -> tuple[str, bytes]:
    info = f"demo-{version}.dist-info"
    files = {
        "demo.py": f"VALUE = {value}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files))
    return f"demo-{version}-py3-none-any.whl", buffer.getvalue()


def zipped(files: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def value(store: PackageStore, artifact: Artifact, runtime: str) -> str:
    """What the handler returns, its mounts on the path."""
    path = os.pathsep.join(str(store.root / mount.source) for mount in artifact.mounts)
    command = [find()[runtime].executable, "-S", "-B", "-c", "import handler; print(handler.handler({}, None))"]
    return subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("runtime", [PYTHONS[0], PYTHONS[-1]])
async def test_pip_installs_with_the_functions_own_python(
    runtime: str, builder: Builder, store: PackageStore, tmp_path: Path
) -> None:
    for version, number in (("1.0", 1), ("2.0", 2)):
        name, data = wheel(version, number)
        (tmp_path / "wheels" / name).write_bytes(data)
    package = await store.put_texts({"handler.py": HANDLER, "requirements.txt": "demo<2  # the old one\n"})
    said: list[str] = []
    artifact = await builder.build(package.digest, Config(runtime=runtime), said.append)
    assert value(store, artifact, runtime) == "1"
    assert artifact.size > package.size
    assert any("Successfully installed demo-1.0" in line for line in said)
    assert not any(str(tmp_path) in line for line in said)
    again: list[str] = []
    assert await builder.build(package.digest, Config(runtime=runtime), again.append) == artifact
    assert not again  # from the cache, without a job


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="there is no pip to lend")
async def test_an_interpreter_without_pip_is_lent_one(place: NodeSandbox, store: PackageStore, tmp_path: Path) -> None:
    if place.name == "namespace":
        pytest.skip("its sandbox shows only the machine's own interpreters")
    runtime = f"python3.{sys.version_info.minor}"
    command = [find()[runtime].executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
    await asyncio.to_thread(subprocess.run, command, check=True)
    bare = Interpreter(
        name=runtime,
        version=find()[runtime].version,
        executable=str(tmp_path / "bare/bin/python"),
        prefix=str(tmp_path / "bare"),
    )
    name, data = wheel("5.0", 5)
    package = await store.put(zipped({"handler.py": HANDLER, "requirements.txt": f"./{name}\n", name: data}))
    builder = Builder(store, place, {runtime: bare}, machine=Machine({"PIP_NO_INDEX": "1"}, tmp_path, tmp_path))
    artifact = await builder.build(package.digest, Config(runtime=runtime))
    assert value(store, artifact, runtime) == "5"


async def test_a_wheel_in_the_package_is_installed_from_there(builder: Builder, store: PackageStore) -> None:
    name, data = wheel("3.0", 3)
    package = await store.put(zipped({"handler.py": HANDLER, "requirements.txt": f"./wheels/{name}\n", f"wheels/{name}": data}))
    artifact = await builder.build(package.digest, Config(runtime=PYTHONS[-1]))
    assert value(store, artifact, PYTHONS[-1]) == "3"


async def test_a_missing_distribution_names_its_line(builder: Builder, store: PackageStore) -> None:
    package = await store.put_texts({"handler.py": HANDLER, "requirements.txt": "# first\n\nno-such-thing==9.9\n"})
    with pytest.raises(BuildFailed, match=r"requirements\.txt:3: No matching distribution found for no-such-thing") as caught:
        await builder.build(package.digest, Config(runtime=PYTHONS[-1]))
    assert caught.value.members["line"] == 3
    assert "no-such-thing" in str(caught.value.members["log"])
    assert not list((store.root / "scratch").iterdir())


async def test_a_malformed_requirement_names_its_line(builder: Builder, store: PackageStore) -> None:
    package = await store.put_texts({"handler.py": HANDLER, "requirements.txt": "\ndemo >< 2\n"})
    with pytest.raises(BuildFailed) as caught:
        await builder.build(package.digest, Config(runtime=PYTHONS[-1]))
    assert caught.value.members["line"] == 2


BACKEND = """
import json, os, socket, subprocess
from zipfile import ZipFile

def tried(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__

def build_wheel(directory, config_settings=None, metadata_directory=None):
    report = {
        "secret": tried(lambda: open(%(secret)r).read()),
        "code": tried(lambda: open(%(code)r + "/planted.py", "w")),
        "deps": tried(lambda: os.listdir(%(deps)r)),
        "usr": tried(lambda: open("/usr/planted", "w")),
        "root": tried(lambda: os.setuid(0)),
        "shadow": tried(lambda: open("/etc/shadow").read()),
        "variables": sorted(os.environ),
    }
    null = subprocess.DEVNULL
    subprocess.Popen(["sleep", "1000"], stdin=null, stdout=null, stderr=null, start_new_session=True)
    name = "demo-4.0-py3-none-any.whl"
    info = "demo-4.0.dist-info"
    with ZipFile(os.path.join(directory, name), "w") as archive:
        archive.writestr("demo.py", "VALUE = 4")
        archive.writestr("report.json", json.dumps(report))
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: demo\\nVersion: 4.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "demo.py,,\\n")
    return name
"""


async def test_a_hostile_build_script_gets_nowhere(
    place: NodeSandbox, builder: Builder, store: PackageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.name != "namespace":
        pytest.skip("there is no isolation to test")
    monkeypatch.setenv("DAYFLY_TEST_SECRET", "never")
    (tmp_path / "secret").write_text("never")
    names = {"secret": str(tmp_path / "secret"), "code": str(store.root / "code"), "deps": str(store.root / "deps")}
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "demo"\nversion = "4.0"\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in {
            "pyproject.toml": project,
            "backend.py": BACKEND % names,
            "PKG-INFO": "Name: demo\nVersion: 4.0\n",
        }.items():
            member = tarfile.TarInfo(f"demo-4.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    (tmp_path / "wheels" / "demo-4.0.tar.gz").write_bytes(buffer.getvalue())
    package = await store.put_texts({"handler.py": HANDLER, "requirements.txt": "demo==4.0"})

    artifact = await asyncio.wait_for(builder.build(package.digest, Config(runtime=PYTHONS[-1])), 60)

    report = json.loads((store.root / artifact.mounts[1].source / "report.json").read_text())
    assert "DAYFLY_TEST_SECRET" not in report.pop("variables")
    assert all(outcome.endswith("Error") for outcome in report.values()), report
    assert [p.name for p in (store.root / "code").iterdir()] == [package.digest]
    assert not list((store.root / "scratch").iterdir())


@needs_node
async def test_npm_installs_and_runs_install_scripts_inside(builder: Builder, store: PackageStore) -> None:
    manifest = {"name": "f", "version": "1.0.0", "dependencies": {"dep": "file:./dep"}}
    dep = {
        "name": "dep",
        "version": "1.0.0",
        "main": "index.js",
        "scripts": {"install": "node -e \"fs.writeFileSync('made', '1')\""},
    }
    package = await store.put_texts(
        {
            "index.js": "const dep = require('dep');\nexports.handler = async () => dep;\n",
            "package.json": json.dumps(manifest),
            "dep/package.json": json.dumps(dep),
            "dep/index.js": "module.exports = 42;\n",
        }
    )
    artifact = await builder.build(package.digest, Config(runtime="nodejs", handler="index.handler"))
    _, deps = artifact.mounts
    assert deps.target == "/var/node_modules"
    installed = store.root / deps.source / "dep"
    assert not installed.is_symlink()
    assert (installed / "index.js").read_text() == "module.exports = 42;\n"
    assert (installed / "made").exists()


@pytest.mark.skipif("python3.13" not in find(), reason="this machine has no Python 3.13")
async def test_newer_grammar_passes_and_wrong_grammar_does_not(builder: Builder, store: PackageStore) -> None:
    config = Config(runtime="python3.13")
    good = await store.put_texts({"handler.py": "def handler[T = int](event: T, context): ...\n"})
    assert len((await builder.build(good.digest, config)).mounts) == 1
    bad = await store.put_texts({"handler.py": "\ndef handler(event, context) return 1\n"})
    with pytest.raises(BuildFailed, match=r"handler\.py:2: expected ':': def handler"):
        await builder.build(bad.digest, config)


@pytest.mark.parametrize("runtime", [PYTHONS[0], PYTHONS[-1]])
async def test_large_packages_start_from_bytecode(runtime: str, builder: Builder, store: PackageStore) -> None:
    big = "VALUE = 7\n" + "".join(f"def f{i}(a, b): return a * {i} + b\n" for i in range(3000))
    package = await store.put_texts({"handler.py": HANDLER, "demo.py": big, "old.py": "print 'Python 2 does not compile'\n"})
    artifact = await builder.build(package.digest, Config(runtime=runtime))
    (mount,) = artifact.mounts
    made = store.root / mount.source / "__pycache__" / f"demo.cpython-3{runtime.rpartition('.')[2]}.pyc"
    assert made.read_bytes()[4:8] == b"\1\0\0\0"  # PEP 552: by hash, unchecked
    assert b"/var/task/demo.py" in made.read_bytes()
    assert value(store, artifact, runtime) == "7"
