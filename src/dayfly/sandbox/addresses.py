"""Addresses of Unix sockets, however long the path of their folder is.

The kernel takes at most 107 bytes of a socket's path. A longer one is reached through an open descriptor of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Internal

LONGEST = 107  # bytes of sun_path, its final zero apart


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A text under which a socket can be bound or connected to within the block. Raises OSError if its folder is not there."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if not os.path.isdir("/proc/self/fd"):
        raise Internal(
            f"the path {path} is longer than the {LONGEST} bytes that this system allows for a socket",
            hint="Choose a shorter data folder with --data, for example /var/lib/dayfly.",
        )
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
