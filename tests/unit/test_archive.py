"""Archives from strangers: each trick is refused by name and rule, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest

from dayfly.build.archive import from_texts, open_archive, unpack
from dayfly.build.digest import tree_digest
from dayfly.build.rules import Limits
from dayfly.errors import BadPackage
from tests.support.zips import Raw, craft, plain

SMALL = Limits(total=1 << 20, entries=50, ratio=20, ratio_floor=1 << 16)


def unpacked(data: bytes, folder: Path, filename: str = "package.zip", limits: Limits = SMALL) -> dict[str, bytes]:
    unpack(open_archive(data, filename, limits), folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_ordinary_zip_comes_out_as_it_went_in(tmp_path: Path) -> None:
    files = {"handler.py": b"def handler(e, c): ...\n", "pkg/data.bin": os.urandom(200_000), "pkg/deep/er/empty": b""}
    assert unpacked(plain(files), tmp_path) == dict(sorted(files.items()))


def test_executable_bits_are_kept_and_nothing_else(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        unpack(
            open_archive(plain({"bootstrap": b"#!/bin/sh\n", "d/data": b"1"}, {"bootstrap": 0o700, "d/data": 0o666})), tmp_path
        )
    finally:
        os.umask(old)
    assert (tmp_path / "bootstrap").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "d/data").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o755


def test_a_zip_from_windows_has_its_programs_recognised(tmp_path: Path) -> None:
    data = craft(
        Raw(b"bootstrap", b"\x7fELF...", made=0, mode=0),
        Raw(b"run.sh", b"#!/bin/sh\n", made=0, mode=0),
        Raw(b"a.txt", b"text", made=0, mode=0),
    )
    written = {w.path: w.executable for w in unpack(open_archive(data), tmp_path)}
    assert written == {"bootstrap": True, "run.sh": True, "a.txt": False}


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (Raw(b"../evil.py"), "parent"),
        (Raw(b"a/../../evil.py"), "parent"),
        (Raw(b".."), "parent"),
        (Raw(b"/etc/passwd"), "absolute"),
        (Raw(b"C:/windows/evil.py"), "absolute"),
        (Raw(b"c:evil.py"), "absolute"),
        (Raw(b"..\\evil.py"), "backslash"),
        (Raw(b"a\\b.py"), "backslash"),
        (Raw(b"a\0.py"), "control-character"),
        (Raw(b"a\nb.py"), "control-character"),
        (Raw(b"a\x1b[31m.py"), "control-character"),
        (Raw("a\x85b.py".encode()), "control-character"),
        (Raw(b"\xff\xfe.py"), "encoding"),
        (Raw(b""), "empty-name"),
        (Raw(b"a//b.py"), "empty-name"),
        (Raw(b"a/./b.py"), "empty-name"),
        (Raw(b"n" * 256), "name-length"),
        (Raw("ü".encode() * 128), "name-length"),
        (Raw(b"/".join([b"n" * 200] * 6)), "path-length"),
        (Raw(b"d/" * 49 + b"f"), "depth"),
        (Raw(b"link", b"/etc/passwd", mode=0o120777), "link"),
        (Raw(b"fifo", mode=0o010644), "special"),
        (Raw(b"dev", mode=0o020666), "special"),
        (Raw(b"blk", mode=0o060666), "special"),
        (Raw(b"sock", mode=0o140666), "special"),
        (Raw(b"dir", mode=0o040755), "special"),
        (Raw(b"suid", mode=0o104755), "setuid"),
        (Raw(b"sgid", mode=0o102755), "setuid"),
        (Raw(b"secret", flags=0x801), "encrypted"),
        (Raw(b"secret", flags=0x841), "encrypted"),
        (Raw(b"lzma", method=14), "method"),
        (Raw(b"big", size=2 << 20), "total-size"),
        (Raw(b"bomb", b"\0" * 900_000), "ratio"),
        (Raw(b"lie", b"four", size=3), "lying-size"),
        (Raw(b"lie", b"four", size=5), "lying-size"),
        (Raw(b"lie", b"four", method=0, size=5), "lying-size"),
        (Raw(b"tail", b"four", raw=b"\x4b\xcb\x2f\x2d\x02\x00tail"), "lying-size"),
        (Raw(b"cut", b"four" * 99, packed=5), "truncated"),
        (Raw(b"noise", b"four", raw=b"\xff\xff\xff\xff"), "damaged"),
        (Raw(b"crc", b"four", crc=1), "checksum"),
        (Raw(b"shown.py", local_name=b"other.py"), "two-faced"),
        (Raw(b"nowhere", offset=5), "truncated"),
        (Raw(b"far", offset=1 << 30), "truncated"),
        (Raw(b"long", method=0, packed=9999, size=9999), "truncated"),
        (Raw(b"z64", size=0xFFFFFFFF), "truncated"),
        (Raw(b"folder/", b"content"), "special"),
        (Raw(b"folder/", b"content", mode=0o040755), "lying-size"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_hostile_entry_is_refused_by_rule(entry: Raw, rule: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(BadPackage) as caught:
        unpacked(craft(entry), tmp_path / "in")
    assert caught.value.members["rule"] == rule
    assert "\n" not in caught.value.detail
    assert "\x1b" not in caught.value.detail
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        (b"a.py", b"a.py", "duplicate"),
        (b"./a.py", b"a.py", "duplicate"),
        (b"a", b"a/b.py", "duplicate"),
        (b"a/b.py", b"a", "duplicate"),
        (b"Handler.py", b"handler.py", "name-clash"),
        (b"Pkg/a.py", b"pkg/b.py", "name-clash"),
        ("é.py".encode(), "e\u0301.py".encode(), "name-clash"),
        ("straße.py".encode(), b"strasse.py", "name-clash"),
    ],
)
def test_names_that_mean_the_same_file_are_refused(first: bytes, second: bytes, rule: str, tmp_path: Path) -> None:
    with pytest.raises(BadPackage) as caught:
        unpacked(craft(Raw(first), Raw(second)), tmp_path)
    assert caught.value.members["rule"] == rule
    assert not list(tmp_path.iterdir())  # names are judged before anything is written


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = craft(Raw(b"a", os.urandom(100)), Raw(b"a", offset=0), Raw(b"b"))
    with pytest.raises(BadPackage) as caught:
        unpacked(data, tmp_path)
    assert caught.value.members["rule"] == "overlap"


def test_more_entries_than_allowed_are_refused_while_reading() -> None:
    with pytest.raises(BadPackage, match="more than 50"):
        open_archive(craft(*(Raw(b"f%d" % i) for i in range(51))), limits=SMALL)
    with pytest.raises(BadPackage, match="more than 50"):  # folders that only a path implies count
        open_archive(craft(*(Raw(b"d%d/e/f" % i) for i in range(20))), limits=SMALL)


def test_many_small_files_may_not_add_up_to_a_bomb() -> None:
    with pytest.raises(BadPackage) as caught:
        open_archive(craft(*(Raw(b"f%d" % i, b"\0" * 50_000) for i in range(20))), limits=SMALL)
    assert caught.value.members["rule"] == "ratio"


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_declares(tmp_path: Path) -> None:
    with pytest.raises(BadPackage) as caught:
        unpacked(craft(Raw(b"bomb", b"\0" * 50_000_000, size=60_000)), tmp_path)
    assert caught.value.members["rule"] == "lying-size"
    assert (tmp_path / "bomb").stat().st_size <= 60_000


@pytest.mark.parametrize("keep", [1, 10, 25, 60, 100])
def test_a_cut_archive_is_refused(keep: int) -> None:
    data = plain({"handler.py": b"x = 1\n" * 10, "b.py": b"y"})
    with pytest.raises(BadPackage, match=r"cut off|damaged|end record"):
        open_archive(data[: len(data) * keep // 101])


def test_the_count_of_the_end_record_must_be_true() -> None:
    with pytest.raises(BadPackage, match="lists 1"):
        open_archive(craft(Raw(b"a"), count=2))


def test_zip64_prefix_and_comment_are_understood(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open(zipfile.ZipInfo("a.txt"), "w", force_zip64=True) as file:
            file.write(b"zip64")
        archive.comment = b"PK\5\6 looks like an end record" + b"." * 30
    for name in "123":
        (tmp_path / name).mkdir()
    assert unpacked(buffer.getvalue(), tmp_path / "1") == {"a.txt": b"zip64"}
    assert unpacked(b"#!/usr/bin/env python3\n" + buffer.getvalue(), tmp_path / "2") == {"a.txt": b"zip64"}
    sizes = struct.pack("<2H2Q", 1, 16, 3, 3)
    data = craft(Raw(b"a", b"abc", method=0, size=0xFFFFFFFF, packed=0xFFFFFFFF, extra=sizes))
    assert unpacked(data, tmp_path / "3") == {"a": b"abc"}


def test_what_the_finder_adds_is_left_out(tmp_path: Path) -> None:
    data = craft(Raw(b"a.py"), Raw(b"__MACOSX/._a.py"), Raw(b".DS_Store"))
    assert set(unpacked(data, tmp_path)) == {"a.py"}


def test_one_source_file_is_a_package(tmp_path: Path) -> None:
    assert unpacked(b"def handler(e, c): ...", tmp_path, "../../up/handler.py") == {"handler.py": b"def handler(e, c): ..."}


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "a.zip", "empty"),
        (b"hello", "a.zip", "not a zip"),
        (b"\x1f\x8b\x08", "a.tar.gz", "gzip"),
        (b"PK\5\6" + b"\0" * 18, "a.zip", "no file"),
        (b"x", "..", "climbs out"),
        (b"x", "a\x07.py", "control"),
    ],
)
def test_what_is_not_a_package_says_what_to_hand_over(data: bytes, name: str, words: str) -> None:
    with pytest.raises(BadPackage, match=words) as caught:
        open_archive(data, name)
    assert caught.value.status == 422


def test_texts_by_path_obey_the_same_rules(tmp_path: Path) -> None:
    written = unpack(from_texts({"bootstrap": "#!/bin/sh\n", "lib/a.py": "ü"}), tmp_path)
    assert [(w.path, w.executable, w.size) for w in written] == [("bootstrap", True, 10), ("lib/a.py", False, 2)]
    with pytest.raises(BadPackage, match="climbs"):
        from_texts({"../a": ""})
    with pytest.raises(BadPackage, match="no file"):
        from_texts({})


def test_the_digest_is_of_content_not_of_packing(tmp_path: Path) -> None:
    def digest(data: bytes) -> str:
        folder = tmp_path / os.urandom(4).hex()
        folder.mkdir()
        return tree_digest(unpack(open_archive(data), folder))

    one = digest(craft(Raw(b"a", b"1"), Raw(b"b/c", b"2")))
    assert one == digest(craft(Raw(b"b/", b"", mode=0o040755), Raw(b"b/c", b"2", method=0), Raw(b"a", b"1", mode=0o100600)))
    assert one != digest(craft(Raw(b"a", b"1", mode=0o100755), Raw(b"b/c", b"2")))
    assert one != digest(craft(Raw(b"a", b"2"), Raw(b"b/c", b"2")))
    assert one != digest(craft(Raw(b"a", b"1"), Raw(b"b/d", b"2")))
