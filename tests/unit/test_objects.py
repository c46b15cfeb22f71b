"""Objects in buckets: whole or not at all, in the order of their keys, within their quota."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dayfly import actions as a
from dayfly.errors import BadInput, Conflict, NameInvalid, NotFound, QuotaExceeded
from dayfly.model.bucket import Download, Object
from dayfly.services.objects.blobs import PIECE, Blobs, Take
from dayfly.services.objects.buckets import Buckets
from dayfly.store.sqlite import SqliteStore
from dayfly.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


class Ours:
    """Buckets on a disk that can be opened again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.quota = 1 << 40

    async def open(self) -> Buckets:
        self.stored: Counter[str] = Counter()
        self.store = SqliteStore(self.root / "dayfly.db")
        await self.store.open()
        self.buckets = Buckets(
            self.store, Blobs(self.root / "objects"), FakeClock(), {"default"}.__contains__, self.claim, self.stored
        )
        await self.buckets.open()
        return self.buckets

    @contextmanager
    def claim(self, namespace: str) -> Iterator[Take]:
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            taken += size
            if self.stored[namespace] + taken > self.quota:
                raise QuotaExceeded("too much")

        yield take

    def files(self) -> list[str]:
        return [name for _, _, names in os.walk(self.root / "objects") for name in names]


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[Ours]:
    ours = Ours(tmp_path)
    await ours.open()
    await ours.buckets.put_bucket(a.PutBucket(name="photos"))
    yield ours
    await ours.store.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def put(ours: Ours, key: str, *parts: bytes, expect: str | None = None, md5: str = "") -> Object:
    return await ours.buckets.put(a.PutObject(name="photos", key=key, body=pieces(*parts), expect=expect, md5=md5))


async def read(download: Download) -> bytes:
    return b"".join([piece async for piece in download.pieces])


async def get(ours: Ours, key: str, start: int = 0, length: int = -1) -> bytes:
    return await read(await ours.buckets.get(a.GetObject(name="photos", key=key, start=start, length=length)))


async def test_what_was_put_is_there_after_a_restart(ours: Ours) -> None:
    large = os.urandom(3 * PIECE + 7)
    await put(ours, "a/large", large[: PIECE + 1], large[PIECE + 1 :])
    empty = await put(ours, "empty")
    await ours.store.close()
    await ours.open()
    assert await get(ours, "a/large") == large
    assert await get(ours, "a/large", 5, 10) == large[5:15]
    assert await get(ours, "a/large", -3) == large[-3:]
    assert (empty.size, empty.etag, await get(ours, "empty")) == (0, "d41d8cd98f00b204e9800998ecf8427e", b"")
    assert ours.stored["default"] == len(large)


async def test_who_reads_reads_on_when_it_is_replaced(ours: Ours) -> None:
    first = await put(ours, "k", b"one" * PIECE)
    download = await ours.buckets.get(a.GetObject(name="photos", key="k"))
    second = await put(ours, "k", b"two")
    assert await read(download) == b"one" * PIECE
    assert await get(ours, "k") == b"two"
    assert first.version != second.version
    assert ours.files() == [second.version]
    assert ours.stored["default"] == 3


async def test_what_was_never_acknowledged_goes_at_the_start(ours: Ours) -> None:
    kept = await put(ours, "k", b"kept")
    folder = ours.root / "objects" / "ab"
    folder.mkdir(exist_ok=True)
    (folder / ("ab" + "0" * 30)).write_bytes(b"a crash before the commit")
    (ours.root / "objects" / "scratch" / "half").write_bytes(b"a crash in the middle")
    await ours.store.close()
    await ours.open()
    assert ours.files() == [kept.version]


async def test_a_body_that_breaks_off_changes_nothing(ours: Ours) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (PIECE + 1)
        raise ConnectionResetError

    before = await put(ours, "k", b"before")
    with pytest.raises(ConnectionResetError):
        await ours.buckets.put(a.PutObject(name="photos", key="k", body=broken()))
    with pytest.raises(BadInput):
        await put(ours, "k", b"other", md5="0" * 32)
    assert await get(ours, "k") == b"before"
    assert ours.files() == [before.version]


