"""What an archive may hold, whoever made it.

An archive is written by a stranger and unpacked by us, so every name in it is judged as text, before anything touches the disk:
a name that survives `checked_path` is relative, has no `..`, and means the same file on every system. `Names` then sees to it that no
two of them are the same file, not even on a disk that folds case or Unicode forms, and that none is a file and a folder at once.
Sizes are judged twice: what the archive declares before unpacking, what comes out while unpacking.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

from ..errors import BadPackage
from ..model.function import MiB


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds of one package."""

    total: int = 250 * MiB  # bytes, unpacked
    entries: int = 20_000  # files and folders, those only implied by a path included
    ratio: int = 200  # unpacked / packed, judged once more than `ratio_floor` comes out
    ratio_floor: int = 16 * MiB
    name: int = 255  # bytes of one name
    path: int = 1024  # bytes of a whole path
    depth: int = 48  # folders above a file


DEFAULT = Limits()

_DRIVE = re.compile(r"[A-Za-z]:")


def shown(name: str) -> str:
    """The name as it can be shown: control characters escaped, long ones cut."""
    text = ascii(name) if any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in name) else repr(name)
    return text if len(text) <= 120 else text[:80] + "..." + text[-30:]


def refuse(name: str, rule: str, why: str, hint: str = "") -> BadPackage:
    """The error for an entry that breaks a rule; `rule` is a stable word for programs, `why` a clause for people."""
    return BadPackage(f"entry {shown(name)} {why}", hint=hint, entry=shown(name), rule=rule)


def checked_path(name: str, limits: Limits = DEFAULT) -> str:
    """The name as a clean relative path (`./` in front and `/` at the end removed). Raises BadPackage."""
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise refuse(name, "control-character", "has a control character in its name", "rename the file")
    if "\\" in name:
        raise refuse(name, "backslash", "has a backslash in its name", "pack with forward slashes between folders")
    if name.startswith("/") or _DRIVE.match(name):
        raise refuse(name, "absolute", "has an absolute path", "pack from inside the folder, with relative paths")
    path = name.removesuffix("/")
    while path.startswith("./"):
        path = path[2:]
    parts = path.split("/")
    if ".." in parts:
        raise refuse(name, "parent", "climbs out of the package with '..'", "pack from inside the folder")
    if "" in parts or "." in parts:
        raise refuse(name, "empty-name", "has an empty name in its path")
    if len(parts) - 1 > limits.depth:
        raise refuse(name, "depth", f"lies deeper than {limits.depth} folders")
    if len(path.encode()) > limits.path:
        raise refuse(name, "path-length", f"has a path over {limits.path} bytes")
    if any(len(part.encode()) > limits.name for part in parts):
        raise refuse(name, "name-length", f"has a name over {limits.name} bytes")
    return path


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Names:
    """The paths of one package so far; `claim` refuses one that collides with another."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._taken: dict[str, tuple[str, bool]] = {}  # folded path -> the path as written, whether a folder
        self._folders: set[str] = set()  # as written: the short way for the second file of a folder

    def claim(self, path: str, folder: bool) -> None:
        """Take a path and the folders above it. Raises BadPackage on a clash, or when there are too many."""
        if folder and path in self._folders:
            return
        above, _, _ = path.rpartition("/")
        if above:
            self.claim(above, True)
        key = _folded(path)
        earlier = self._taken.get(key)
        if earlier is None:
            if len(self._taken) >= self._limits.entries:
                raise BadPackage(
                    f"the package holds more than {self._limits.entries} files and folders",
                    hint="leave out what the function does not need, e.g. in .dayflyignore",
                    entry=shown(path),
                    rule="entries",
                )
            self._taken[key] = (path, folder)
            if folder:
                self._folders.add(path)
        elif earlier[0] == path:
            raise refuse(path, "duplicate", "is there twice" if earlier[1] == folder else "is a file and a folder at once")
        else:
            raise refuse(path, "name-clash", f"differs from {shown(earlier[0])} only in case or Unicode form", "rename one")
