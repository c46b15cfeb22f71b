"""Numbers that are lent out: each live instance has a user id of the host for itself, so that instances are strangers there as well."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from pathlib import Path


class Numbers:
    """Lends the smallest free number, from `first` on. A number is free again only when it is given back."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._free: list[int] = []

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        heapq.heappush(self._free, number)


def hand_over(folders: Iterable[Path], uid: int, gid: int) -> None:
    """Make all of these folders, with what is in them, somebody's. Nobody may be at work in them.

    What is in there may be hostile: links are not followed, and the kernel takes set-id bits away.
    """
    for folder in folders:
        for _, names, files, at in os.fwalk(folder, follow_symlinks=False):
            for name in (*names, *files):
                os.chown(name, uid, gid, dir_fd=at, follow_symlinks=False)
            os.fchown(at, uid, gid)
