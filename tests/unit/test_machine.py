"""The machine's pip and npm settings reach a job, and only those."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly.build import machine

NOWHERE = Path("/no/such/root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".config" / "pip").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    return tmp_path / "conf"


def test_variables_that_matter_are_passed(home: Path, conf: Path) -> None:
    environ = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "npm_config_registry": "https://npm.example/",
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "SECRET_TOKEN": "never",
        "AWS_SECRET_ACCESS_KEY": "never",
        "PIP_TARGET": "/somewhere",
        "PIP_CACHE_DIR": "/shared",
        "npm_config_cache": "/shared",
        "npm_config_prefix": "/usr",
        "HOME": "/home/someone",
        "PATH": "/bin",
    }
    passed = machine.Machine(environ, home, NOWHERE).carry("node", conf)
    kept = ("npm_config_registry", "https_proxy", "NO_PROXY", "SSL_CERT_FILE")
    assert passed == {name: environ[name] for name in kept}


def test_pip_files_are_merged_and_what_they_name_is_copied(home: Path, conf: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CERT")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1-py3-none-any.whl").write_text("w")
    (tmp_path / "wheels" / "passwords").write_text("never")
    (home / ".config/pip/pip.conf").write_text(
        f"[global]\nindex-url = https://a.example\ncert = {tmp_path}/ca.pem\ntarget = /x\n[install]\nfind-links =\n  {tmp_path}/wheels\n  https://l.example\n"
    )
    (tmp_path / "own.conf").write_text("[global]\nindex-url = https://b.example\ntimeout = 7\n")
    env = machine.Machine({"PIP_CONFIG_FILE": str(tmp_path / "own.conf")}, home, NOWHERE).carry("python", conf)
    assert env["PIP_CONFIG_FILE"] == "/build/conf/pip.conf"
    text = (conf / "pip.conf").read_text()
    assert "index-url = https://b.example" in text
    assert "timeout = 7" in text
    assert "target" not in text
    assert env["PIP_CERT"].startswith("/build/conf/")
    assert (conf / Path(env["PIP_CERT"]).name).read_text() == "CERT"
    links, remote = env["PIP_FIND_LINKS"].split()
    assert remote == "https://l.example"
    assert [p.name for p in (conf / Path(links).name).iterdir()] == ["a-1-py3-none-any.whl"]


def test_npm_files_are_merged(home: Path, conf: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CERT")
    (home / ".npmrc").write_text(
        "registry=https://npm.example/\n; note=1\n//npm.example/:_authToken=t\nprefix=/x\n" + f"cafile={tmp_path}/ca.pem\n"
    )
    (home / ".netrc").write_text("machine x password never\n")
    env = machine.Machine({}, home, NOWHERE).carry("node", conf)
    text = (conf / "npmrc").read_text()
    assert "registry=https://npm.example/\n" in text
    assert "//npm.example/:_authToken=t\n" in text
    assert "prefix" not in text
    assert (conf / Path(env["npm_config_cafile"]).name).read_text() == "CERT"
    assert not any("never" in p.read_text() for p in conf.iterdir())


def test_broken_or_missing_settings_are_as_none(home: Path, conf: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("not a configuration\n")
    environ = {"PIP_CERT": "/no/such/file", "SSL_CERT_DIR": "/no/such", "PIP_CONFIG_FILE": "/dev/null"}
    assert "PIP_CERT" not in machine.Machine(environ, home, NOWHERE).carry("python", conf)
