"""Finding the runtimes of a machine: managers' folders, real executables only, the newest of each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dayfly.sandbox.node import interpreters
from dayfly.sandbox.node.interpreters import find

MINOR = f"python3.{sys.version_info.minor}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with an empty home and an empty PATH."""
    for variable in ("PYENV_ROOT", "ASDF_DATA_DIR", "UV_PYTHON_INSTALL_DIR", "MISE_DATA_DIR", "CONDA_PREFIX", "NVM_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(interpreters, "_SYSTEM", ())
    (tmp_path / "bin").mkdir()
    find.cache_clear()
    yield tmp_path
    find.cache_clear()


def install(root: Path, version: str) -> Path:
    """A Python that looks like that version, under a manager's folder."""
    minor = ".".join(version.split(".")[:2])
    folder = root / version
    (folder / "bin").mkdir(parents=True)
    library = folder / "lib" / f"python{minor}"
    library.mkdir(parents=True)
    (library / "os.py").touch()
    executable = folder / "bin" / f"python{minor}"
    shutil.copy(os.path.realpath(sys.executable), executable)
    return executable


def test_the_newest_patch_of_a_version_manager_is_taken(home: Path) -> None:
    old = install(home / ".pyenv" / "versions", "3.12.9")
    new = install(home / ".local/share/uv/python", "3.12.10")
    assert new.parent.parent.name == "3.12.10"
    found = find()["python3.12"]
    assert (found.version, found.executable, found.prefix) == ("3.12.10", str(new), str(new.parent.parent))
    assert old.exists()


def test_a_shim_is_not_an_interpreter_and_is_never_run(home: Path) -> None:
    shim = home / "bin" / "python3.12"
    shim.write_text(f"#!/bin/sh\ntouch {home}/ran\n")
    shim.chmod(0o755)
    assert "python3.12" not in find()
    assert not (home / "ran").exists()


def test_a_link_is_followed_to_the_real_one(home: Path) -> None:
    real = install(home / "somewhere", "3.9.2")
    (home / "bin" / "python3.9").symlink_to(real)
    assert find()["python3.9"].executable == str(real)


def test_a_folder_that_tells_nothing_is_asked(home: Path) -> None:
    (home / "bin" / MINOR).symlink_to(os.path.realpath(sys.executable))
    (found,) = (value for name, value in find().items() if name == MINOR)
    assert found.version == ".".join(map(str, sys.version_info[:3]))


def test_what_is_not_there_is_not_listed(home: Path) -> None:
    assert not any(str(home) in found.executable for found in find().values())
