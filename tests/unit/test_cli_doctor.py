"""`doctor`: the machine's report, as table and as data."""

from __future__ import annotations

import pytest

from dayfly.sandbox.node import interpreters, protections
from dayfly.sandbox.node.protections import Protection
from tests.support.cli import Run, no_settings, run

__all__ = ["no_settings", "run"]


def test_the_machine_at_hand(run: Run) -> None:
    found = run("doctor", "-o", "json")
    off = [line["name"] for line in found.json["protections"] if line["required"] and line["state"] == "off"]
    assert found.code == (1 if off else 0)
    assert found.json["isolation"] is not bool(off)
    assert {"mount namespace", "seccomp", "cgroup memory"} <= {line["name"] for line in found.json["protections"]}


@pytest.mark.parametrize(("required", "code"), [(True, 1), (False, 0)])
def test_what_is_off_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch, required: bool, code: int) -> None:
    lines = [
        Protection(name="mount namespace", state="on", why="works", todo="nothing"),
        Protection(name="seccomp", state="off", why="the kernel has none", todo="use another kernel", required=required),
    ]
    monkeypatch.setattr(protections, "probe", lambda: lines)
    monkeypatch.setattr(interpreters, "find", dict)
    ran = run("doctor")
    assert ran.code == code
    assert ran.out.splitlines()[:3] == [
        "PROTECTION       STATE  WHY",
        "mount namespace  on     works",
        "seccomp          off    the kernel has none",
    ]
    assert "seccomp: use another kernel\n" in ran.err
    assert "nothing" not in ran.err
    assert "No interpreter was found" in ran.err
    assert ("dayfly up --isolation process" in ran.err) is required
