"""What a server needs before it starts, and what it says if that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly import security
from dayfly.config import Settings
from dayfly.errors import Conflict
from dayfly.sandbox.node.protections import Protection
from tests.support.cli import Run, no_settings, run

__all__ = ["no_settings", "run"]


def line(name: str, state: str = "on", **needed: bool) -> Protection:
    return Protection(name=name, state=state, why=f"{name} is {state}", todo="mend it", **needed)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Protection]:
    """What the machine is found to offer; the test changes it."""
    found = [line("seccomp", required=True), line("cgroup pids", tenants=True), line("swap", "off")]
    monkeypatch.setattr(security, "probe", lambda: list(found))
    return found


def settings(**options: object) -> Settings:
    return Settings(data=Path(), **options)  # type: ignore[arg-type]


def test_a_machine_with_everything_starts_anything(machine: list[Protection]) -> None:
    for options in ({}, {"multi_tenant": True}, {"isolation": "process"}):
        security.require(settings(**options))


def test_what_isolation_needs_is_needed_always(machine: list[Protection]) -> None:
    machine[0] = line("seccomp", "off", required=True)
    with pytest.raises(Conflict, match="cannot isolate functions: seccomp: seccomp is off") as refusal:
        security.require(settings())
    assert "--isolation process" in refusal.value.hint
    security.require(settings(isolation="process"))


def test_tenants_need_more_and_it_can_be_left_out_by_name(machine: list[Protection]) -> None:
    machine[1] = line("cgroup pids", "off", tenants=True)
    security.require(settings())
    with pytest.raises(Conflict, match="does not keep tenants apart: cgroup pids") as refusal:
        security.require(settings(multi_tenant=True))
    assert "--without cgroup-pids" in refusal.value.hint
    security.require(settings(multi_tenant=True, without=("cgroup-pids",)))


def test_tenants_are_not_left_without_any_isolation_by_accident(machine: list[Protection]) -> None:
    with pytest.raises(Conflict, match="isolation `process`"):
        security.require(settings(multi_tenant=True, isolation="process"))


def test_a_name_that_is_none_is_refused(machine: list[Protection]) -> None:
    with pytest.raises(Conflict, match="no protection 'cgroup'"):
        security.require(settings(multi_tenant=True, without=("cgroup",)))


def test_weaker_is_told_but_does_not_keep_a_server_from_starting(machine: list[Protection]) -> None:
    machine[1] = line("cgroup pids", "weaker", tenants=True)
    security.require(settings(multi_tenant=True))


def test_everybody_logs_in_where_tenants_do_not_trust_each_other() -> None:
    assert settings(multi_tenant=True).needs_token
    assert not settings().needs_token


def test_doctor_prints_each_protection_and_the_verdict(run: Run, machine: list[Protection]) -> None:
    machine[1] = line("cgroup pids", "off", tenants=True)
    ran = run("doctor", "--security")
    assert ran.code == 0
    assert "cgroup-pids  off     tenants     cgroup pids is off" in ran.out
    assert "login" in ran.out
    assert "A server with these settings starts here." in ran.err
    ran = run("doctor", "--security", "--multi-tenant")
    assert ran.code == 1
    assert "does not start here: cgroup-pids off." in ran.err
    assert run("doctor", "--security", "--multi-tenant", "--without", "cgroup-pids").code == 0
    assert run("doctor", "--security", "--multi-tenant", "-o", "json").json["missing"] == ["cgroup-pids"]


def test_a_program_that_is_not_there_keeps_the_server_from_starting(
    machine: list[Protection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(Conflict, match="bwrap is not installed"):
        security.require(settings(isolation="bubblewrap"))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/" + name)
    security.require(settings(isolation="bubblewrap"))
