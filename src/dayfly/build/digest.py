"""The address of a package: a hash over what it means, not over how it was packed.

Two archives with the same paths, contents and executable bits are one package, whatever their order, dates or compression.
Empty folders are not content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from .archive import Written


def tree_digest(files: Iterable[Written]) -> str:
    """sha256, in hexadecimal, over the sorted (path, executable bit, sha256 of the content) of the files."""
    digest = hashlib.sha256(b"dayfly package 1\n")
    for file in sorted(files, key=lambda f: f.path):
        # Paths have no control characters, so a line is one file and cannot be made to look like two.
        digest.update(f"{'x' if file.executable else '-'} {file.sha256} {file.path}\n".encode())
    return digest.hexdigest()


def content_key(*parts: object) -> str:
    """sha256, in hexadecimal, of a tuple of texts and numbers, unambiguously joined."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
