"""The package store: one folder a content, whole or absent, and gone when nobody needs it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from dayfly.build.packages import PackageStore
from dayfly.errors import BadPackage, NotFound, TooLarge, Unavailable
from dayfly.model.function import Artifact, Mount
from dayfly.model.package import Package
from dayfly.testing.clock import FakeClock
from tests.support.zips import Raw, craft, plain

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    store = PackageStore(tmp_path / "packages")
    store.open()
    return store


async def test_equal_content_is_one_package(store: PackageStore) -> None:
    first = await store.put(craft(Raw(b"a.py", b"1"), Raw(b"b.py", b"22")))
    again = await store.put(craft(Raw(b"b.py", b"22", method=0), Raw(b"a.py", b"1")))
    assert first.created
    assert not again.created
    assert (first.digest, first.size, first.files) == (again.digest, 3, 2)
    assert sorted(p.name for p in store.path(first.digest).iterdir()) == ["a.py", "b.py"]
    assert store.describe(first.digest) == again
    assert [p.name for p in (store.root / "code").iterdir()] == [first.digest]


async def test_a_file_texts_and_a_zip_of_the_same_are_one_package(store: PackageStore) -> None:
    one = await store.put(b"x = 1\n", "handler.py")
    two = await store.put_texts({"handler.py": "x = 1\n"})
    three = await store.put(plain({"handler.py": b"x = 1\n"}))
    assert one.digest == two.digest == three.digest


async def test_many_uploads_of_the_same_at_once_make_it_once(store: PackageStore) -> None:
    made = await asyncio.gather(*(store.put(b"x = 1\n", "handler.py") for _ in range(12)))
    assert sum(package.created for package in made) == 1
    assert not list((store.root / "scratch").iterdir())


async def test_a_refused_archive_leaves_nothing(store: PackageStore) -> None:
    with pytest.raises(BadPackage):
        await store.put(craft(Raw(b"good.py"), Raw(b"bad.py", crc=1)))
    assert not list((store.root / "code").iterdir())
    assert not list((store.root / "scratch").iterdir())


async def test_the_quota_sees_new_packages_only(tmp_path: Path) -> None:
    seen: list[Package] = []

    def quota(package: Package) -> None:
        seen.append(package)
        if package.size > 10:
            raise TooLarge("over the quota")

    store = PackageStore(tmp_path, quota=quota)
    store.open()
    await store.put(b"small", "a.py")
    await store.put(b"small", "a.py")
    with pytest.raises(TooLarge):
        await store.put(b"far too large", "a.py")
    assert [package.size for package in seen] == [5, 13]
    assert len(list((tmp_path / "code").iterdir())) == 1
    assert not list((tmp_path / "scratch").iterdir())


async def test_the_last_of_the_disk_is_not_given_away(tmp_path: Path) -> None:
    store = PackageStore(tmp_path, reserve=1 << 60)
    store.open()
    with pytest.raises(Unavailable, match="nearly full"):
        await store.put(b"x", "a.py")
    assert not list((tmp_path / "scratch").iterdir())


async def test_what_nobody_mounts_is_collected_after_the_grace(tmp_path: Path) -> None:
    clock = FakeClock()
    store = PackageStore(tmp_path, clock=clock)
    store.open()
    used = await store.put(b"1", "a.py")
    stale = await store.put(b"2", "a.py")
    artifact = Artifact(digest=used.digest, mounts=(Mount(f"code/{used.digest}", "/var/task"),))

    assert await store.collect([artifact], grace=60) == 0
    clock.advance(61)
    fresh = await store.put(b"3", "a.py")
    assert await store.collect([artifact], grace=60) == 1

    assert store.path(used.digest).is_dir()
    assert store.path(fresh.digest).is_dir()
    with pytest.raises(NotFound):
        store.path(stale.digest)


async def test_putting_again_begins_the_grace_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    store = PackageStore(tmp_path, clock=clock)
    store.open()
    await store.put(b"1", "a.py")
    clock.advance(50)
    await store.put(b"1", "a.py")
    clock.advance(50)
    assert await store.collect([], grace=60) == 0


@pytest.mark.parametrize("digest", ["", "..", "0" * 64, "../" + "0" * 61, "Z" * 64, "0" * 64 + "\n"])
def test_only_digests_of_packages_have_a_path(store: PackageStore, digest: str) -> None:
    with pytest.raises(NotFound):
        store.path(digest)


def test_opening_clears_what_a_crash_left(store: PackageStore, tmp_path: Path) -> None:
    half = store.scratch()
    (half / "locked").mkdir()
    (half / "locked" / "file").write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (half / "link").symlink_to(outside)
    os.chmod(half / "locked", 0)
    store.open()
    assert not list((store.root / "scratch").iterdir())
    assert outside.is_dir()


async def test_an_archive_is_given_back_byte_for_byte_where_it_was_kept_and_goes_with_its_content(tmp_path: Path) -> None:
    clock = FakeClock()
    store = PackageStore(tmp_path / "packages", clock=clock)
    store.open()
    first, second = (craft(Raw(b"a.py", b"1", method=method)) for method in (0, 8))
    package = await store.put(first, keep=True)
    assert await store.put(second, keep=True) == Package(digest=package.digest, size=1, files=1, created=False)
    for data in (first, second):
        archive = store.archive(package.digest, hashlib.sha256(data).hexdigest())
        assert (archive.size, b"".join([piece async for piece in archive.pieces])) == (len(data), data)
    for digest, sha256 in ((package.digest, "0" * 64), ("0" * 64, "0" * 64), (package.digest, f"../{'0' * 61}")):
        with pytest.raises(NotFound):
            store.archive(digest, sha256)
    clock.advance(4000)
    assert await store.collect([], [package.digest], grace=3600.0) == 0, "somebody speaks of it"
    assert await store.collect([], grace=3600.0) == 2
    assert not list((store.root / "archives").iterdir())