async def test_an_expectation_is_met_or_nothing_happens(ours: Ours) -> None:
    first = await put(ours, "k", b"1", expect="")
    with pytest.raises(Conflict):
        await put(ours, "k", b"2", expect="")
    with pytest.raises(Conflict):
        await put(ours, "k", b"2", expect="0" * 32)
    await put(ours, "k", b"3", expect=first.etag)
    assert await get(ours, "k") == b"3"
    assert len(ours.files()) == 1


async def test_a_quota_counts_while_the_bytes_come(ours: Ours) -> None:
    ours.quota = PIECE + 10
    await put(ours, "small", b"x" * 10)
    with pytest.raises(QuotaExceeded):
        await put(ours, "large", b"x" * PIECE, b"y")
    assert len(ours.files()) == 1
    await ours.buckets.delete(a.DeleteObjects(name="photos", keys=("small", "never there")))
    await put(ours, "large", b"x" * PIECE, b"y")


async def test_parts_become_one_object(ours: Ours) -> None:
    await put(ours, "1", b"one ")
    await put(ours, "2", b"two")
    made = await ours.buckets.compose(
        a.ComposeObject(name="photos", key="both", sources=(("photos", "1"), ("photos", "2")), etag="e-2")
    )
    part = await ours.buckets.compose(
        a.ComposeObject(name="photos", key="part", sources=(("photos", "both"),), start=4, length=2)
    )
    await ours.buckets.delete(a.DeleteObjects(name="photos", keys=("1", "2")))
    assert (made.etag, await get(ours, "both")) == ("e-2", b"one two")
    assert (part.size, await get(ours, "part")) == (2, b"tw")
    with pytest.raises(NotFound):
        await ours.buckets.compose(a.ComposeObject(name="photos", key="x", sources=(("photos", "1"),)))


async def test_a_list_is_in_order_and_comes_in_pieces(ours: Ours) -> None:
    for key in ("a", "b/1", "b/2", "b/c/3", "d/", "d/4", "é", "z"):
        await put(ours, key, b"")

    async def listed(limit: int = 1000, **options: str) -> tuple[list[str], list[str]]:
        keys: list[str] = []
        folders: list[str] = []
        cursor = ""
        while True:
            found = await ours.buckets.list(a.ListObjects(name="photos", limit=limit, cursor=cursor, **options))
            assert len(found.items) + len(found.folders) <= limit
            keys += [item.key for item in found.items]
            folders += found.folders
            cursor = found.cursor
            if not cursor:
                return keys, folders

    everything = ["a", "b/1", "b/2", "b/c/3", "d/", "d/4", "z", "é"]
    for limit in (1, 2, 3, 1000):
        assert await listed(limit) == (everything, [])
        assert await listed(limit, delimiter="/") == (["a", "z", "é"], ["b/", "d/"])
        assert await listed(limit, prefix="b/", delimiter="/") == (["b/1", "b/2"], ["b/c/"])
        assert await listed(limit, prefix="d/", delimiter="/") == (["d/", "d/4"], [])
        assert await listed(limit, prefix="nothing") == ([], [])


async def test_names_and_what_is_not_there(ours: Ours) -> None:
    for name in ("x", "UPPER", "-a-", "a" * 64, "a/b", "..", ""):
        with pytest.raises(NameInvalid):
            await ours.buckets.put_bucket(a.PutBucket(name=name))
    for key in ("", "x" * 1025, "a\0b", "\udc80"):
        with pytest.raises(NameInvalid):
            await put(ours, key, b"")
    with pytest.raises(NotFound):
        await get(ours, "nothing")
    with pytest.raises(NotFound):
        await ours.buckets.put(a.PutObject(name="nowhere", key="k", body=pieces(b"x")))
    await put(ours, "k", b"x")
    with pytest.raises(Conflict):
        await ours.buckets.delete_bucket(a.DeleteBucket(name="photos"))
    await ours.buckets.delete(a.DeleteObjects(name="photos", keys=("k",)))
    await ours.buckets.delete_bucket(a.DeleteBucket(name="photos"))
    await ours.buckets.put_bucket(a.PutBucket(name=".hidden"))
    assert [bucket.name for bucket in (await ours.buckets.list_buckets(a.ListBuckets())).items] == []
