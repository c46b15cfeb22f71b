"""Whatever is handed over as code, as one list of files: a zip, a single source file, or texts by path.

`open_archive` and `from_texts` judge every name and every declared size (see `rules`), so that `unpack` only has to write. It writes
into a folder of its own that nobody else can reach, creates each file anew, makes no links, and hashes what it writes; a failure in
the middle leaves only that folder, which the caller removes. Content is trusted as little as names: the bytes that come out are counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from msgspec import Struct

from ..errors import BadPackage
from . import zipread
from .rules import DEFAULT, Limits, Names, checked_path, refuse

ZIP_MAGICS = (b"PK\3\4", b"PK\5\6")
_PROGRAM_MAGICS = (b"#!", b"\x7fELF")
_OTHER_MAGICS = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zX": "an xz file",
    b"7z\xbc\xaf": "a 7z file",
    b"Rar!": "a RAR file",
}


class Entry(Struct, frozen=True, kw_only=True):
    """A file to write. `read` gives its content in pieces and raises BadPackage where it is not what was declared."""

    path: str
    executable: bool
    size: int
    packed: int
    read: Callable[[], Iterator[bytes]]


class Written(Struct, frozen=True, kw_only=True):
    """A file that was written."""

    path: str
    executable: bool
    size: int
    sha256: str


def open_archive(data: bytes, filename: str = "package.zip", limits: Limits = DEFAULT) -> list[Entry]:
    """The files in what was handed over: a zip, or one file that is called `filename`. Raises BadPackage."""
    if not data:
        raise BadPackage("the package is empty: no bytes arrived", hint="name a file, a folder or a zip", rule="empty")
    if data[:4] in ZIP_MAGICS or filename.lower().endswith(".zip"):
        return _from_zip(data, limits)
    for magic, what in _OTHER_MAGICS.items():
        if data.startswith(magic):
            raise BadPackage(f"{filename!r} is {what}", hint="hand over a zip, a folder or one source file", rule="format")
    name = PurePosixPath(filename.replace("\\", "/")).name or "handler.py"
    return _checked([_blob(name, data, executable=data.startswith(_PROGRAM_MAGICS))], limits)


def from_texts(files: Mapping[str, str], limits: Limits = DEFAULT) -> list[Entry]:
    """The files given as texts by path. Those that begin with `#!` are executable. Raises BadPackage."""
    return _checked([_blob(path, text.encode(), text.startswith("#!")) for path, text in files.items()], limits)


def _blob(path: str, data: bytes, executable: bool) -> Entry:
    return Entry(path=path, executable=executable, size=len(data), packed=len(data), read=lambda: iter((data,)))


def _from_zip(data: bytes, limits: Limits) -> list[Entry]:
    entries: list[Entry] = []
    folders: list[str] = []
    for found in zipread.read_entries(data, limits):
        if found.name.startswith("__MACOSX/") or found.name.endswith(".DS_Store"):
            continue  # what the Finder adds
        if found.folder:
            folders.append(found.name)
            continue
        entries.append(
            Entry(
                path=found.name,
                executable=_is_program(data, found) if found.mode is None else bool(found.mode & 0o111),
                size=found.size,
                packed=found.packed,
                read=lambda found=found: zipread.content(data, found),  # type: ignore[misc]
            )
        )
    return _checked(entries, limits, folders)


def _is_program(data: bytes, found: zipread.ZipEntry) -> bool:
    """A zip made on Windows has no permissions: then scripts with `#!` and ELF programs count as executable."""
    return next(zipread.content(data, found), b"").startswith(_PROGRAM_MAGICS) if found.size else False


def _checked(entries: list[Entry], limits: Limits, folders: Iterable[str] = ()) -> list[Entry]:
    """The entries with clean paths; raises BadPackage for names that collide and for more bytes than allowed."""
    names, total, packed = Names(limits), 0, 0
    for folder in folders:
        if folder != "./":
            names.claim(checked_path(folder, limits), True)
    clean: list[Entry] = []
    for entry in entries:
        path = checked_path(entry.path, limits)
        names.claim(path, False)
        total += entry.size
        packed += entry.packed
        if total > limits.total:
            raise refuse(
                path,
                "total-size",
                f"brings the package over {limits.total >> 20} MiB unpacked",
                "leave out what the function does not need",
            )
        if entry.size > limits.ratio_floor and entry.size > limits.ratio * max(entry.packed, 1):
            raise refuse(path, "ratio", f"would unpack to over {limits.ratio} times its size, as bombs do")
        clean.append(Entry(path=path, executable=entry.executable, size=entry.size, packed=entry.packed, read=entry.read))
    if total > limits.ratio_floor and total > limits.ratio * max(packed, 1):
        raise BadPackage(f"the package would unpack to over {limits.ratio} times its size, as bombs do", rule="ratio")
    if not clean:
        raise BadPackage("the package holds no file", hint="pack the source of the function", rule="empty")
    return clean


def unpack(entries: Iterable[Entry], folder: Path) -> list[Written]:
    """Write the entries into an empty folder that only we can write to. Raises BadPackage, leaving the folder half filled."""
    written: list[Written] = []
    made = {""}
    os.chmod(folder, 0o755)
    for entry in entries:
        target = folder / entry.path
        _make_folder(folder, entry.path.rpartition("/")[0], made)
        digest, size = hashlib.sha256(), 0
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            for piece in entry.read():
                size += len(piece)
                digest.update(piece)
                file.write(piece)
            os.fchmod(handle, 0o755 if entry.executable else 0o644)
        written.append(Written(path=entry.path, executable=entry.executable, size=size, sha256=digest.hexdigest()))
    return written


def _make_folder(root: Path, path: str, made: set[str]) -> None:
    if path in made:
        return
    _make_folder(root, path.rpartition("/")[0], made)
    (root / path).mkdir()
    os.chmod(root / path, 0o755)  # whatever the umask
    made.add(path)
