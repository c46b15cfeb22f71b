"""What `doctor` says of a machine: for real of this one, and of machines that refuse one thing or another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dayfly.sandbox.node import protections
from dayfly.sandbox.node.protections import Protection, probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

FINE = dict.fromkeys(["user", "mount", "pid", "net", "ipc", "uts", "cgroup", "jail", "seccomp", "no_new_privs", "landlock"], "")
REFUSED = "[Errno 1] Operation not permitted: 'unshare(0x10000000)'"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Report on a machine that gives these answers and has these files."""

    def report(said: dict[str, str], files: dict[str, str] | None = None, root: bool = True) -> dict[str, Protection]:
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        monkeypatch.setattr(protections, "_rehearse", lambda: {**FINE, **said})
        monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
        return {p.name: p for p in probe(proc=tmp_path / "proc", sysfs=tmp_path / "sys")}

    return report


def test_this_machine_for_real_and_nothing_is_left_behind() -> None:
    def state() -> tuple[str, list[str]]:
        groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/dayfly-doctor*")]
        return Path("/proc/self/mountinfo").read_text(), groups

    before = state()
    report = probe()
    assert state() == before
    assert {p.state for p in report} <= {"on", "off", "weaker"}
    assert len({p.name for p in report}) == len(report)
    if all(p.state == "on" for p in report if p.required):
        answers = {p.name: p.why for p in report}
        assert "denied" in answers["seccomp"]


def test_root_with_everything(machine) -> None:  # type: ignore[no-untyped-def]
    report = machine({})
    assert all(p.state == "on" for p in report.values() if p.required)
    assert report["user namespace"].state == "on"
    assert report["swap"].state == "on"


@pytest.mark.parametrize(
    ("file", "value", "why"),
    [
        ("proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone is 0"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
        ("proc/sys/kernel/ostype", "Linux", "Operation not permitted"),
    ],
)
def test_an_ordinary_user_without_user_namespaces_is_told_why(machine, file: str, value: str, why: str) -> None:  # type: ignore[no-untyped-def]
    user = machine({"user": REFUSED}, {file: value}, root=False)["user namespace"]
    assert (user.state, user.required) == ("off", True)
    assert why in user.why
    assert "run Dayfly as root" in user.todo


def test_root_does_without_user_namespaces(machine) -> None:  # type: ignore[no-untyped-def]
    user = machine({"user": REFUSED}, {"proc/sys/user/max_user_namespaces": "0"})["user namespace"]
    assert (user.state, user.required) == ("weaker", False)
    assert "run Dayfly as root" not in user.todo


def test_an_ordinary_user_shares_one_uid(machine) -> None:  # type: ignore[no-untyped-def]
    assert machine({}, root=False)["user namespace"].state == "weaker"


@pytest.mark.parametrize(
    ("answer", "name"),
    [("net", "net namespace"), ("pid", "pid namespace"), ("jail", "read-only root"), ("seccomp", "seccomp")],
)
def test_a_refusal_is_off_and_required_and_says_what_to_do(machine, answer: str, name: str) -> None:  # type: ignore[no-untyped-def]
    protection = machine({answer: "the kernel said no"})[name]
    assert (protection.state, protection.required) == ("off", True)
    assert "the kernel said no" in protection.why
    assert protection.todo


def test_shared_cores_and_pages_make_isolation_weaker(machine) -> None:  # type: ignore[no-untyped-def]
    files = {"sys/devices/system/cpu/smt/active": "1", "sys/kernel/mm/ksm/run": "1"}
    weaker = machine({}, files)["side channels"]
    assert weaker.state == "weaker"
    assert "SMT" in weaker.why
    assert "KSM" in weaker.why


def test_no_control_groups(machine, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(protections, "detect", lambda server: None)
    swap = {"proc/swaps": "Filename Type Size Used Priority\n/swapfile file 1024 0 -2"}
    report = machine({}, swap)
    assert {report[f"cgroup {name}"].state for name in ("memory", "pids", "cpu")} == {"off"}
    assert report["swap"].state == "weaker"


@pytest.mark.parametrize(
    ("release", "state"), [("5.11.0-x", "off"), ("5.12.3", "on"), ("6.1.0-18-amd64", "on"), ("4.19", "off")]
)
def test_kernel_versions(release: str, state: str) -> None:
    assert protections._kernel(release).state == state


def test_a_rehearsal_that_fails_is_a_report_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protections, "_SCRIPT", Path("/nonexistent.py"))
    report = {p.name: p for p in probe()}
    assert report["seccomp"].state == "off"
    assert "did not end" in report["read-only root"].why
