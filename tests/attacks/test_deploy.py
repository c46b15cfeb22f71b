"""Attacks 17 and 37: what is deployed, and what its build leaves behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.attacks.attack import needs_jail
from tests.attacks.test_build import HANDLER, PROJECT
from tests.support.neighbour import neighbour
from tests.support.site import Site
from tests.support.zips import Raw, craft, plain

pytestmark = pytest.mark.anyio

LINK, DEVICE, PIPE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFIFO | 0o666

ARCHIVES = {
    "dotdot": plain({"../handler.py": b"x"}),
    "absolute": plain({"/handler.py": b"x"}),
    "inner-dotdot": plain({"a/../../b.py": b"x"}),
    "windows": craft(Raw(b"C:\\b.py")),
    "backslash-dotdot": craft(Raw(b"..\\..\\b.py")),
    "link": craft(Raw(b"link", b"/etc/passwd", mode=LINK)),
    "link-then-write": craft(Raw(b"a", b"/tmp", mode=LINK), Raw(b"a/planted", b"x")),
    "device": craft(Raw(b"mem", b"", mode=DEVICE)),
    "pipe": craft(Raw(b"fifo", b"", mode=PIPE)),
    "setuid": craft(Raw(b"su", b"#!/bin/sh", mode=0o104755)),
    "twice": craft(Raw(b"handler.py", b"1"), Raw(b"handler.py", b"2")),
    "twice-by-case": craft(Raw(b"Handler.py", b"1"), Raw(b"handler.py", b"2")),
    "file-and-folder": craft(Raw(b"a", b"1"), Raw(b"a/b", b"2")),
    "two-names": craft(Raw(b"handler.py", b"1", local_name=b"../evil.py")),
    "zero-byte": craft(Raw(b"handler.py\0.txt", b"1")),
    "bomb": plain({"handler.py": b"\0" * (300 << 20)}),
    "lies-about-size": craft(Raw(b"handler.py", b"\0" * (64 << 20), size=10)),
    "many-entries": craft(*(Raw(b"f%d" % number, b"") for number in range(60_000))),
    "shared-bytes": craft(Raw(b"a", b"x" * 1000), Raw(b"b", b"x" * 1000, offset=0)),
    "truncated": plain({"handler.py": b"x"})[:-10],
    "garbage": b"PK\x03\x04 but no more",
    "empty": b"",
}


@pytest.mark.parametrize("kind", ARCHIVES)
async def test_37_hostile_archives(site: Site, data: Path, kind: str) -> None:
    async with neighbour(site):
        before = {entry.name for entry in (data / "packages" / "code").iterdir()}
        response = await site.http.post(
            "/v1/namespaces/default/packages", content=ARCHIVES[kind], headers={"content-type": "application/zip"}
        )
    assert response.status_code in (400, 413, 422), response.text
    assert response.json()["detail"]
    assert {entry.name for entry in (data / "packages" / "code").iterdir()} == before
    assert not list(data.rglob("planted"))


async def test_37_a_zip_in_a_zip_stays_one(site: Site, data: Path) -> None:
    inner = plain({"../evil.py": b"x", "bomb": b"\0" * (1 << 20)})
    files = [Raw(b"handler.py", b"def handler(e, c):\n    return 1\n"), Raw(b"inner.zip", inner)]
    response = await site.http.post(
        "/v1/namespaces/default/packages", content=craft(*files), headers={"content-type": "application/zip"}
    )
    assert response.status_code in (200, 201), response.text
    code = data / "packages" / "code"
    assert [path.name for path in code.rglob("inner.zip")] == ["inner.zip"]
    assert not list(code.rglob("evil.py"))


PLANTER = """
import os, shutil
from zipfile import ZipFile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    for folder, folders, files in os.walk("/build"):
        for name, target in (("planted-file", "/etc/shadow"), ("planted-folder", "/root"), ("planted-up", "../../../../../etc")):
            try: os.symlink(target, os.path.join(folder, name))
            except OSError: pass
        try:
            shutil.copy("/usr/bin/id", folder + "/planted-id")
            os.chmod(folder + "/planted-id", 0o6755)
            os.mkfifo(folder + "/planted-pipe")
        except OSError: pass
    name, info = "probe-1.0-py3-none-any.whl", "probe-1.0.dist-info"
    with ZipFile(os.path.join(directory, name), "w") as archive:
        archive.writestr("probe.py", "SAID = 'planted'")
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: probe\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "probe.py,,\\n")
    return name
"""


@needs_jail
async def test_17_links_that_a_build_leaves_for_the_platform_to_follow(site: Site, data: Path) -> None:
    shadow = os.stat("/etc/shadow")
    files = {
        "handler.py": HANDLER,
        "requirements.txt": "./probe\n",
        "probe/pyproject.toml": PROJECT,
        "probe/backend.py": PLANTER,
    }
    async with neighbour(site):
        await site.deploy("plants-links", files)
        assert (await site.call("plants-links")).text == "planted"
    assert os.stat("/etc/shadow")[:6] == shadow[:6], "the platform took the link for its own file"
    left = list((data / "packages").rglob("planted-*"))
    assert not [path for path in left if path.is_symlink() or path.is_fifo()], left
    assert not [path for path in left if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
