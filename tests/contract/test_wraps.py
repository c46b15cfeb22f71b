"""Sandboxes that another program makes: what tells them from the others. `make backends` runs the whole contract and all attacks over them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly.errors import InitFailed, InstanceDied
from dayfly.sandbox.node import processes
from dayfly.sandbox.node.plans import FIRST_UID
from dayfly.sandbox.node.wrap import PROGRAMS, WRAPS, bubblewrap, oci
from dayfly.sandbox.node.wrap.view import View, furnish
from dayfly.sandbox.port import JobSpec
from tests.support.sandboxes import Place, ask, call, place, why_not

pytestmark = pytest.mark.anyio

LOOK = """
import ctypes, os

def handler(event, context):
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    libc = ctypes.CDLL(None, use_errno=True)
    return {
        "user": os.getuid(), "groups": os.getgroups(), "capabilities": sorted({status[n].strip() for n in status if n.startswith("Cap")}),
        "filter": status["Seccomp"].strip(), "flag": status["NoNewPrivs"].strip(), "processes": [n for n in os.listdir("/proc") if n.isdigit()],
        "shadow": os.path.exists("/etc/shadow"), "unshare": libc.unshare(0x10000000), "root": sorted(os.listdir("/")),
        "writes": [name for name in ("/x", "/usr/x", "/var/task/x", "/proc/sys/kernel/core_pattern") if opens(name)],
    }

def opens(name):
    try: open(name, "a"); return True
    except OSError: return False
"""


@pytest.fixture(params=["bubblewrap", "crun", "runsc"])
async def wrapped(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if reason := why_not(request.param):
        pytest.skip(reason)
    async with place(request.param) as found:
        yield found


async def test_an_instance_is_nobody_sees_nothing_and_ends_as_any_other(wrapped: Place) -> None:
    (wrapped.data / "packages" / "code" / "handlers" / "look.py").write_text(LOOK)
    box, events = await wrapped.ready("look.handler", env={"MINE": "1"})
    seen = await ask(box)
    assert (seen["user"], seen["groups"]) == (FIRST_UID, [])
    assert (seen["capabilities"], seen["filter"], seen["flag"]) == (["0000000000000000"], "2", "1")
    assert (seen["processes"], seen["shadow"], seen["unshare"], seen["writes"]) == (["1"], False, -1, [])
    assert "mnt" in seen["root"]

    dying, _ = await wrapped.ready("exits")
    assert isinstance(await call(dying, 3).end(), InstanceDied)
    await box.destroy()
    assert events.exit.result().error is None
    assert not list((wrapped.data / "run" / "t").iterdir())


async def test_out_of_memory_and_broken_code_are_told(wrapped: Place) -> None:
    box, events = await wrapped.ready("eats", memory_mb=48)
    assert isinstance(await call(box, 200).end(), InstanceDied)
    assert (await events.gone()).oom
    _, events = wrapped.create("broken.handler")
    assert isinstance((await events.gone()).error, InitFailed)


async def test_a_job_runs_in_one_too(wrapped: Place) -> None:
    work = wrapped.data / "packages" / "work"
    work.mkdir()
    job = JobSpec(argv=("sh", "-c", "id -u; echo made > /build/out; exit 3"), writable=((str(work), "/build"),), memory_mb=128)
    done = await wrapped.sandbox.run(job)
    assert (done.status, done.output.split()) == (3, [str(FIRST_UID)])
    assert (work / "out").read_text() == "made\n"


@pytest.mark.parametrize(
    ("status", "inner"), [(137 << 8, 9), (139 << 8, 11), (3 << 8, 3 << 8), (0, 0), (9, 9), (255 << 8, 255 << 8)]
)
def test_the_ending_of_what_is_inside_is_told_from_the_makers(status: int, inner: int) -> None:
    assert processes.of_inner(status) == inner


def view(root: Path, **options: object) -> View:
    given: dict[str, object] = {
        "id": "i", "root": root, "visible": [("/usr", "/usr")], "binds": [["/p/code", "/var/task", "ro"]], "argv": ["python", "inside.py"],
        "folder": root / "bundle", "hostname": "", "tmp_mb": 8, "pids": 64, "root_user": True, **options,
    }  # fmt: skip
    return View(**given)  # type: ignore[arg-type]


def test_without_root_bubblewrap_makes_a_user_namespace(tmp_path: Path) -> None:
    words = " ".join(bubblewrap.command(view(tmp_path, root_user=False)))
    assert "--unshare-user --disable-userns --uid 1000" in words
    assert "--cap-add" not in words
    assert "--unshare-net" not in bubblewrap.command(view(tmp_path, network="host"))


def test_the_bundle_says_what_oci_runtimes_need(tmp_path: Path) -> None:
    oci.bundle(view(tmp_path))
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert config["root"] == {"path": str(tmp_path), "readonly": True}
    assert {entry["type"] for entry in config["linux"]["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup", "network"}
    assert all("nosuid" in mount["options"] for mount in config["mounts"])
    assert "/proc/kallsyms" in config["linux"]["maskedPaths"]


@pytest.mark.parametrize("isolation", ["bubblewrap", "crun", "runsc"])
def test_a_program_is_the_one_that_the_servers_own_path_names(
    isolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / PROGRAMS[isolation]
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(program) in WRAPS[isolation](view(tmp_path))


def test_the_root_has_a_point_for_every_mount(tmp_path: Path) -> None:
    shown = furnish(tmp_path / "root", [(str(tmp_path), "/run/dayfly")])
    for _, target in shown:
        assert (tmp_path / "root" / target.lstrip("/")).exists()
    assert (tmp_path / "root" / "etc" / "passwd").read_text().startswith("root:")
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o755
