"""The client's half: a file or folder becomes the bytes that are uploaded.

A folder packs into the same zip each time: sorted, with one date, nothing of the machine in it. Links are followed where they stay within
the folder, because an archive with links is refused on the other side.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadInput, NotFound, TooLarge
from .ignore import ALWAYS, FILE, Ignore
from .rules import DEFAULT, Limits

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


def gather(path: Path, limits: Limits = DEFAULT) -> tuple[bytes, str]:
    """What to upload for a file, folder or zip: the bytes and the file name. Raises NotFound, BadInput, TooLarge."""
    if path.is_dir():
        return pack(path, limits), "package.zip"
    if not path.is_file():
        raise NotFound(f"{str(path)!r} is neither a file nor a folder", hint="name the source of the function")
    if path.stat().st_size > limits.total:
        raise TooLarge(f"{str(path)!r} is over {limits.total >> 20} MiB", limit=limits.total)
    return path.read_bytes(), path.name


def pack(folder: Path, limits: Limits = DEFAULT) -> bytes:
    """The folder as a zip, less what `.dayflyignore` and good sense leave out; equal folders give equal bytes.

    Raises BadInput for a link that leaves the folder and when nothing is left to pack, TooLarge over `limits.total` bytes.
    """
    buffer = io.BytesIO()
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path, name in chosen(folder):
            total += path.stat().st_size
            if total > limits.total:
                raise TooLarge(
                    f"the folder {str(folder)!r} is over {limits.total >> 20} MiB",
                    hint=f"leave out what the function does not need, in {FILE}",
                    limit=limits.total,
                )
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix: so that the mode counts
            info.external_attr = (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
        if not archive.filelist:
            raise BadInput(f"the folder {str(folder)!r} has nothing to pack", hint=f"check the path, and {FILE} in it")
    return buffer.getvalue()


def chosen(folder: Path) -> list[tuple[Path, str]]:
    """The files that go into the package, each with its name there, sorted by name. Raises BadInput."""
    listed = folder / FILE
    own = listed.read_text("utf-8", "replace").splitlines() if listed.is_file() else []
    return sorted(_walk(folder.resolve(), "", Ignore([*ALWAYS, *own]), folder.resolve()), key=lambda item: item[1])


def _walk(folder: Path, prefix: str, ignore: Ignore, top: Path) -> Iterator[tuple[Path, str]]:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        name = prefix + entry.name
        if ignore.leaves_out(name, entry.is_dir()):
            continue
        path = Path(entry.path)
        if entry.is_symlink():
            path = path.resolve()
            if not path.is_relative_to(top) or not path.is_file():
                raise BadInput(
                    f"{name!r} links to {os.readlink(entry.path)!r}, which is not a file of the folder",
                    hint=f"put a copy in its place, or leave it out in {FILE}",
                )
        if path.is_dir():
            if not (path / "pyvenv.cfg").exists():  # a virtual environment, whatever its name
                yield from _walk(path, name + "/", ignore, top)
        elif path.is_file():
            yield path, name
