"""Packing a folder on the client's side."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from dayfly.build.ignore import Ignore
from dayfly.build.pack import gather, pack
from dayfly.build.rules import Limits
from dayfly.errors import BadInput, NotFound, TooLarge


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def tree(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def test_equal_folders_give_equal_bytes(tmp_path: Path) -> None:
    paths = ["b.py", "a/z.py", "a.py", "a/b/c.txt"]
    one, two = tree(tmp_path / "one", *paths), tree(tmp_path / "two", *reversed(paths))
    os.utime(one / "b.py", (1, 1))
    assert pack(one) == pack(two)
    assert names(pack(one)) == ["a.py", "a/b/c.txt", "a/z.py", "b.py"]


def test_good_sense_and_the_ignore_file_leave_out(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "handler.py",
        "keep.log",
        "x.log",
        "docs/a.md",
        "node_modules/a/index.js",
        "__pycache__/h.pyc",
        ".git/config",
        ".env",
    )
    tree(tmp_path, "myenv/pyvenv.cfg", "myenv/lib/a.py", "src/docs/b.md")
    (tmp_path / ".dayflyignore").write_text("# logs\n*.log\n!keep.log\n/docs/\n")
    assert names(pack(tmp_path)) == [".env", "handler.py", "keep.log", "src/docs/b.md"]
    (tmp_path / ".dayflyignore").write_text("!node_modules/\n*.log\ndocs\n")
    assert names(pack(tmp_path)) == [".env", "handler.py", "node_modules/a/index.js"]


@pytest.mark.parametrize(
    ("pattern", "path", "out"),
    [
        ("*.py", "a/b.py", True),
        ("*.py", "a/b.pyc", False),
        ("/*.py", "a/b.py", False),
        ("a/*.py", "a/b.py", True),
        ("a/*.py", "x/a/b.py", False),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/z", True),
        ("**/z", "z", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("?.py", "ab.py", False),
        ("[a-c].py", "b.py", True),
        ("[!a-c].py", "b.py", False),
        ("[z-a]", "[z-a]", True),
        ("[", "[", True),
        (r"\#x", "#x", True),
        (r"\!x", "!x", True),
        ("#x", "#x", False),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
        ("x  ", "x", True),
        ("d/", "d", False),
    ],
)
def test_patterns_mean_what_they_mean_to_git(pattern: str, path: str, out: bool) -> None:
    assert Ignore([pattern]).leaves_out(path, False) is out


def test_modes_and_inner_links_are_packed(tmp_path: Path) -> None:
    tree(tmp_path, "real/bootstrap")
    os.chmod(tmp_path / "real/bootstrap", 0o755)
    (tmp_path / "bootstrap").symlink_to("real/bootstrap")
    infos = zipfile.ZipFile(io.BytesIO(pack(tmp_path))).infolist()
    assert [(i.filename, i.external_attr >> 16) for i in infos] == [("bootstrap", 0o100755), ("real/bootstrap", 0o100755)]


@pytest.mark.parametrize("target", ["/etc/hostname", "..", "nowhere", "."])
def test_a_link_that_leads_elsewhere_is_named(tmp_path: Path, target: str) -> None:
    tree(tmp_path, "a.py")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(BadInput, match="'link' links to"):
        pack(tmp_path)


def test_nothing_too_much_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to pack"):
        pack(tmp_path)
    with pytest.raises(NotFound):
        gather(tmp_path / "missing")
    tree(tmp_path, "a.py")
    assert gather(tmp_path / "a.py") == (b"a.py", "a.py")
    assert gather(tmp_path)[1] == "package.zip"
    with pytest.raises(TooLarge) as caught:
        pack(tmp_path, Limits(total=3))
    assert caught.value.members == {"limit": 3}
    assert ".dayflyignore" in caught.value.hint
