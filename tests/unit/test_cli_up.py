"""What `up` makes of its options; that servers start and stop is shown end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dayfly import server
from dayfly.cli import pidfile
from dayfly.cli.up import default_data
from dayfly.config import Settings
from dayfly.dialects.mounts import BUILT_IN
from tests.support.cli import Run, no_settings, run

__all__ = ["no_settings", "run"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings of the servers that were started, in place of servers."""
    found: list[Settings] = []

    def main(settings: Settings) -> int:
        assert pidfile.find(settings.data) is not None
        found.append(settings)
        return 0

    monkeypatch.setattr(server, "main", main)
    return found


def test_defaults(run: Run, started: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run("up").code == 0
    ports = {built_in.name: built_in.port for built_in in BUILT_IN}
    assert started == [Settings(data=tmp_path / "dayfly", dialects=tuple(ports), spare_listeners=ports)]
    assert pidfile.find(tmp_path / "dayfly") is None
    assert (tmp_path / "dayfly").stat().st_mode & 0o777 == 0o700


def test_every_option_reaches_the_settings(run: Run, started: list[Settings], tmp_path: Path) -> None:
    options = ["--host", "::1", "--port", "8123", "--isolation", "process", "--allow-host", "a", "--allow-host", "b"]
    bounds = ["--body-limit", "10", "--max-instances", "7", "--memory", "512", "--token", "s3cret"]
    tenancy = ["--multi-tenant", "--without", "landlock"]
    edge = [
        "--edge-limit",
        "connections=50",
        "--edge-limit",
        "head_timeout_s=2.5",
        "--tls",
        "self-signed",
        "--oidc",
        "/etc/oidc.json",
    ]
    assert run("up", "--data", str(tmp_path), *options, *bounds, *tenancy, *edge).code == 0
    [settings] = started
    assert (settings.host, settings.port, settings.isolation) == ("::1", 8123, "process")
    assert (settings.hosts, settings.token) == (("a", "b"), "s3cret")
    assert (settings.multi_tenant, settings.without) == (True, ("landlock",))
    assert (settings.edge.body_bytes, settings.edge.connections, settings.edge.head_timeout_s) == (10 << 20, 50, 2.5)
    assert (settings.tls_self_signed, settings.scheme, str(settings.oidc)) == (True, "https", "/etc/oidc.json")
    assert (settings.limits.instances, settings.limits.memory_mb) == (7, 512)


def test_the_background_server_gets_the_same_options_and_the_token_by_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    began: list[Any] = []

    class Process:
        def __init__(self, command: list[str], **options: Any) -> None:
            began.append((command, options))
            import os

            os.write(options["pass_fds"][0], b"1")

    monkeypatch.setattr("subprocess.Popen", Process)
    monkeypatch.setenv("DAYFLY_UP_DETACH", "1")
    monkeypatch.setenv("DAYFLY_TOKEN", "s3cret")
    ran = run("up", "--data", str(tmp_path), "--port", "8123", "--allow-host", "a", "--memory", "512", "--multi-tenant")
    assert ran.code == 0
    assert ran.out == "Dayfly listens at http://127.0.0.1:8123\n"
    [(command, options)] = began
    assert command[:4] == [sys.executable, "-m", "dayfly", "up"]
    words = " ".join(command)
    assert "--port 8123" in words
    assert "--allow-host a" in words
    assert "--memory 512" in words
    assert "--multi-tenant" in words
    assert "True" not in words
    assert "--detach" not in words
    assert "s3cret" not in words
    assert options["env"]["DAYFLY_TOKEN"] == "s3cret"
    assert "DAYFLY_UP_DETACH" not in options["env"]
    assert options["start_new_session"]


def test_a_data_folder_that_cannot_be_is_refused(run: Run, started: list[Settings], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("up", "--data", str(tmp_path / "file" / "below"))
    assert ran.code == 1
    assert "cannot be used: Not a directory" in ran.err
    assert started == []


@pytest.mark.parametrize("base", ["", "relative"])
def test_the_default_folder_is_in_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", base)
    assert default_data() == Path.home() / ".local" / "state" / "dayfly"


@pytest.mark.parametrize("limit", ["nonsense=1", "connections", "connections=many", "connections=-1", "head_timeout_s=nan"])
def test_a_limit_that_is_none_is_refused_with_those_that_there_are(run: Run, limit: str, tmp_path: Path) -> None:
    refused = run("up", "--data", str(tmp_path), "--edge-limit", limit)
    assert refused.code == 2
    assert "--edge-limit" in refused.err
