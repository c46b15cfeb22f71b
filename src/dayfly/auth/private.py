"""Files for their owner's eyes only: written whole or not at all, read only if nobody else could have written them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..errors import BadInput

MAX_BYTES = 64 << 10


def read_private(path: Path) -> str:
    """The text of a file of mode 0600. Raises FileNotFoundError, or BadInput if it belongs to somebody else, can be read by
    others, or is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"The {path.name} file {path} cannot be read: {error.strerror}.") from error
    try:
        _check(path, os.fstat(descriptor))
        return os.read(descriptor, MAX_BYTES).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file of mode 0600, on disk when this returns. With `replace` False, a file that is there stays."""
    # Written aside and linked into place: nobody ever reads half of it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
            temporary = ""
        else:
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
    finally:
        if temporary:
            os.unlink(temporary)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path} is not a regular file, so it cannot hold the {path.name}.", hint=f"Remove {path}.")
    if status.st_uid != os.geteuid():
        raise BadInput(f"The {path.name} file {path} belongs to another user.", hint=f"Remove {path}, or run as its owner.")
    if status.st_mode & 0o077:
        raise BadInput(
            f"The {path.name} file {path} is open to other users of this machine.",
            hint=f"Run `chmod 600 {path}`, or remove the file to get a new {path.name}.",
        )
