"""Files that appear in a folder.

A file counts when it is whole: a program closed it after writing, or moved it in. Changes are heard through inotify (watchfiles), and a
file is looked at again until size and time of its last change have stood still for `settle_s`; whoever writes elsewhere and moves the
file in is heard at once all the same. At its start, and when anything was missed, the source looks through the folder by itself.

What has been seen is the checkpoint: for each file a mark of its name, size and time. It goes to the disk with the events, so a file
is told of once, unless it is changed. With `after: delete` or `after: move` the file is put away once its event is on disk, and the
checkpoint stays small; else at most `MAX_SEEN` files are remembered, and a folder of more is refused.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import watchfiles
from msgspec import Meta, Struct

from ...model.event import Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed

MAX_SEEN: Final = 50_000
MAX_INLINE: Final = 1 << 20  # bytes of a file that goes along
LOOK_EVERY: Final = 30.0  # seconds: what inotify did not tell (network folders) is found then


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="absolute, of the folder")]
    pattern: Annotated[str, Meta(max_length=256, description="of file names: *.jpg")] = "*"
    recursive: bool = False
    existing: Annotated[bool, Meta(description="also files that are there already")] = True
    after: Literal["keep", "delete", "move"] = "keep"
    move_to: Annotated[str, Meta(max_length=4096, description="folder on the same file system, for after: move")] = ""
    content: Annotated[bool, Meta(description="the data is the file, of at most 1 MiB; else its path, size and time")] = False
    settle_s: Annotated[float, Meta(ge=0, le=3600, description="how long a file must not change to be whole")] = 0.2

    def __post_init__(self) -> None:
        for name, path in (("path", self.path), ("move_to", self.move_to)):
            if path and not (path.startswith("/") and ".." not in path.split("/")):
                raise ValueError(f"`{name}` is an absolute path without ..")
        if (self.after == "move") != bool(self.move_to):
            raise ValueError("`after: move` and `move_to` belong together")


class Found(NamedTuple):
    path: str
    size: int
    changed: int  # nanoseconds since the epoch

    @property
    def mark(self) -> str:
        return hashlib.sha256(f"{self.path}\0{self.size}\0{self.changed}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Files(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings
        self._seen: set[str] = set()  # marks

    async def run(self) -> None:
        folder = self._settings.path
        if not await asyncio.to_thread(os.path.isdir, folder):
            raise SourceFailed(f"There is no folder {folder} on the server.", hint="Make it; the source looks again by itself.")
        first = self.checkpoint is None
        self._seen = set() if self.checkpoint is None else msgspec.json.decode(self.checkpoint, type=set[str])
        stop = asyncio.Event()
        changes = watchfiles.awatch(
            folder,
            recursive=self._settings.recursive,
            stop_event=stop,
            debounce=50,
            step=20,
            rust_timeout=int(LOOK_EVERY * 1000),
            yield_on_timeout=True,
            watch_filter=None,
        )
        try:
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)  # it watches from here on: what appears during the look is not missed
            if first and not self._settings.existing:
                self._seen = {found.mark for found in await asyncio.to_thread(self._look)}
                await self.emit([], self._packed())
            self.context.ready()
            await self._tell()
            while True:
                await waiting
                waiting = asyncio.ensure_future(anext(changes))
                await self._tell()
        finally:
            stop.set()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _tell(self) -> None:
        """Emit what is new and whole, until nothing new is still being written."""
        while True:
            present = await asyncio.to_thread(self._look)
            here = {found.mark for found in present}
            self._seen &= here
            fresh = [found for found in present if found.mark not in self._seen]
            if not fresh:
                return
            if self._settings.settle_s:
                await self.context.clock.sleep(self._settings.settle_s)
                still = {found.mark for found in await asyncio.to_thread(self._look)}
                fresh = [found for found in fresh if found.mark in still]
            for start in range(0, len(fresh), MAX_BATCH):
                await self._emit(fresh[start : start + MAX_BATCH])

    async def _emit(self, batch: list[Found]) -> None:
        events = []
        for found in batch:
            event = await asyncio.to_thread(self._event, found)
            if event is not None:
                events.append(event)
        self._seen |= {found.mark for found in batch}
        await self.emit(events, self._packed())
        if self._settings.after != "keep":
            await asyncio.to_thread(self._put_away, batch)

    def _packed(self) -> bytes:
        return msgspec.json.encode(self._seen)

    # --- in a thread --------------------------------------------------------------------------------------------------

    def _look(self) -> list[Found]:
        """Regular files that match, oldest first. Symbolic links are not followed."""
        found = []
        for entry in self._entries(self._settings.path):
            if fnmatch.fnmatchcase(entry.name, self._settings.pattern):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append(Found(entry.path, status.st_size, status.st_mtime_ns))
                    if len(found) > MAX_SEEN:
                        raise SourceFailed(
                            f"The folder holds more than {MAX_SEEN} files.", hint="Use after: delete or after: move."
                        )
        return sorted(found, key=lambda file: (file.changed, file.path))

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._settings.recursive and entry.is_dir(follow_symlinks=False):
                        yield from self._entries(entry.path)
                    else:
                        yield entry
        except FileNotFoundError:
            if folder == self._settings.path:
                raise SourceFailed(f"There is no folder {folder} on the server.", hint="Was it removed?") from None
        except OSError as error:
            raise SourceFailed(f"The folder {folder} cannot be read: {error.strerror}.") from None

    def _event(self, found: Found) -> Event | None:
        name = found.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        subject = os.path.relpath(name, self._settings.path)
        if not subject.isprintable():
            subject = ascii(subject)[1:-1]
        data, content_type = (
            msgspec.json.encode({"path": name, "size": found.size, "modified": found.changed / 1e9}),
            "application/json",
        )
        if self._settings.content:
            try:
                descriptor = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with open(descriptor, "rb") as file:
                content = file.read(MAX_INLINE + 1)
            if len(content) <= MAX_INLINE:
                data, content_type = content, "application/octet-stream"
        return Event(
            id=found.mark,
            source=self.context.source,
            type="dayfly.file.appeared",
            subject=subject,
            datacontenttype=content_type,
            data=data,
        )

    def _put_away(self, batch: list[Found]) -> None:
        for found in batch:
            try:
                status = os.lstat(found.path)
                if (status.st_size, status.st_mtime_ns) != found[1:]:
                    continue  # changed meanwhile: it will be told of again
                if self._settings.after == "delete":
                    os.unlink(found.path)
                else:
                    target = Path(self._settings.move_to, os.path.relpath(found.path, self._settings.path))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(found.path, target)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise SourceFailed(f"{found.path} cannot be put away: {error.strerror}.") from None


def source(context: Context, settings: Settings) -> Files:
    return Files(context, settings)
