"""The bytes of objects: files that are written once.

    ROOT/<first two digits>/<version>      the bytes of one version of an object, whole and flushed
    ROOT/scratch/                          half-written ones; emptied at start

A file gets its name after it was flushed, and before the store knows it: what the store does not know at start was never
acknowledged, and goes. Bytes pass in pieces, on threads; nothing is ever held whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...errors import TooLarge, Unavailable
from ...model.function import MiB

PIECE: Final = 256 << 10  # bytes that are read or written at once
LARGEST: Final = 50 << 30  # bytes of an object
RESERVE: Final = 256 * MiB  # bytes of the disk that stay free for the rest of the platform

Take = Callable[[int], None]  # claims so many bytes more of a quota; raises


class Written(Struct, frozen=True):
    version: str
    size: int
    md5: str


class Source(Struct, frozen=True):
    """A part of a file."""

    version: str
    start: int
    length: int


class Blobs:
    """The files under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / "scratch"

    def open(self) -> None:
        """Make the folders, and clear what was half-written."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700, parents=True)

    def shards(self) -> Iterable[tuple[str, set[str]]]:
        """The names of all files, by their first two digits."""
        for folder in self._root.iterdir():
            if len(folder.name) == 2:
                yield folder.name, set(os.listdir(folder))

    async def write(self, pieces: AsyncIterator[bytes], take: Take) -> Written:
        """Keep these bytes. On disk when it returns. Raises TooLarge, Unavailable (disk), and what `take` raises."""
        draft = _Draft(self, take)
        try:
            waiting: list[bytes] = []
            size = 0
            async for piece in pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= PIECE:
                    draft.claim(size)
                    await asyncio.to_thread(draft.append, waiting)
                    waiting, size = [], 0
            draft.claim(size)
            return await asyncio.to_thread(draft.finish, waiting)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(draft.drop))
            raise

    async def compose(self, sources: Sequence[Source], take: Take) -> Written:
        """Keep the bytes of these, one behind the other. Raises as `write` does, FileNotFoundError if one is gone."""

        async def pieces() -> AsyncIterator[bytes]:
            for source in sources:
                async for piece in self.read(self.reader(source.version), source.start, source.length):
                    yield piece

        return await self.write(pieces(), take)

    def reader(self, version: str) -> int:
        """The file, to be read and closed by `read`. Raises FileNotFoundError."""
        return os.open(self._place(version), os.O_RDONLY | os.O_CLOEXEC)

    async def read(self, file: int, start: int, length: int) -> AsyncIterator[bytes]:
        """The bytes of an open file in pieces; closes it."""
        try:
            while length > 0:
                piece = await asyncio.to_thread(os.pread, file, min(PIECE, length), start)
                if not piece:
                    raise OSError("a file of an object is shorter than it was")
                yield piece
                start += len(piece)
                length -= len(piece)
        finally:
            os.close(file)

    async def remove(self, versions: Iterable[str]) -> None:
        """Who reads one of them reads on."""
        await asyncio.to_thread(self.unlink, list(versions))

    def unlink(self, versions: Iterable[str]) -> None:
        for version in versions:
            self._place(version).unlink(missing_ok=True)

    def draft(self) -> Path:
        return self._scratch / uuid.uuid4().hex

    def settle(self, draft: Path) -> str:
        """Give a flushed file its name, durably."""
        target = self._place(draft.name)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        draft.rename(target)
        for folder in (target.parent, self._root):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return draft.name

    def require_room(self) -> None:
        if shutil.disk_usage(self._root).free < RESERVE:
            raise Unavailable("the disk for objects is nearly full", hint="delete objects that are not needed, or make room")

    def _place(self, version: str) -> Path:
        return self._root / version[:2] / version


class _Draft:
    """A file that is being written. `claim` is called on the event loop, all else on threads: who is cancelled there does not end the
    thread, so one of them at a time."""

    def __init__(self, blobs: Blobs, take: Take) -> None:
        self._blobs = blobs
        self._take = take
        self._path = blobs.draft()
        self._file: int | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._turn = threading.Lock()
        self._dropped = False

    def claim(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST:
            raise TooLarge(f"an object may have {LARGEST} bytes", limit=LARGEST)
        self._take(size)

    def append(self, pieces: Sequence[bytes]) -> None:
        with self._turn:
            self._append(pieces)

    def finish(self, pieces: Sequence[bytes]) -> Written:
        with self._turn:
            self._append(pieces)
            os.fsync(self._open)
            self._close()
            return Written(self._blobs.settle(self._path), self._size, self._md5.hexdigest())

    def drop(self) -> None:
        with self._turn:
            self._dropped = True
            self._close()
            self._path.unlink(missing_ok=True)
            self._blobs.unlink([self._path.name])

    @property
    def _open(self) -> int:
        if self._file is None:
            if self._dropped:
                raise OSError("nobody waits for this file any more")
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._file

    def _append(self, pieces: Sequence[bytes]) -> None:
        file = self._open
        self._blobs.require_room()
        data = memoryview(b"".join(pieces))
        self._md5.update(data)
        while data:
            data = data[os.write(file, data) :]

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
