"""Where packages live: immutable folders named by their content.

    ROOT/code/<digest>/     source as it was handed over; files 0644 or 0755, folders 0755
    ROOT/archives/<digest>/<sha256>    of those packages the archives that are asked for later, byte for byte
    ROOT/deps/<key>/        installed dependencies, shared by all packages that ask for the same
    ROOT/scratch/           half-made things; emptied when the store is opened

A package is unpacked into scratch, flushed, and renamed into place, so a folder under its final name is whole; two uploads of equal
content race harmlessly. Nothing is ever changed afterwards. What no revision mounts is collected, after a grace period that covers the time
between an upload and the deployment that refers to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path

from ..clock import Clock, SystemClock
from ..errors import NotFound, Unavailable
from ..model.function import Artifact, MiB
from ..model.package import Archive, Package
from .archive import Entry, from_texts, open_archive, unpack
from .digest import tree_digest
from .durable import publish, remove, sync_folder
from .rules import DEFAULT, Limits

GRACE = 3600.0  # seconds an unreferenced folder is kept after it was last put
RESERVE = 256 * MiB  # bytes
_PIECE = 1 * MiB  # bytes of an archive that are read at a time
_AT_ONCE = 2  # archives unpacked at the same time
_KNOWN = 4096  # packages whose size is remembered

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class PackageStore:
    """The packages under one folder.

    `quota` is called with each new package before it is kept, and refuses it by raising (e.g. errors.TooLarge). Whoever uploads, `reserve`
    bytes of the disk stay free for the rest of the platform.
    """

    def __init__(
        self,
        root: Path,
        *,
        limits: Limits = DEFAULT,
        quota: Callable[[Package], None] | None = None,
        reserve: int = RESERVE,
        clock: Clock | None = None,
    ) -> None:
        self.root = root
        self._limits = limits
        self._quota = quota
        self._reserve = reserve
        self.clock = clock or SystemClock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._lock = threading.Lock()  # between putting and collecting
        self._known: dict[str, Package] = {}

    def open(self) -> None:
        """Make the folders, and clear what a crash left in the middle."""
        for name in ("code", "archives", "deps", "scratch"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        os.chmod(self.root / "scratch", 0o700)
        for left in (self.root / "scratch").iterdir():
            if left.is_dir() and not left.is_symlink():
                remove(left, self.root / "scratch")
            else:
                left.unlink()

    async def put(self, data: bytes, filename: str = "package.zip", *, keep: bool = False) -> Package:
        """Keep an archive (a zip, or one source file of that name). Raises BadPackage, Unavailable (disk), or what the quota does.

        `keep`: its bytes, too, for `archive`.
        """
        package = await self._keep(lambda: open_archive(data, filename, self._limits))
        if keep:
            await asyncio.to_thread(self._keep_archive, package.digest, data)
        return package

    async def put_texts(self, files: Mapping[str, str]) -> Package:
        """Keep files given as texts by path. Raises BadPackage, or what the quota raises."""
        return await self._keep(lambda: from_texts(files, self._limits))

    def path(self, digest: str) -> Path:
        """The folder of a package, to read from. Raises NotFound."""
        folder = self.root / "code" / digest
        if not _DIGEST.match(digest) or not folder.is_dir():
            raise NotFound(
                f"there is no package {digest[:80]!r}",
                hint="upload it first; packages that no function uses are removed after a while",
            )
        return folder

    def describe(self, digest: str) -> Package:
        """Size and number of files of a package. Raises NotFound."""
        folder = self.path(digest)
        if (known := self._known.get(digest)) is None:
            sizes = [os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names]
            known = self._remember(Package(digest=digest, size=sum(sizes), files=len(sizes), created=False))
        return known

    def read(self, digest: str) -> dict[str, bytes]:
        """The files of a package by path. Raises NotFound."""
        folder = self.path(digest)
        return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}

    def archive(self, digest: str, sha256: str) -> Archive:
        """The archive of that hash that a package was uploaded as. Raises NotFound, also where it was not kept."""
        place = self.root / "archives" / digest / sha256
        if not (_DIGEST.match(digest) and _DIGEST.match(sha256) and place.is_file()):
            raise NotFound(f"there is no archive {sha256[:80]!r} of package {digest[:80]!r}", hint="upload the package again")
        return Archive(size=place.stat().st_size, pieces=_pieces(place))

    def scratch(self) -> Path:
        """A fresh private folder for something half-made. Whoever asks removes it."""
        folder = self.root / "scratch" / uuid.uuid4().hex
        folder.mkdir(mode=0o700)
        return folder

    def discard(self, folder: Path) -> None:
        """Delete a folder of this store, whatever is in it."""
        remove(folder, self.root / "scratch")

    async def collect(self, artifacts: Iterable[Artifact], others: Iterable[str] = (), grace: float = GRACE) -> int:
        """Delete code and dependencies that none of the artifacts needs and that are older than `grace` seconds.

        `others` are digests of packages that are kept, too. Returns how many folders went.
        """
        kept = {f"code/{digest}" for digest in others}
        for artifact in artifacts:
            kept.add(f"code/{artifact.digest}")
            kept.update("/".join(mount.source.split("/")[:2]) for mount in artifact.mounts)
        return await asyncio.to_thread(self._collect, kept, self.clock.now() - grace)

    def _collect(self, kept: set[str], before: float) -> int:
        gone = 0
        for kind, owner in (("code", "code"), ("archives", "code"), ("deps", "deps")):
            for folder in list((self.root / kind).iterdir()):
                with self._lock:
                    if f"{owner}/{folder.name}" not in kept and folder.stat().st_mtime < before:
                        self._known.pop(folder.name, None)
                        self.discard(folder)
                        gone += 1
        return gone

    def touch(self, folder: Path) -> bool:
        """Begin the grace period anew; False if the folder is not there."""
        with self._lock:
            try:
                self._refresh(folder)
            except FileNotFoundError:
                return False
            return True

    def _refresh(self, folder: Path) -> None:
        now = self.clock.now()
        os.utime(folder, (now, now))

    def settle(self, made: Path, place: str) -> bool:
        """Move a finished folder to its place below the root, durably; False if an equal one was there first."""
        target = self.root / place
        if self.touch(target):
            self.discard(made)
            return False
        if not publish(made, target):
            self.discard(made)
            return False
        self.touch(target)
        return True

    async def _keep(self, entries: Callable[[], list[Entry]]) -> Package:
        async with self._slots:
            return await asyncio.to_thread(self._unpack, entries)

    def _room(self, size: int) -> None:
        """Raises Unavailable if the disk has none for that many bytes."""
        if shutil.disk_usage(self.root).free < self._reserve + size:
            raise Unavailable("the disk for packages is nearly full", hint="delete functions that are not needed, or make room")

    def _unpack(self, entries: Callable[[], list[Entry]]) -> Package:
        listed = entries()
        self._room(sum(entry.size for entry in listed))
        folder = self.scratch()
        try:
            written = unpack(listed, folder)
            package = Package(digest=tree_digest(written), size=sum(file.size for file in written), files=len(written))
            if self._quota is not None and not (self.root / "code" / package.digest).is_dir():
                self._quota(package)
        except BaseException:
            shutil.rmtree(folder)
            raise
        created = self.settle(folder, f"code/{package.digest}")
        self._remember(Package(digest=package.digest, size=package.size, files=package.files, created=False))
        return package if created else self._known[package.digest]

    def _keep_archive(self, digest: str, data: bytes) -> None:
        """Durably, like the content that it belongs to."""
        folder = self.root / "archives" / digest
        target = folder / hashlib.sha256(data).hexdigest()
        with self._lock:  # a collection does not come between
            folder.mkdir(exist_ok=True)
            self._refresh(folder)
        if target.exists():
            return
        self._room(len(data))
        made = self.scratch()
        try:
            with open(made / "archive", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with self._lock:
                (made / "archive").rename(target)
                sync_folder(folder)
                self._refresh(folder)
        finally:
            self.discard(made)

    def _remember(self, package: Package) -> Package:
        if len(self._known) >= _KNOWN:
            self._known.pop(next(iter(self._known)), None)
        self._known[package.digest] = package
        return package


async def _pieces(place: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(open, place, "rb")
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
